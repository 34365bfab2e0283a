"""The server: who may ask, and how every request is answered."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import Mapping
from typing import Any

from aiohttp import ClientError, web

from airflow_magnus.gateway.call import Call
from airflow_magnus.gateway.documents import error_document
from airflow_magnus.gateway.faults import S3Error
from airflow_magnus.gateway.operations import Operations
from airflow_magnus.gateway.signatures import Signed, Verifier
from airflow_magnus.gateway.target import Target, parse_target

log = logging.getLogger(__name__)

IDLE = 20.0
"""Seconds after which a connection is closed on which no request becomes whole."""
MOST_CONNECTIONS = 512
_LONGEST_LINE = 8_190
_LINGER = 5.0
_PAUSE = 1.0
_READ_SIZE = 64 * 1024
_NOBODY = Signed("", b"", "", "", "")


class _Connections(web.Server):
    """Refuses more connections than there may be."""

    def connection_made(self, handler: Any, transport: Any) -> None:
        """Take a connection, or close it at once."""
        super().connection_made(handler, transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()


class GatewayServer:
    """Answers requests on a socket that listens already.

    :param hosts: what the header ``Host`` may say.
    """

    def __init__(self, operations: Operations, verifier: Verifier, hosts: frozenset[str]) -> None:
        self._operations, self._verifier, self._hosts = operations, verifier, hosts
        self._runner: web.ServerRunner | None = None
        self._active = 0

    async def start(self, listening: socket.socket) -> None:
        """Begin to answer."""
        server = _Connections(
            self._handle,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=IDLE,
            lingering_time=_LINGER,
            logger=log,
            max_field_size=_LONGEST_LINE,
            max_headers=200,
            max_line_size=_LONGEST_LINE,
            read_bufsize=_READ_SIZE,
        )
        self._runner = web.ServerRunner(server, handle_signals=False)
        await self._runner.setup()
        await web.SockSite(self._runner, listening, backlog=256).start()

    async def close(self) -> None:
        """End all connections."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def pause(self) -> None:
        """Wait until no request is being answered, but not for long: a client may have all of an answer already.

        What is noted at its end would be missing else.
        """
        end = time.monotonic() + _PAUSE
        while self._active and time.monotonic() < end:
            await asyncio.sleep(0.002)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._active += 1
        try:
            return await self._answer(request)
        finally:
            self._active -= 1

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        request_id = secrets.token_hex(8).upper()
        call = Call(request, _nothing(request), _lower(request), _NOBODY, request_id, request.host)
        try:
            self._check_host(call.headers)
            call.target = parse_target(_target_of(request))
            call.signed = self._verifier.verify(request.method, call.target, call.headers)
            return await self._operations.answer(call)
        except S3Error as fault:
            return await self._refuse(call, fault)
        except (ConnectionError, ClientError):
            return _cut(request)
        except Exception:
            log.exception("a request failed: %s %s", request.method, request.path)
            return await self._refuse(call, S3Error("InternalError", "the gateway could not do this"))

    async def _refuse(self, call: Call, fault: S3Error) -> web.StreamResponse:
        if call.has_begun:  # the client must not take what it has got for whole
            return _cut(call.request)
        return await call.reply(fault.status, error_document(fault, call.target.path, call.request_id))

    def _check_host(self, headers: Mapping[str, Any]) -> None:
        values = headers.get("host", ())
        if len(values) != 1 or values[0].strip().lower() not in self._hosts:
            raise S3Error("AccessDenied", "this is not the address of the gateway")


def _cut(request: web.BaseRequest) -> web.StreamResponse:
    """End the connection in the middle of an answer; what is given cannot be sent any more."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _target_of(request: web.BaseRequest) -> str:
    text: str = request._message.path
    return text


def _nothing(request: web.BaseRequest) -> Target:
    return Target("", "", {}, "/", ())


def _lower(request: web.BaseRequest) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in request.raw_headers:
        found.setdefault(name.decode("ascii", "replace").lower(), []).append(
            value.decode("utf-8", "surrogateescape")
        )
    return found
