"""Requests to the real store, signed with the real credentials."""

from __future__ import annotations

import io
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from airflow_magnus.gateway.documents import LARGEST, parse
from airflow_magnus.gateway.faults import S3Error
from airflow_magnus.gateway.signatures import UNSIGNED
from airflow_magnus.gateway.target import UNRESERVED, encoded, encoded_query

log = logging.getLogger(__name__)

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""The sha256 of nothing."""
LARGEST_ANSWER = 8 * LARGEST
"""Bytes of a document that a store sends."""
READ_SIZE = 128 * 1024
_OWN_KEYS = ("ExpiredToken", "InvalidToken", "TokenRefreshRequired")
_MISCONFIGURED = (
    *_OWN_KEYS,
    "AuthorizationHeaderMalformed",
    "InvalidAccessKeyId",
    "PermanentRedirect",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TemporaryRedirect",
)
_AT_ONCE = 256 * 1024
"""Bytes of a body that are sent in one piece."""
_REFUSALS = (301, 307, 400, 401, 403)
_NOT_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

Content = bytes | AsyncIterator[bytes]
Renew = Callable[[int], Awaitable[None]]


@dataclass
class Store:
    """One real bucket, as the gateway's process knows it.

    :param number: its place in the configuration.
    :param keys: the credentials as they are now.
    """

    number: int
    bucket: str
    endpoint: str
    region: str
    is_virtual: bool
    verify: bool | str
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)

    @cached_property
    def proxy(self) -> str | None:
        """The proxy that the environment names for this store."""
        parts = urlsplit(self.endpoint)
        return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)

    def url(self, key: str | None, query: str) -> str:
        """The address of an object, or of the bucket (None)."""
        scheme, host = urlsplit(self.endpoint)[:2]
        bucket = quote(self.bucket, safe=UNRESERVED)
        base = f"{scheme}://{bucket}.{host}" if self.is_virtual else f"{scheme}://{host}/{bucket}"
        path = f"/{encoded(key)}" if key is not None else "/" if self.is_virtual else ""
        return f"{base}{path}" + (f"?{query}" if query else "")


class Answer:
    """What a store answered. Its body is read once, as blocks, or kept as a document."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._data: bytes | None = None

    async def blocks(self) -> AsyncIterator[bytes]:
        """Give the body as it arrives."""
        async for block in self._response.content.iter_any():
            yield block

    @property
    def transport(self) -> Any:
        """The connection that the answer comes from; None when all of it has come."""
        connection = self._response.connection
        return None if connection is None else connection.transport

    def detached(self) -> tuple[Any, bytes] | None:
        """Stop reading, and give the connection with what has arrived of the body; None where that cannot be done.

        The connection is of no use to others afterwards.
        """
        transport = self.transport
        if transport is None:
            return None
        early = bytearray()
        while True:
            transport.pause_reading()
            # Reading may let the parser give more that it had held back, and always begins to read again.
            block = self._response.content.read_nowait()
            if not block:
                if self.transport is None:  # all of it has come: the connection serves others already
                    transport.resume_reading()
                return transport, bytes(early)
            early += block

    def end(self) -> None:
        """Close the connection."""
        self._response.close()

    async def document(self) -> bytes:
        """Give the whole body.

        :raises S3Error: when it is too long for a document.
        """
        if self._data is None:
            data = bytearray()
            async for block in self.blocks():
                data += block
                if len(data) > LARGEST_ANSWER:
                    raise S3Error("InternalError", "the answer of the store is too long")
            self._data = bytes(data)
        return self._data


