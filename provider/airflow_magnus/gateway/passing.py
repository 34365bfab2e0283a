"""A bucket that passes requests on to a real store: its own semantics hold."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import IO, Any
from xml.etree.ElementTree import Element

from aiohttp import web

from airflow_magnus.gateway.call import Call
from airflow_magnus.gateway.documents import LARGEST, parse, rendered
from airflow_magnus.gateway.faults import S3Error, no_such_key, not_implemented
from airflow_magnus.gateway.ledger import Ledger
from airflow_magnus.gateway.opened import size_of
from airflow_magnus.gateway.passed_headers import READING, WRITING, WRITING_PREFIXES, answered
from airflow_magnus.gateway.payload import CHECKSUM, Body
from airflow_magnus.gateway.relay import may_relay
from airflow_magnus.gateway.rewriting import Names, rewritten
from airflow_magnus.gateway.signatures import UNSIGNED
from airflow_magnus.gateway.target import checked_key, encoded
from airflow_magnus.gateway.upstream import READ_SIZE, Answer, Content, Store, Upstream

_SMALL = 256 * 1024
"""Largest content, in bytes, that is held in memory and sent at once."""


class PassedOn:
    """A bucket below a prefix of a real one.

    :param name: the visible one.
    :param keys: visible to real key below the prefix; None: all below it.
    :param digests: the sha256 of visible keys where they are known.
    :param is_recorded: all of ``keys`` must be there.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        prefix: str,
        keys: Mapping[str, str] | None,
        upstream: Upstream,
        ledger: Ledger,
        *,
        is_writable: bool,
        digests: Mapping[str, str],
        is_recorded: bool = False,
    ) -> None:
        self._digests = digests
        self.is_recorded = is_recorded
        self.name, self.store, self.is_writable = name, store, is_writable
        self.prefix, self.keys, self.upstream, self.ledger = prefix, keys, upstream, ledger

    def real(self, key: str) -> str:
        """The real key of a visible one.

        :raises S3Error: when the bucket does not hold it.
        """
        if self.keys is None:
            return self.prefix + key
        if key not in self.keys:
            raise no_such_key(key)
        return self.prefix + self.keys[key]

    async def read(self, call: Call) -> web.StreamResponse:
        """GetObject and HeadObject."""
        kept = {
            name: value
            for name, value in call.target.query.items()
            if name in ("versionId", "partNumber") or name.startswith("response-")
        }
        if self.keys is not None and "versionId" in kept:
            raise not_implemented("versions of chosen objects")
        headers = call.chosen(READING)
        method = call.request.method
        async with self.upstream.ask(
            self.store, method, self.real(call.key), query=kept, headers=headers
        ) as answer:
            if answer.status not in (200, 206):
                return await self.refused(call, answer)
            if call.is_head:
                return await call.stream(answer.status, answered(answer), None)
            return await self._delivered(call, answer)

    async def _delivered(self, call: Call, answer: Answer) -> web.StreamResponse:
        length = int(answer.headers.get("Content-Length", 0))
        early = answer.detached() if may_relay(length, answer.transport, call.request.transport) else None
        if early is None:
            return await call.stream(answer.status, answered(answer), self.noted(call.key, answer))
        taken = hashlib.sha256(early[1])
        digest = taken if answer.status == 200 and call.key not in self._digests else None
        left = length - len(early[1])
        is_whole = False
        try:
            response = await call.relay(answer.status, answered(answer), *early, left, digest)
            is_whole = True
        finally:
            answer.end()
            self._note(call.key, answer, taken.hexdigest() if is_whole else "")
        return response

    async def inside(self, call: Call, query: Mapping[str, str]) -> web.StreamResponse:
        """A read about one object whose answer is a document: its parts, tags, attributes."""
        async with self.upstream.ask(
            self.store, call.request.method, self.real(call.key), query=query, headers=call.chosen(READING)
        ) as answer:
            return await self.documented(call, answer)

    async def put(self, call: Call, query: Mapping[str, str]) -> web.StreamResponse:
        """PutObject and UploadPart."""
        headers = {**call.stored_headers(), **call.chosen(WRITING, WRITING_PREFIXES)}
        body = call.body()
        headers["content-length"] = str(body.length)
        spool: IO[bytes] | None = None
        try:
            content: Content
            if body.has_trailer:  # the store takes the checksum in front
                spool = await body.spooled()
                headers |= {name: value for name, value in body.trailers.items() if name.startswith(CHECKSUM)}
                content, payload = _of_file(spool), body.sha256
            elif body.length <= _SMALL:
                content = b"".join([block async for block in body.blocks()])
                payload = body.sha256
            else:
                content = body.blocks()
                payload = call.signed.payload if len(call.signed.payload) == 64 else UNSIGNED
            return await self._put(call, query, headers, content, payload, body)
        except S3Error:
            if body.fault is not None:
                raise body.fault from None
            raise
        finally:
            if spool is not None:
                spool.close()

    async def _put(
        self, call: Call, query: Mapping[str, str], headers: dict[str, str], content: Content, payload: str,
        body: Body,
    ) -> web.StreamResponse:  # fmt: skip
        async with self.upstream.ask(
            self.store,
            "PUT",
            self.real(call.key),
            query=query,
            headers=headers,
            content=content,
            payload=payload,
        ) as answer:
            if answer.status != 200:
                return await self.refused(call, answer)
            etag = answer.headers.get("ETag", "")
            if not query:
                self.ledger.wrote(self.name, call.key, size=body.length, etag=etag, sha256=body.sha256)
            return await call.reply(200, headers=answered(answer, without_length=True))

    async def post(self, call: Call, query: Mapping[str, str]) -> web.StreamResponse:
        """CreateMultipartUpload and CompleteMultipartUpload."""
        # Checksums of a completion are those of the whole object: the store looks at them.
        document = await call.body(with_checksums="uploads" in query).whole(LARGEST)
        if document:
            parse(document)
        headers = {**call.stored_headers(), **call.chosen(WRITING, WRITING_PREFIXES)}
        headers["content-length"] = str(len(document))
        async with self.upstream.ask(
            self.store, "POST", self.real(call.key), query=query, headers=headers, content=document,
            payload=hashlib.sha256(document).hexdigest(),
        ) as answer:  # fmt: skip
            if answer.status == 200 and "uploadId" in query:
                root = parse(await answer.document())
                if root.tag != "Error":
                    etag = root.findtext("ETag", "")
                    self.ledger.wrote(self.name, call.key, size=None, etag=etag)
            return await self.documented(call, answer)

    async def put_document(self, call: Call, query: Mapping[str, str]) -> web.StreamResponse:
        """Tags of an object."""
        document = await call.body().whole(LARGEST)
        parse(document)
        headers = {
            "content-length": str(len(document)),
            "content-md5": base64.b64encode(hashlib.md5(document, usedforsecurity=False).digest()).decode(),
        }
        async with self.upstream.ask(
            self.store, "PUT", self.real(call.key), query=query, headers=headers, content=document,
            payload=hashlib.sha256(document).hexdigest(),
        ) as answer:  # fmt: skip
            return await self.documented(call, answer)

    async def delete(self, call: Call, query: Mapping[str, str]) -> web.StreamResponse:
        """DeleteObject, AbortMultipartUpload, DeleteObjectTagging."""
        async with self.upstream.ask(
            self.store, "DELETE", self.real(call.key), query=query, headers=call.chosen(("if-match",))
        ) as answer:
            if answer.status in (200, 204) and not query.keys() & {"uploadId", "tagging"}:
                self.ledger.removed(self.name, call.key)
            return await self.documented(call, answer)

    async def delete_many(self, call: Call) -> web.StreamResponse:
        """DeleteObjects."""
        asked = parse(await call.body().whole(LARGEST))
        items = asked.findall("Object")
        visible = [checked_key(item.findtext("Key", "")) for item in items]
        if not 1 <= len(visible) <= 1000 or not all(visible):
            raise S3Error("MalformedXML", "1 to 1000 keys are deleted with one request")
        real: list[tuple[str, Any]] = [
            ("Object", [("Key", self.real(key)), *_texts_of(item, ("VersionId", "ETag"))])
            for key, item in zip(visible, items, strict=True)
        ]
        document = rendered("Delete", [*_texts_of(asked, ("Quiet",)), *real])
        headers = {
            "content-length": str(len(document)),
            "content-md5": base64.b64encode(hashlib.md5(document, usedforsecurity=False).digest()).decode(),
            "content-type": "application/xml",
        }
        async with self.upstream.ask(
            self.store, "POST", None, query={"delete": ""}, headers=headers, content=document,
            payload=hashlib.sha256(document).hexdigest(),
        ) as answer:  # fmt: skip
            if answer.status == 200:
                root = parse(await answer.document())
                kept = {item.findtext("Key", "") for item in root.iter("Error")}
                for key in visible:
                    if self.real(key) not in kept:
                        self.ledger.removed(self.name, key)
            return await self.documented(call, answer)

    async def documented(
        self, call: Call, answer: Answer, *, is_url: bool = False, asked: Mapping[str, str] | None = None
    ) -> web.StreamResponse:
        """Pass an answer on whose body is a document, or nothing."""
        document = await answer.document()
        if document.strip():
            location = f"http://{call.host}/{self.name}/{encoded(call.key)}"
            document = rewritten(document, Names(self.name, self.prefix, is_url, location, asked or {}))
        headers = answered(answer, without_length=True)
        headers.pop("Content-Type", None)
        return await call.reply(answer.status, document, headers)

    async def refused(self, call: Call, answer: Answer) -> web.StreamResponse:
        """Pass a refusal on."""
        if call.is_head or answer.status == 304:
            headers = answered(answer, without_length=True)
            headers.pop("Content-Type", None)
            return await call.reply(answer.status, headers=headers)
        document = await answer.document()
        try:
            root = parse(document)
        except S3Error:
            raise S3Error(
                "InternalError", f"the store answered {answer.status}", status=answer.status
            ) from None
        message = root.findtext("Message", "").replace(self.prefix or "\0", "")
        raise S3Error(root.findtext("Code", "InternalError"), message, status=answer.status)

    async def noted(self, key: str, answer: Answer) -> AsyncIterator[bytes]:
        """The bytes of an object; at their end the ledger knows what was read."""
        whole = answer.status == 200 and key not in self._digests
        taken, count, is_whole = hashlib.sha256(), 0, False
        try:
            async for block in answer.blocks():
                if whole:
                    taken.update(block)
                count += len(block)
                yield block
            is_whole = True
        finally:  # also when the client has had enough
            if is_whole or count:
                self._note(key, answer, taken.hexdigest() if is_whole else "", None if is_whole else count)

    def _note(self, key: str, answer: Answer, sha256: str, count: int | None = None) -> None:
        """Note a read.

        :param count: bytes that were read; None: all that were asked for.
        """
        size, part = size_of(answer.status, answer.headers)
        if count is not None:
            first = part[0] if part else 0
            part = (first, first + count - 1)
        etag = answer.headers.get("ETag", "")
        sha256 = self._digests.get(key) or ("" if part else sha256)
        self.ledger.read(self.name, key, size=size, etag=etag, sha256=sha256, part=part)


def _texts_of(element: Element, names: tuple[str, ...]) -> list[tuple[str, Any]]:
    return [(name, element.findtext(name, "")) for name in names if element.find(name) is not None]


async def _of_file(file: IO[bytes]) -> AsyncIterator[bytes]:
    while block := file.read(READ_SIZE):
        yield block
