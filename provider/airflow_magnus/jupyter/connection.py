"""Requests to the bucket: signed, sent again when the store could not answer, on connections of the running loop."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from weakref import WeakKeyDictionary, finalize

from airflow_magnus.gateway.faults import S3Error
from airflow_magnus.gateway.upstream import EMPTY, Answer, Store, Upstream
from airflow_magnus.jupyter.credentials import Authentication, CurrentCredentials, Signing

_TRIES = 5
_FIRST_PAUSE = 0.2
_PASSING = (429, 500, 502, 503, 504)
_INLINE = 256 * 1024
"""Bytes up to which a digest is taken without a thread."""


@dataclass(frozen=True)
class Reply:
    """An answer that was read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _OfLoop:
    """Connections and credentials of one event loop."""

    def __init__(self, store: Store, make: Callable[[], Authentication]) -> None:
        self._store = store
        self.credentials = CurrentCredentials(make)
        self.upstream = Upstream(self._renew)
        self.upstream.start()
        self._asked: dict[int, tuple[Store, Signing]] = {}
        self._numbers = count()
        finalize(self, self.upstream.close_at_once)

    @contextmanager
    def signed_for(self, signing: Signing) -> Iterator[Store]:
        """The store for one request, so that it is known which keys were refused."""
        store = replace(self._store, number=next(self._numbers), keys=signing.keys)
        self._asked[store.number] = store, signing
        try:
            yield store
        finally:
            del self._asked[store.number]

    async def _renew(self, number: int) -> None:
        store, refused = self._asked[number]
        store.keys = (await self.credentials.renewed(refused)).keys


class Connection:
    """A bucket that can be asked.

    :param store: where it is; its keys come from ``make``.
    :param make: as of :class:`CurrentCredentials`.
    """

    def __init__(self, store: Store, make: Callable[[], Authentication]) -> None:
        self.store = store
        self._make = make
        # Jupyter checks some settings in a loop of its own.
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _OfLoop] = WeakKeyDictionary()

    async def ask(
        self,
        method: str,
        key: str | None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        may_repeat: bool = True,
    ) -> Reply:
        """Give the store's answer, whatever it is.

        :param key: None: of the bucket itself.
        :param may_repeat: whether a request whose answer was lost may be sent again.
        :raises S3Error: when no answer comes, or the store refuses the credentials.
        """
        payload = await _digest(content)
        for left in range(_TRIES - 1, -1, -1):
            try:
                async with self._sent(method, key, query, headers, content, payload) as answer:
                    body = b"".join([block async for block in answer.blocks()])
                    reply = Reply(answer.status, answer.headers, body)
                if reply.status not in _PASSING or not left:
                    return reply
            except ConnectionError as error:  # in the middle of an answer
                if not left or not may_repeat:
                    raise S3Error("ServiceUnavailable", f"the store's answer broke off: {error}") from error
            except S3Error as error:
                if error.status != 503 or not left or not may_repeat:
                    raise self._told(error) from error
            await asyncio.sleep(_FIRST_PAUSE * 2 ** (_TRIES - 1 - left) * random.uniform(0.5, 1))
        raise AssertionError  # the last round gives or raises

    def _told(self, error: S3Error) -> S3Error:
        """An error that says which setting it may be about."""
        cause = error.__cause__
        if cause is None:
            return error
        endpoint = self.store.endpoint
        hint = ", with http:// in front if it speaks no TLS" if endpoint.startswith("https://") else ""
        text = f"no answer from {endpoint} ({cause}): is aws_s3_host right{hint}, and does the server run?"
        return S3Error(error.code, text, status=error.status)

    @asynccontextmanager
    async def stream(self, key: str, headers: Mapping[str, str]) -> AsyncIterator[Answer]:
        """Give the answer to a GET while it arrives. It is not asked for again."""
        async with self._sent("GET", key, None, headers, b"", EMPTY) as answer:
            yield answer

    @asynccontextmanager
    async def _sent(
        self,
        method: str,
        key: str | None,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        content: bytes,
        payload: str,
    ) -> AsyncIterator[Answer]:
        own = self._of_loop()
        signing = await own.credentials.signing()
        sent = {**(headers or {}), **signing.headers}
        with own.signed_for(signing) as store:
            async with own.upstream.ask(
                store, method, key, query=query, headers=sent, content=content, payload=payload
            ) as answer:
                yield answer

    def _of_loop(self) -> _OfLoop:
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            self._loops[loop] = _OfLoop(self.store, self._make)
        return self._loops[loop]


async def _digest(content: bytes) -> str:
    if len(content) <= _INLINE:
        return hashlib.sha256(content).hexdigest()
    return await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest())