class Upstream:
    """The connections to all real stores.

    :param renew: asks the parent for new credentials of a store, and ends when they are there.
    """

    def __init__(self, renew: Renew) -> None:
        self._renew = renew
        self._session: aiohttp.ClientSession | None = None
        self._tls: dict[bool | str, Any] = {}

    def start(self) -> None:
        """Be ready; called with the loop running."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=10, ttl_dns_cache=60),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=600),
            auto_decompress=False,
            skip_auto_headers=_NOT_ADDED,
            read_bufsize=READ_SIZE,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()

    def close_at_once(self) -> None:
        """End all connections where nothing can be awaited any more."""
        if self._session is not None and self._session.connector is not None:
            closing = self._session.connector.close().__await__()
            with suppress(StopIteration, RuntimeError):  # its loop may be closed
                next(closing)  # as far as it comes without waiting: all sockets are closed by then
            closing.close()

    @asynccontextmanager
    async def ask(
        self,
        store: Store,
        method: str,
        key: str | None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: Content = b"",
        payload: str = EMPTY,
    ) -> AsyncIterator[Answer]:
        """Give the store's answer, whatever it is, but for those that are about the gateway's own credentials.

        :param key: real; None: of the bucket itself.
        :param payload: sha256 of the content, or ``UNSIGNED-PAYLOAD``.
        :raises S3Error: when no answer comes, or the store refuses the credentials.
        """
        may_repeat, has_answer = isinstance(content, bytes), False
        url = store.url(key, encoded_query(list((query or {}).items())))
        try:
            for is_first in (True, False):
                response = await self._send(store, method, url, headers or {}, content, payload)
                async with response:
                    answer = Answer(response)
                    code = "" if answer.status not in _REFUSALS else await _code_of(answer, method)
                    if is_first and (code in _OWN_KEYS or (method == "HEAD" and answer.status == 400)):
                        await self._renew(store.number)  # a refusal of HEAD does not say why
                        if may_repeat:
                            continue
                        raise S3Error(
                            "ServiceUnavailable", "the credentials had ended, and are new now: ask again"
                        )
                    if code in _MISCONFIGURED:
                        log.error(
                            "the store of bucket %s refuses the keys or the region: %s", store.bucket, code
                        )
                        raise S3Error(
                            "InternalError",
                            f"the store refuses the keys or the region that it is asked with: {code}",
                        )
                    has_answer = True
                    yield answer
                    return
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if has_answer and isinstance(error, ConnectionError):
                raise  # the client's side has ended
            log.warning("no answer from the store of bucket %s: %s", store.bucket, error)
            raise S3Error(
                "ServiceUnavailable", f"no answer from the store: {type(error).__name__}"
            ) from error

    async def _send(
        self,
        store: Store,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: Content,
        payload: str,
    ) -> aiohttp.ClientResponse:
        assert self._session is not None
        return await self._session.request(
            method,
            URL(url, encoded=True),
            headers=_signed(store, method, url, headers, payload),
            data=_in_pieces(content),
            allow_redirects=False,
            ssl=self._trust(store.verify),
            proxy=store.proxy,
        )

    def _trust(self, verify: bool | str) -> Any:
        if verify not in self._tls:
            self._tls[verify] = (
                ssl.create_default_context(cafile=verify) if isinstance(verify, str) else verify
            )
        return self._tls[verify]


def _in_pieces(content: Content) -> Any:
    """A body as it is sent: a large one whole would hold up the loop."""
    if isinstance(content, bytes) and len(content) > _AT_ONCE:
        return io.BytesIO(content)
    return content or None


async def _code_of(answer: Answer, method: str) -> str:
    """The code of a refusal."""
    if answer.status in (301, 307):
        return "PermanentRedirect"
    if method == "HEAD":
        return ""
    try:
        return parse(await answer.document()).findtext("Code", "")
    except S3Error:
        return ""


def _signed(store: Store, method: str, url: str, headers: Mapping[str, str], payload: str) -> dict[str, str]:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    keys = store.keys
    request = AWSRequest(method=method, url=url, headers={**headers})
    request.context["payload_signing_enabled"] = payload != UNSIGNED
    credentials = Credentials(keys["access_key_id"], keys["secret_access_key"], keys.get("token") or None)
    signer: Any = S3SigV4Auth(credentials, "s3", store.region)
    signer.payload = lambda _: payload
    signer.add_auth(request)
    return dict(request.headers.items())
