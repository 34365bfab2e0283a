"""The gateway from its configuration: buckets, stores, ledger and server, and what the parent asks of them."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from airflow_magnus.gateway.channel import Message
from airflow_magnus.gateway.dropping import drop
from airflow_magnus.gateway.faults import S3Error
from airflow_magnus.gateway.folders import FolderBucket
from airflow_magnus.gateway.ledger import Ledger, Output
from airflow_magnus.gateway.operations import Operations
from airflow_magnus.gateway.outputs import listed
from airflow_magnus.gateway.overlay import Layer, OverlayBucket
from airflow_magnus.gateway.passing_lists import Listed
from airflow_magnus.gateway.persistence import persistently
from airflow_magnus.gateway.server import GatewayServer
from airflow_magnus.gateway.signatures import Verifier
from airflow_magnus.gateway.upstream import Store, Upstream

log = logging.getLogger(__name__)

_RENEWAL = 30.0
"""Seconds to wait for new credentials."""


class Serving:
    """All of one gateway.

    :param tell: sends a message to the parent.
    """

    def __init__(self, configuration: Message, tell: Callable[[Message], None]) -> None:
        self._tell = tell
        self._ledger = Ledger()
        self._stores = [
            Store(number, keys=keys, **origin)
            for number, (origin, keys) in enumerate(
                zip(configuration["origins"], configuration["keys"], strict=True)
            )
        ]
        self._upstream = Upstream(self._renew)
        self._renewals: dict[int, asyncio.Event] = {}
        self._buckets = {view["name"]: self._bucket(view) for view in configuration["buckets"]}
        self._operations = Operations(self._buckets, time.time())
        self._server = GatewayServer(
            self._operations,
            Verifier(configuration["token"]),
            frozenset(configuration["hosts"]),
        )

    async def start(self, listening: socket.socket) -> None:
        """Begin to answer."""
        self._upstream.start()
        await self._server.start(listening)

    async def close(self) -> None:
        """End all connections."""
        await self._server.close()
        await self._upstream.close()

    async def take(self, message: Message) -> None:
        """Do what the parent says."""
        if message["kind"] == "keys":
            self._stores[message["number"]].keys = message["keys"]
            event = self._renewals.pop(message["number"], None)
            if event is not None:
                event.set()
            return
        answer: dict[str, Any] = {"kind": "answer", "id": message["id"]}
        try:
            answer["value"] = await self._done(message["kind"])
        except S3Error as fault:
            answer["fault"] = f"{fault.code}: {fault.message}"
        except Exception as error:
            log.exception("%s could not be done", message["kind"])
            answer["fault"] = f"{type(error).__name__}: {error}"
        self._tell(answer)

    async def _done(self, kind: str) -> Any:
        if kind in ("seal", "drop"):
            await self._operations.seal()
        if kind == "drop":
            return await persistently(self._drop)
        await self._server.pause()
        if kind == "ledger":
            return self._ledger.as_json()
        if kind in ("outputs", "shown"):
            found = await persistently(self._outputs)
            found += await persistently(self._unchanged) if kind == "shown" else []
            return [asdict(output) for output in found]
        return None

    async def _drop(self) -> None:
        for bucket in self._written():
            if isinstance(bucket, FolderBucket):
                await bucket.drop()
            else:
                await drop(
                    bucket, [bucket.prefix + output.below for output in await listed(bucket, self._ledger)]
                )

    async def _outputs(self) -> list[Output]:
        found: list[Output] = []
        for bucket in self._written():
            if isinstance(bucket, FolderBucket):
                found += bucket.outputs()
            else:
                found += await listed(bucket, self._ledger)
        return found

    async def _unchanged(self) -> list[Output]:
        found: list[Output] = []
        for bucket in self._buckets.values():
            if isinstance(bucket, OverlayBucket):
                found += await bucket.unchanged()
        return found

    def _written(self) -> Iterator[Layer]:
        """What takes the writes of the step."""
        for bucket in self._buckets.values():
            if bucket.is_writable:
                yield bucket.written if isinstance(bucket, OverlayBucket) else bucket

    async def _renew(self, number: int) -> None:
        if number not in self._renewals:
            self._renewals[number] = asyncio.Event()
            self._tell({"kind": "renew", "number": number})
        try:
            async with asyncio.timeout(_RENEWAL):
                await self._renewals[number].wait()
        except TimeoutError:
            self._renewals.pop(number, None)

    def _bucket(self, view: Message) -> Layer | OverlayBucket:
        below = view.get("below")
        if below is None:
            return self._layer(view)
        written, lower = self._layer(view), self._layer(below)
        return OverlayBucket(
            written, lower, below["keys"] or (), below.get("digests") or {}, self._ledger,
            has_copies=below["has_copies"],
        )  # fmt: skip

    def _layer(self, view: Message) -> Layer:
        if "path" in view:
            return FolderBucket(
                view["name"],
                Path(view["path"]),
                view["keys"],
                self._ledger,
                is_writable=view["is_writable"],
                is_recorded=view["is_recorded"],
            )
        return Listed(
            view["name"],
            self._stores[view["origin"]],
            view["prefix"],
            view["keys"],
            self._upstream,
            self._ledger,
            is_writable=view["is_writable"],
            digests=view["digests"],
            is_recorded=view["is_recorded"],
        )
