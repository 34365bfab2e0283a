"""A bucket that passes requests on to a real store: its own semantics hold."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import IO
from urllib.parse import quote

from aiohttp import web

from airflow_magnus.gateway.call import META, STORED, Call
from airflow_magnus.gateway.documents import LARGEST, as_fields, parse, rendered
from airflow_magnus.gateway.faults import S3Error, no_such_key
from airflow_magnus.gateway.ledger import Ledger
from airflow_magnus.gateway.opened import Opened, part_of, size_of
from airflow_magnus.gateway.passed_headers import READING, WRITING, WRITING_PREFIXES, answered
from airflow_magnus.gateway.payload import CHECKSUM, Body
from airflow_magnus.gateway.relay import may_relay
from airflow_magnus.gateway.rewriting import Names, rewritten
from airflow_magnus.gateway.signatures import UNSIGNED
from airflow_magnus.gateway.target import UNRESERVED, checked_key, encoded
from airflow_magnus.gateway.upstream import EMPTY, READ_SIZE, Answer, Content, Store, Upstream

_SMALL = 256 * 1024
"""Largest content, in bytes, that is held in memory and sent at once."""


class PassedOn:
    """A bucket below a prefix of a real one.

    :param name: the visible one.
    :param keys: visible to real key below the prefix; None: all below it.
    :param digests: the sha256 of visible keys where they are known.
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
    ) -> None:
        self._digests = digests
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
            return await call.stream(answer.status, answered(answer), self._noted(call.key, answer))
        taken = hashlib.sha256(early[1])
        digest = taken if answer.status == 200 and call.key not in self._digests else None
        left = length - len(early[1])
        try:
            response = await call.relay(answer.status, answered(answer), *early, left, digest)
        finally:
            answer.end()
        self._note(call.key, answer, taken.hexdigest())
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
        document = await call.body().whole(LARGEST)
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
        fields = as_fields(asked)
        visible = [checked_key(item.findtext("Key", "")) for item in asked.iter("Object")]
        if not 1 <= len(visible) <= 1000 or not all(visible):
            raise S3Error("MalformedXML", "1 to 1000 keys are deleted with one request")
        real = [
            (name, [(tag, self.real(text) if tag == "Key" else text) for tag, text in value])
            if name == "Object"
            else (name, value)
            for name, value in fields
        ]
        document = rendered("Delete", real)
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

    async def copy_inside(
        self, call: Call, source: PassedOn, key: str, version: str, query: Mapping[str, str]
    ) -> web.StreamResponse:
        """CopyObject and UploadPartCopy where the store does all of it."""
        place = f"/{quote(source.store.bucket, safe=UNRESERVED)}/{encoded(source.real(key))}"
        headers = {
            **call.stored_headers(),
            **call.chosen(WRITING, WRITING_PREFIXES),
            "x-amz-copy-source": place + (f"?versionId={quote(version, safe=UNRESERVED)}" if version else ""),
            "content-length": "0",
        }
        async with self.upstream.ask(
            self.store, "PUT", self.real(call.key), query=query, headers=headers
        ) as answer:
            if answer.status == 200:
                root = parse(await answer.document())
                etag = root.findtext("ETag", "")
                part = part_of(call.header("x-amz-copy-source-range"))
                if root.tag != "Error":
                    source.ledger.read(source.name, key, size=None, etag="" if query else etag, part=part)
                    if not query:
                        self.ledger.wrote(self.name, call.key, size=None, etag=etag)
            return await self.documented(call, answer)

    async def store_copy(self, call: Call, opened: Opened, query: Mapping[str, str]) -> tuple[str, str]:
        """Write what was opened elsewhere. Gives ETag and time of the last change ("" for unknown)."""
        kept = (
            call.stored_headers() if call.header("x-amz-metadata-directive") == "REPLACE" else opened.headers
        )
        headers = {
            **({} if query else kept),
            **call.chosen(("if-match", "if-none-match")),
            "content-length": str(opened.size),
        }
        async with self.upstream.ask(
            self.store, "PUT", self.real(call.key), query=query, headers=headers,
            content=opened.blocks() if opened.size else b"", payload=UNSIGNED if opened.size else EMPTY,
        ) as answer:  # fmt: skip
            if answer.status != 200:
                code = parse(await answer.document()).findtext("Code", "InternalError")
                raise S3Error(code, "the store refuses the copy", status=answer.status)
            etag = answer.headers.get("ETag", "")
            if not query:
                self.ledger.wrote(self.name, call.key, size=opened.size, etag=etag)
            return etag, ""

    @asynccontextmanager
    async def opened(self, key: str, headers: Mapping[str, str], version: str) -> AsyncIterator[Opened]:
        """An object to be read by the gateway itself.

        :raises S3Error: when it is not there, or the conditions in ``headers`` do not hold.
        """
        query = {"versionId": version} if version else {}
        async with self.upstream.ask(
            self.store, "GET", self.real(key), query=query, headers=headers
        ) as answer:
            if answer.status not in (200, 206):
                codes = {
                    304: "PreconditionFailed",
                    404: "NoSuchKey",
                    412: "PreconditionFailed",
                    416: "InvalidRange",
                }
                raise S3Error(codes.get(answer.status, "InternalError"), f"{key!r} cannot be copied")
            kept = {
                name.lower(): value
                for name, value in answer.headers.items()
                if name.lower() in STORED or name.lower().startswith(META)
            }
            size = int(answer.headers.get("Content-Length", 0))
            yield Opened(size, kept, lambda: self._noted(key, answer))

    async def documented(self, call: Call, answer: Answer, *, is_url: bool = False) -> web.StreamResponse:
        """Pass an answer on whose body is a document, or nothing."""
        document = await answer.document()
        if document.strip():
            location = f"http://{call.host}/{self.name}/{encoded(call.key)}"
            document = rewritten(document, Names(self.name, self.prefix, is_url, location))
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

    async def _noted(self, key: str, answer: Answer) -> AsyncIterator[bytes]:
        """The bytes of an object; at their end the ledger knows what was read."""
        whole = answer.status == 200 and key not in self._digests
        taken = hashlib.sha256()
        async for block in answer.blocks():
            if whole:
                taken.update(block)
            yield block
        self._note(key, answer, taken.hexdigest())

    def _note(self, key: str, answer: Answer, sha256: str) -> None:
        size, part = size_of(answer.status, answer.headers)
        etag = answer.headers.get("ETag", "")
        sha256 = self._digests.get(key) or ("" if part else sha256)
        self.ledger.read(self.name, key, size=size, etag=etag, sha256=sha256, part=part)


async def _of_file(file: IO[bytes]) -> AsyncIterator[bytes]:
    while block := file.read(READ_SIZE):
        yield block
