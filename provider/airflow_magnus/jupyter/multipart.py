"""Objects that are made of parts: uploads of unknown length, and copies of large objects."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from airflow_magnus.gateway.documents import parse, rendered
from airflow_magnus.jupyter.bucket import Bucket, Fact
from airflow_magnus.jupyter.concurrency import at_once
from airflow_magnus.jupyter.errors import refused

LARGEST_COPY = 5 * 1000**3
"""Bytes that a store copies by one request."""
COPIED_PART = 512 * 1024**2
_AT_ONCE = 8
_KEPT = ("Content-Type", "Content-Encoding", "Content-Disposition", "Content-Language", "Cache-Control")


class Multipart:
    """One object that is written in parts. It is not there before :meth:`complete`.

    All methods raise :class:`S3Error` when the store refuses or does not answer.
    """

    def __init__(self, bucket: Bucket, key: str, upload_id: str) -> None:
        self._bucket, self._key, self._id = bucket, key, upload_id
        self._etags: dict[int, str] = {}

    @classmethod
    async def begin(cls, bucket: Bucket, key: str, headers: Mapping[str, str]) -> Multipart:
        """Start an object with these headers."""
        reply = await bucket.connection.ask("POST", key, query={"uploads": ""}, headers=headers)
        if reply.status != 200:
            raise refused(reply, f"begin to write {key!r}")
        return cls(bucket, key, parse(reply.body).findtext("UploadId", ""))

    @property
    def parts(self) -> int:
        """How many there are."""
        return len(self._etags)

    async def add(self, content: bytes) -> None:
        """Write the next part."""
        number = len(self._etags) + 1
        reply = await self._bucket.connection.ask(
            "PUT", self._key, query=self._query(number), content=content
        )
        if reply.status != 200:
            raise refused(reply, f"write part {number} of {self._key!r}")
        self._etags[number] = reply.headers["ETag"]

    async def add_copy(self, number: int, source: str, first: int, last: int) -> None:
        """Let a part be a copy of bytes of another object; ``last`` is the last of them."""
        headers = {
            "x-amz-copy-source": self._bucket.source(source),
            "x-amz-copy-source-range": f"bytes={first}-{last}",
        }
        reply = await self._bucket.connection.ask(
            "PUT", self._key, query=self._query(number), headers=headers
        )
        document = self._bucket.check_copied(reply, f"copy a part of {source!r}")
        self._etags[number] = document.findtext("ETag", "")

    async def complete(self, conditions: Mapping[str, str] | None = None) -> None:
        """Let the object be there."""
        parts = [("Part", [("PartNumber", n), ("ETag", etag)]) for n, etag in sorted(self._etags.items())]
        reply = await self._bucket.connection.ask(
            "POST", self._key, query={"uploadId": self._id}, content=rendered("CompleteMultipartUpload", parts),
            headers={"Content-Type": "application/xml", **(conditions or {})},
        )  # fmt: skip
        if reply.status == 404 and await self._is_there():
            return
        self._bucket.check_copied(reply, f"end writing {self._key!r}")

    async def abort(self) -> None:
        """Let nothing be left of it."""
        await self._bucket.connection.ask("DELETE", self._key, query={"uploadId": self._id})

    async def _is_there(self) -> bool:
        """Whether it was completed by a request whose answer was lost."""
        fact = await self._bucket.head(self._key)
        return fact is not None and fact.etag.endswith(f"-{len(self._etags)}")

    def _query(self, number: int) -> dict[str, str]:
        return {"partNumber": str(number), "uploadId": self._id}


async def copy(bucket: Bucket, source: str, target: str, fact: Fact, largest: int = LARGEST_COPY) -> None:
    """Copy an object inside the store, whatever its size.

    :param fact: of the source.
    :param largest: bytes that one request copies.
    """
    if fact.size <= largest:
        await bucket.copy(source, target)
        return
    upload = await Multipart.begin(bucket, target, await _headers_of(bucket, source))
    try:
        await _copy_parts(upload, source, _ranges(fact.size, min(COPIED_PART, largest)))
        await upload.complete()
    except BaseException:
        await asyncio.shield(upload.abort())
        raise


async def _copy_parts(upload: Multipart, source: str, ranges: Sequence[tuple[int, int]]) -> None:
    numbered = enumerate(ranges, start=1)
    await at_once(
        (partial(upload.add_copy, n, source, first, last) for n, (first, last) in numbered), _AT_ONCE
    )


def _ranges(size: int, step: int) -> list[tuple[int, int]]:
    return [(start, min(start + step, size) - 1) for start in range(0, size, step)]


async def _headers_of(bucket: Bucket, key: str) -> dict[str, str]:
    """The headers that a copy of an object keeps: a store copies them by itself only in one request."""
    reply = await bucket.connection.ask("HEAD", key)
    if reply.status != 200:
        raise refused(reply, f"look at {key!r}")
    own = {name: value for name, value in reply.headers.items() if name.lower().startswith("x-amz-meta-")}
    return own | {name: reply.headers[name] for name in _KEPT if name in reply.headers}
