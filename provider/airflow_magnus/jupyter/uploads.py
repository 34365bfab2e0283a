"""Uploads in chunks: in order, with little memory, and nothing to be seen of them before the last one.

Source: Jupyter's front ends send chunk 1, 2, … and -1 as the last one, each when the one before was answered.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping

from tornado.web import HTTPError

from airflow_magnus.jupyter.bucket import Bucket
from airflow_magnus.jupyter.multipart import Multipart

PART = 8 * 1024**2
"""Bytes of a part; more in uploads of many parts, as S3 takes 10,000."""
_LARGE_PART, _SMALL_PARTS = 64 * 1024**2, 2_000
_FORGOTTEN = 3600.0
"""Seconds after which an upload that nobody goes on with is given up."""
_REMEMBERED = 1_000
LAST = -1


class _Upload:
    """One file on its way. The newest chunk is held back: when its answer is lost, it comes again."""

    def __init__(self, bucket: Bucket, key: str, kind: str) -> None:
        self._bucket, self._key, self._kind = bucket, key, kind
        self._parts: Multipart | None = None
        self._buffer, self._newest = bytearray(), b""
        self.number, self.size = 0, 0
        self.touched = time.monotonic()

    async def take(self, number: int, content: bytes) -> None:
        """Take a chunk; the same number again replaces it."""
        if number != self.number:
            self._buffer += self._newest
            self.size += len(content)
        else:
            self.size += len(content) - len(self._newest)
        self.number, self._newest, self.touched = number, content, time.monotonic()
        while len(self._buffer) >= self._part:
            await self._send(self._part)

    async def publish(self, conditions: Mapping[str, str]) -> None:
        """Let the file be there."""
        self._buffer += self._newest
        if self._parts is None:
            await self._bucket.put(self._key, bytes(self._buffer), kind=self._kind, conditions=conditions)
            return
        while self._buffer:
            await self._send(min(self._part, len(self._buffer)))
        await self._parts.complete(conditions)

    async def abort(self) -> None:
        """Let nothing be left of it."""
        if self._parts is not None:
            await self._parts.abort()

    @property
    def _part(self) -> int:
        return PART if self._parts is None or self._parts.parts < _SMALL_PARTS else _LARGE_PART

    async def _send(self, size: int) -> None:
        if self._parts is None:
            headers = {"Content-Type": self._kind} if self._kind else {}
            self._parts = await Multipart.begin(self._bucket, self._key, headers)
        await self._parts.add(bytes(memoryview(self._buffer)[:size]))
        del self._buffer[:size]


class Uploads:
    """The uploads that go on."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._open: dict[str, _Upload] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    def goes_on(self, key: str) -> bool:
        """Whether a file is on its way."""
        return key in self._open

    async def take(
        self, key: str, number: int, content: bytes, kind: str, conditions: Mapping[str, str]
    ) -> int | None:
        """Take a chunk; gives how many bytes have come so far, None when that was the last one.

        :param conditions: headers, for the request that publishes the file.
        :raises HTTPError: 400, when chunks before this one are missing.
        """
        async with self._locks.setdefault(key, asyncio.Lock()):
            try:
                return await self._take(key, number, content, kind, conditions)
            finally:
                if key not in self._open:
                    self._locks.pop(key, None)

    async def _take(
        self, key: str, number: int, content: bytes, kind: str, conditions: Mapping[str, str]
    ) -> int | None:
        if number == 1:
            await self._give_up(key)
            await self._give_up_forgotten()
            self._ended.pop(key, None)
            self._open[key] = _Upload(self._bucket, key, kind)
        elif number == LAST and key in self._ended:  # its answer was lost
            return None
        upload = self._in_order(key, number)
        await upload.take(number, content)
        if number != LAST:
            return upload.size
        del self._open[key]
        try:
            await upload.publish(conditions)
        except BaseException:
            await asyncio.shield(upload.abort())
            raise
        self._ended[key] = None
        while len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)
        return None

    def _in_order(self, key: str, number: int) -> _Upload:
        upload = self._open.get(key)
        if upload is None:
            raise HTTPError(
                400, f"chunk {number} of an upload that has not begun here: begin again with chunk 1"
            )
        if number not in (upload.number, upload.number + 1, LAST):
            raise HTTPError(400, f"chunk {number} came after chunk {upload.number}: begin again with chunk 1")
        return upload

    async def _give_up_forgotten(self) -> None:
        before = time.monotonic() - _FORGOTTEN
        for key in [key for key, upload in self._open.items() if upload.touched < before]:
            await self._give_up(key)

    async def _give_up(self, key: str) -> None:
        upload = self._open.pop(key, None)
        if upload is not None:
            await upload.abort()
