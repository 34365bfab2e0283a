"""Copies to and from a bucket that passes requests on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import quote

from aiohttp import web

from airflow_magnus.gateway.call import META, STORED, Call
from airflow_magnus.gateway.documents import parse
from airflow_magnus.gateway.faults import S3Error
from airflow_magnus.gateway.opened import Opened, part_of
from airflow_magnus.gateway.passed_headers import WRITING, WRITING_PREFIXES
from airflow_magnus.gateway.passing import PassedOn
from airflow_magnus.gateway.signatures import UNSIGNED
from airflow_magnus.gateway.target import UNRESERVED, encoded
from airflow_magnus.gateway.upstream import EMPTY


class Copied(PassedOn):
    """With its copies."""

    async def copy_inside(
        self, call: Call, source: Copied, key: str, version: str, query: Mapping[str, str]
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
                    source.ledger.read(source.name, key, size=None, etag="", part=part)
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
            yield Opened(size, kept, lambda: self.noted(key, answer))
