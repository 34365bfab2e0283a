"""A bucket in a folder of this machine, for catalogs that are one."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from pathlib import Path
from xml.etree.ElementTree import Element

from aiohttp import web

from airflow_magnus.gateway.call import CONDITIONS, STORED, Call
from airflow_magnus.gateway.conditions import check_read, check_write
from airflow_magnus.gateway.documents import LARGEST, parse, rendered
from airflow_magnus.gateway.faults import S3Error, not_implemented
from airflow_magnus.gateway.held import Files, Held, Written, now
from airflow_magnus.gateway.ledger import Ledger, Output
from airflow_magnus.gateway.listing import Fact, list_document, refuse_gaps
from airflow_magnus.gateway.opened import Opened, requested
from airflow_magnus.gateway.payload import CHECKSUM
from airflow_magnus.gateway.target import checked_key
from airflow_magnus.gateway.uploads import Uploads

_TYPE = "binary/octet-stream"


class FolderBucket:
    """A bucket whose objects are files."""

    def __init__(
        self,
        name: str,
        folder: Path,
        files: Mapping[str, str] | None,
        ledger: Ledger,
        *,
        is_writable: bool,
        is_recorded: bool = False,
    ) -> None:
        self.name, self.is_writable = name, is_writable
        self._recorded = frozenset(files or ()) if is_recorded else frozenset()
        self._ledger = ledger
        self._written = Written(folder)
        self._objects: Files | Written = self._written if is_writable else Files(folder, files)
        self._uploads = Uploads(self._written)

    def outputs(self) -> list[Output]:
        """All that was written."""
        return [
            Output(self.name, key, item.path.name, item.size, item.etag.strip('"'), item.sha256)
            for key, item in self._written.items()
        ]

    async def drop(self) -> None:
        """Remove all that was written, also by a gateway before this one."""
        self._uploads.forget()
        self._written.clear()

    async def read(self, call: Call) -> web.StreamResponse:
        """GetObject and HeadObject."""
        held = await self._find(call.key, call.target.query)
        try:
            check_read(call.chosen(CONDITIONS), held.etag, held.modified)
        except S3Error as fault:
            if fault.status != 304:
                raise
            return await call.reply(304, headers=_known(held))
        part = _part(held, call.header("range"), call.target.query)
        first, length = (part[0], part[1] - part[0] + 1) if part else (0, held.size)
        headers = _answered(held, call)
        headers["Content-Length"] = str(length)
        if part:
            headers["Content-Range"] = f"bytes {part[0]}-{part[1]}/{held.size}"
        blocks = None if call.is_head else self._noted(call.key, held, first, length)
        return await call.stream(206 if part else 200, headers, blocks)

    async def put(self, call: Call, query: Mapping[str, str]) -> web.StreamResponse:
        """PutObject and UploadPart."""
        if query:
            self._uploads.find(query["uploadId"], call.key)
        self._check_write(call)
        body = call.body(with_md5=True)
        path, file = self._written.new_file()
        try:
            with file:
                async for block in body.blocks():
                    file.write(block)
            checks = {name: value or body.trailers[name] for name, value in body.announced.items()}
            etag = f'"{body.md5}"'
            kept = {**call.stored_headers(), **checks}
            held = Held(path, body.length, etag, now(), kept, body.sha256)
            if query:
                self._uploads.set_part(query, call.key, held)
            else:
                self._check_write(call)  # another may have been quicker
                self._set(call.key, held)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return await call.reply(200, headers={"ETag": etag, **checks})

    async def post(self, call: Call, query: Mapping[str, str]) -> web.StreamResponse:
        """CreateMultipartUpload and CompleteMultipartUpload."""
        names = [("Bucket", self.name), ("Key", call.key)]
        if "uploads" in query:
            number = self._uploads.begin(call.key, call.stored_headers())
            fields = [*names, ("UploadId", number)]
            return await call.reply(200, rendered("InitiateMultipartUploadResult", fields))
        asked, number = parse(await call.body(with_checksums=False).whole(LARGEST)), query["uploadId"]
        etag = self._uploads.ended(number, call.key) or await self._complete(call, number, asked)
        location = f"http://{call.host}/{self.name}/{call.key}"
        fields = [("Location", location), *names, ("ETag", etag)]
        return await call.reply(200, rendered("CompleteMultipartUploadResult", fields))

    async def _complete(self, call: Call, number: str, asked: Element) -> str:
        """Make an object of the parts of an upload. Gives its ETag."""
        self._check_write(call)
        held = await self._uploads.complete(number, call.key, asked)
        try:
            self._check_write(call)
        except S3Error:
            held.path.unlink(missing_ok=True)
            raise
        self._set(call.key, held)
        self._uploads.end(number, call.key, held.etag)
        return held.etag

    async def delete(self, call: Call, query: Mapping[str, str]) -> web.StreamResponse:
        """DeleteObject and AbortMultipartUpload."""
        if "tagging" in query:
            raise not_implemented("tags of a file")
        if "uploadId" in query:
            self._uploads.abort(query["uploadId"], call.key)
        else:
            self._remove(call.key)
        return await call.reply(204)

    async def delete_many(self, call: Call) -> web.StreamResponse:
        """DeleteObjects."""
        asked = parse(await call.body().whole(LARGEST))
        keys = [checked_key(item.findtext("Key", "")) for item in asked.findall("Object")]
        if not 1 <= len(keys) <= 1000 or not all(keys):
            raise S3Error("MalformedXML", "1 to 1000 keys are deleted with one request")
        for key in keys:
            self._remove(key)
        told = [] if asked.findtext("Quiet", "") == "true" else keys
        return await call.reply(200, rendered("DeleteResult", [("Deleted", [("Key", key)]) for key in told]))

    async def inside(self, call: Call, query: Mapping[str, str]) -> web.StreamResponse:
        """ListParts; the tags of an object, which it has none of."""
        if "uploadId" in query:
            return await call.reply(200, self._uploads.parts_document(self.name, call.key, query))
        await self._find(call.key, query)
        if "tagging" in query:
            return await call.reply(200, rendered("Tagging", [("TagSet", [])]))
        raise not_implemented("attributes of a file")

    async def put_document(self, call: Call, query: Mapping[str, str]) -> web.StreamResponse:
        """Nothing: files have no tags."""
        raise not_implemented("tags of a file")

    async def list(self, call: Call) -> web.StreamResponse:
        """ListObjects and ListObjectsV2."""
        facts = await self.facts(call.target.query.get("prefix", ""))
        return await call.reply(200, list_document(self.name, call.target.query, list(facts), facts))

    async def facts(self, prefix: str) -> dict[str, Fact]:
        """What is known of the objects whose keys begin with a prefix, sorted by key."""
        facts = {}
        keys = self._objects.keys()
        if self._recorded:
            refuse_gaps(self._recorded, frozenset(keys))
        for key in keys:
            if key.startswith(prefix):
                with suppress(S3Error, OSError):  # removed meanwhile
                    held = await self._objects.find(key)
                    facts[key] = Fact(held.size, held.etag, held.modified)
        return facts

    async def list_passed(self, call: Call, kind: Mapping[str, str]) -> web.StreamResponse:
        """ListMultipartUploads."""
        if "uploads" in kind:
            return await call.reply(200, self._uploads.document(self.name, call.target.query))
        raise not_implemented("versions of files")

    @asynccontextmanager
    async def opened(self, key: str, headers: Mapping[str, str], version: str) -> AsyncIterator[Opened]:
        """An object to be read by the gateway itself.

        :raises S3Error: when it is not there, or the conditions in ``headers`` do not hold.
        """
        held = await self._find(key, {"versionId": version} if version else {})
        try:
            check_read(headers, held.etag, held.modified)
        except S3Error:
            raise S3Error("PreconditionFailed", "a condition on the source does not hold") from None
        part = requested(headers["range"], held.size) if "range" in headers else None
        first, length = (part[0], part[1] - part[0] + 1) if part else (0, held.size)
        kept = {name: value for name, value in held.headers.items() if not name.startswith(CHECKSUM)}
        yield Opened(length, kept, lambda: self._noted(key, held, first, length))

    async def store_copy(self, call: Call, opened: Opened, query: Mapping[str, str]) -> tuple[str, str]:
        """Write what was opened. Gives ETag and time of the last change ("": now)."""
        if query:
            self._uploads.find(query["uploadId"], call.key)
        self._check_write(call)
        is_new = call.header("x-amz-metadata-directive").upper() == "REPLACE"
        kept = call.stored_headers() if is_new else opened.headers
        md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
        path, file = self._written.new_file()
        try:
            with file:
                async for block in opened.blocks():
                    md5.update(block)
                    sha256.update(block)
                    file.write(block)
            held = Held(path, opened.size, f'"{md5.hexdigest()}"', now(), kept, sha256.hexdigest())
            if query:
                self._uploads.set_part(query, call.key, held)
            else:
                self._set(call.key, held)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return held.etag, ""

    def _check_write(self, call: Call) -> None:
        before = self._written.get(call.key)
        check_write(call.chosen(("if-match", "if-none-match")), call.key, before.etag if before else None)

    def _set(self, key: str, held: Held) -> None:
        self._written.set(key, held)
        self._ledger.wrote(self.name, key, size=held.size, etag=held.etag, sha256=held.sha256)

    def _remove(self, key: str) -> None:
        self._written.remove(key)
        self._ledger.removed(self.name, key)

    async def _find(self, key: str, query: Mapping[str, str]) -> Held:
        if query.get("versionId", "null") != "null":
            raise S3Error("InvalidArgument", "files have no versions")
        return await self._objects.find(key)

    async def _noted(self, key: str, held: Held, first: int, length: int) -> AsyncIterator[bytes]:
        takes = length == held.size and not held.sha256
        taken, count = hashlib.sha256(), 0
        try:
            async for block in held.blocks(first, length):
                if takes:
                    taken.update(block)
                count += len(block)
                yield block
        finally:  # also when the client has had enough
            is_whole = count == held.size
            if is_whole or count:
                self._ledger.read(
                    self.name, key, size=held.size, etag=held.etag,
                    sha256=held.sha256 or taken.hexdigest() if is_whole else "",
                    part=None if is_whole else (first, first + count - 1),
                )  # fmt: skip


def _part(held: Held, header: str, query: Mapping[str, str]) -> tuple[int, int] | None:
    """First and last byte of what is asked for; None: all."""
    number = query.get("partNumber", "")
    if not number:
        return requested(header, held.size) if header else None
    sizes = held.parts or (held.size,)
    if header or not number.isascii() or not number.isdigit() or not 1 <= int(number[:5]) <= len(sizes):
        raise S3Error("InvalidArgument", "partNumber is that of a part, and excludes a range")
    first = sum(sizes[: int(number) - 1])
    return (first, first + sizes[int(number) - 1] - 1) if held.size else None


def _answered(held: Held, call: Call) -> dict[str, str]:
    with_checksums = call.header("x-amz-checksum-mode").upper() == "ENABLED" and not call.header("range")
    kept = {
        name: value for name, value in held.headers.items() if with_checksums or not name.startswith(CHECKSUM)
    }
    given = {
        name: call.target.query[f"response-{name}"]
        for name in STORED
        if f"response-{name}" in call.target.query
    }
    if "partNumber" in call.target.query and held.parts:
        given["x-amz-mp-parts-count"] = str(len(held.parts))
    return {
        "content-type": _TYPE,
        "accept-ranges": "bytes",
        **_known(held),
        **kept,
        **given,
    }


def _known(held: Held) -> dict[str, str]:
    """What a client compares with what it has."""
    return {"etag": held.etag, "last-modified": formatdate(held.modified, usegmt=True)}
