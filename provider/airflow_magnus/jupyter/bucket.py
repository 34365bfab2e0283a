"""The bucket that the contents lie in: one method for each request of S3 that is needed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote_plus
from xml.etree.ElementTree import Element

from airflow_magnus.gateway.documents import parse, rendered
from airflow_magnus.gateway.faults import S3Error
from airflow_magnus.jupyter.connection import Connection, Reply
from airflow_magnus.jupyter.errors import refused

_MOST_DELETED = 1000
_INLINE = 32 * 1024


@dataclass(frozen=True)
class Fact:
    """What a store says of an object.

    :param size: bytes.
    :param etag: without quotes.
    :param modified: to the second: not all answers of a store say more.
    """

    size: int
    etag: str
    modified: datetime


@dataclass(frozen=True)
class Page:
    """A part of a list.

    :param objects: keys with what is known of them, in order.
    :param folders: what keys have in common up to the delimiter, with it.
    :param next: where the next one begins; "" of the last one.
    """

    objects: Sequence[tuple[str, Fact]]
    folders: Sequence[str]
    next: str

    @property
    def is_last(self) -> bool:
        """Whether nothing comes behind it."""
        return not self.next


class Bucket:
    """Objects by key.

    All methods raise :class:`S3Error` when the store refuses or does not answer.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def pages(
        self, prefix: str, *, delimiter: str = "", most: int = _MOST_DELETED
    ) -> AsyncIterator[Page]:
        """Give what lies below a prefix. Cost: 1 LIST for each 1,000.

        :param most: keys and folders a page.
        """
        token = ""
        while True:
            query = {"list-type": "2", "prefix": prefix, "encoding-type": "url", "max-keys": str(most)}
            query |= {"delimiter": delimiter} if delimiter else {}
            query |= {"continuation-token": token} if token else {}
            reply = await self.connection.ask("GET", None, query=query)
            if reply.status != 200:
                raise refused(reply, f"list {prefix!r}")
            # In a thread: a page of 1,000 keys takes some 10 ms, on a busy machine much more.
            page = (
                await asyncio.to_thread(_page, reply.body) if len(reply.body) > _INLINE else _page(reply.body)
            )
            yield page
            if page.is_last:
                return
            token = page.next

    async def first_page(self, prefix: str, *, delimiter: str = "", most: int = _MOST_DELETED) -> Page:
        """What comes first below a prefix. Cost: 1 LIST."""
        pages = self.pages(prefix, delimiter=delimiter, most=most)
        try:
            return await anext(pages)
        finally:
            await pages.aclose()  # type: ignore[attr-defined]

    async def all(self, prefix: str) -> list[tuple[str, Fact]]:
        """All keys below a prefix. Cost: 1 LIST for each 1,000."""
        return [item async for page in self.pages(prefix) for item in page.objects]

    async def head(self, key: str) -> Fact | None:
        """What is known of an object; None when there is none."""
        reply = await self.connection.ask("HEAD", key)
        if reply.status == 404:
            return None
        if reply.status != 200:
            raise refused(reply, f"look at {key!r}")
        return fact_of(reply.headers)

    async def get(self, key: str) -> tuple[Fact, bytes] | None:
        """An object with its content; None when there is none."""
        reply = await self.connection.ask("GET", key)
        if reply.status == 404 and b"NoSuchBucket" not in reply.body:
            return None
        if reply.status != 200:
            raise refused(reply, f"read {key!r}")
        return replace(fact_of(reply.headers), size=len(reply.body)), reply.body

    async def put(
        self, key: str, content: bytes, *, kind: str = "", conditions: Mapping[str, str] | None = None
    ) -> str:
        """Write an object; gives its ETag.

        :param kind: content type.
        :param conditions: headers. Such a request is not sent again when its answer was lost: it might meet itself.
        """
        headers = {"Content-Type": kind or "application/octet-stream", **(conditions or {})}
        reply = await self.connection.ask(
            "PUT", key, headers=headers, content=content, may_repeat=not conditions
        )
        if reply.status == 412 and '"' in headers.get("If-Match", ""):
            # Ceph compares it with its quotes. What is not a match stays none without them.
            headers["If-Match"] = headers["If-Match"].strip('"')
            reply = await self.connection.ask("PUT", key, headers=headers, content=content, may_repeat=False)
        if reply.status != 200:
            raise refused(reply, f"write {key!r}")
        return reply.headers.get("ETag", "").strip('"')

    async def copy(self, source: str, target: str) -> None:
        """Copy an object of at most 5 GB inside the store."""
        reply = await self.connection.ask("PUT", target, headers={"x-amz-copy-source": self.source(source)})
        self.check_copied(reply, f"copy {source!r} to {target!r}")

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; those that are not there are passed over. Cost: 1 request for each 1,000."""
        for start in range(0, len(keys), _MOST_DELETED):
            await self._delete_some(keys[start : start + _MOST_DELETED])

    async def _delete_some(self, keys: Sequence[str]) -> None:
        fields = [("Quiet", True), *(("Object", [("Key", key)]) for key in keys)]
        document = rendered("Delete", fields)
        # Older stores want this checksum and no other.
        digest = base64.b64encode(hashlib.md5(document, usedforsecurity=False).digest()).decode()
        headers = {"Content-MD5": digest, "Content-Type": "application/xml"}
        reply = await self.connection.ask(
            "POST", None, query={"delete": ""}, headers=headers, content=document
        )
        if reply.status != 200:
            raise refused(reply, f"remove {len(keys)} objects")
        error = parse(reply.body, is_lenient=True).find("Error")
        if error is not None:
            code = error.findtext("Code", "")
            raise S3Error(code, f"{error.findtext('Key', '')!r} is not removed: {code}", status=500)

    def source(self, key: str) -> str:
        """An object as the source of a copy."""
        return quote(f"/{self.connection.store.bucket}/{key}", safe="/-._~")

    @staticmethod
    def check_copied(reply: Reply, what: str) -> Element:
        """The document that says that a copy was made.

        :raises S3Error: when it was not: a store may say so after it has answered 200.
        """
        if reply.status != 200 or b"<Error" in reply.body:
            raise refused(reply, what)
        return parse(reply.body)


def fact_of(headers: Mapping[str, str]) -> Fact:
    """What the headers of an answer say of an object."""
    size = int(headers.get("Content-Length", "0"))
    return Fact(size, headers.get("ETag", "").strip('"'), parsedate_to_datetime(headers["Last-Modified"]))


def _page(document: bytes) -> Page:
    root = parse(document, is_lenient=True)
    is_url = root.findtext("EncodingType") == "url"

    def name(item: Element, tag: str) -> str:
        text = item.findtext(tag, "")
        return unquote_plus(text) if is_url else text

    objects = [(name(item, "Key"), _listed(item)) for item in root.iter("Contents")]
    return Page(
        objects,
        [name(item, "Prefix") for item in root.iter("CommonPrefixes")],
        root.findtext("NextContinuationToken", ""),
    )


def _listed(item: Element) -> Fact:
    modified = datetime.fromisoformat(item.findtext("LastModified", "")).astimezone(UTC)
    etag = item.findtext("ETag", "").strip('"')
    return Fact(int(item.findtext("Size", "0")), etag, modified.replace(microsecond=0))
