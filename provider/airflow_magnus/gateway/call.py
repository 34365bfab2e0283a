"""One request while it is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import HttpVersion11, web

from airflow_magnus.gateway.faults import S3Error, not_implemented
from airflow_magnus.gateway.payload import CHECKSUM, Body
from airflow_magnus.gateway.relay import Digest, drained, relay
from airflow_magnus.gateway.signatures import Headers, Signed
from airflow_magnus.gateway.target import Target

CONDITIONS = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
STORED = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
)
"""Headers that are kept with an object and given back with it."""
META = "x-amz-meta-"
_XML = {"Content-Type": "application/xml"}


@dataclass
class Call:
    """One request.

    :param host: the gateway's own address, as the client has it.
    """

    request: web.BaseRequest
    target: Target
    headers: Headers
    signed: Signed
    request_id: str
    host: str
    has_begun: bool = False
    """Whether some of the answer has been sent."""
    is_let_in: bool = False
    """Whether the client may send the content."""

    @property
    def key(self) -> str:
        """The visible key."""
        return self.target.key

    @property
    def is_head(self) -> bool:
        """Whether the answer has no body."""
        return self.request.method == "HEAD"

    def header(self, name: str) -> str:
        """The value of a header; "" without one.

        :raises S3Error: when it was sent twice.
        """
        values = self.headers.get(name, ())
        if len(values) > 1:
            raise S3Error("InvalidRequest", f"the header {name} was sent twice")
        return values[0].strip() if values else ""

    def chosen(self, names: Iterable[str] = (), prefixes: tuple[str, ...] = ()) -> dict[str, str]:
        """The headers of these names, or whose names begin so."""
        wanted = frozenset(names)
        return {
            name: self.header(name)
            for name in self.headers
            if name in wanted or (prefixes and name.startswith(prefixes))
        }

    def stored_headers(self) -> dict[str, str]:
        """What is kept with an object that this request writes."""
        found = self.chosen(STORED, (META,))
        codings = [item.strip() for item in found.pop("content-encoding", "").split(",")]
        kept = ",".join(item for item in codings if item and item != "aws-chunked")
        return {**found, "content-encoding": kept} if kept else found

    def body(self, *, with_md5: bool = False, with_checksums: bool = True) -> Body:
        """The content of the request; a client that waits for leave to send it gets that now.

        :param with_checksums: whether the checksums in the headers are those of the content.
        """
        headers = self.headers
        if not with_checksums:
            headers = {name: value for name, value in headers.items() if not name.startswith(CHECKSUM)}
        body = Body(self.request.content, headers, self.signed, with_md5=with_md5)
        if self._waits and self.request.transport is not None:
            self.request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.is_let_in = True
        return body

    @property
    def _waits(self) -> bool:
        """Whether the client waits for leave to send its content."""
        expects = self.headers.get("expect", [""])[0].strip().lower() == "100-continue"
        return expects and not self.is_let_in and self.request.version >= HttpVersion11

    def check_write(self) -> None:
        """Refuse what would make an object other than a private, plain one.

        :raises S3Error: for such a header.
        """
        for name in self.headers:
            if name.startswith("x-amz-grant-"):
                raise S3Error("AccessDenied", "objects of a step belong to its store: grants are refused")
            if name.startswith(("x-amz-server-side-encryption-customer-", "x-amz-object-lock-")):
                raise not_implemented(f"the header {name}")
        if self.header("x-amz-acl") not in ("", "private", "bucket-owner-full-control"):
            raise S3Error("AccessDenied", "objects of a step belong to its store: x-amz-acl is refused")
        if "x-amz-website-redirect-location" in self.headers or "x-amz-write-offset-bytes" in self.headers:
            raise not_implemented("redirects and appending")

    async def reply(
        self, status: int = 200, document: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> web.StreamResponse:
        """Answer with a document, or with nothing."""
        content = _XML if document else {}
        response = web.Response(
            status=status, body=None if self.is_head else document, headers={**content, **(headers or {})}
        )
        await self._begin(response)
        await response.write_eof()
        return response

    async def stream(
        self, status: int, headers: Mapping[str, str], blocks: AsyncIterator[bytes] | None
    ) -> web.StreamResponse:
        """Answer with blocks as they come; ``headers`` name their length. None: without a body."""
        response = web.StreamResponse(status=status, headers=headers)
        await self._begin(response)
        if blocks is not None:
            async for block in blocks:
                await response.write(block)
        await response.write_eof()
        return response

    async def relay(
        self,
        status: int,
        headers: Mapping[str, str],
        source: Any,
        early: bytes,
        left: int,
        digest: Digest | None,
    ) -> web.StreamResponse:
        """Answer with ``early`` and then with ``left`` bytes that a socket delivers."""
        response = web.StreamResponse(status=status, headers=headers)
        await self._begin(response)
        await response.write(early)  # and the headers, which wait for it
        await drained(self.request.transport)
        await relay(source, self.request.transport, left, digest)
        await response.write_eof()
        return response

    async def _begin(self, response: web.StreamResponse) -> None:
        response.headers["x-amz-request-id"] = self.request_id
        response.headers["Server"] = "magnus"
        self.has_begun = True
        if self._waits:  # what comes next on this connection may be the content, or another request
            response.force_close()
        await response.prepare(self.request)
