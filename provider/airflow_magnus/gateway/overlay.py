"""What a step writes, over files of the catalog that stay as they are: both as one bucket."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager

from aiohttp import web

from airflow_magnus.gateway.call import Call
from airflow_magnus.gateway.faults import S3Error, not_implemented
from airflow_magnus.gateway.folders import FolderBucket
from airflow_magnus.gateway.ledger import Ledger, Output
from airflow_magnus.gateway.listing import Fact, list_document
from airflow_magnus.gateway.opened import Opened
from airflow_magnus.gateway.passing_lists import Listed

Layer = FolderBucket | Listed


class OverlayBucket:
    """A bucket of two layers. What was written hides what lies below it; what was removed is hidden too.

    :param written: takes all writes; empty at the start.
    :param below: is never changed.
    :param keys: of ``below``.
    :param digests: of ``below``: key to sha256, where it is known.
    :param has_copies: whether objects of ``below`` may be copied.
    """

    is_writable = True

    def __init__(
        self,
        written: Layer,
        below: Layer,
        keys: Collection[str],
        digests: Mapping[str, str],
        ledger: Ledger,
        *,
        has_copies: bool = True,
    ) -> None:
        self._has_copies = has_copies
        self._refused: set[str] = set()
        self.name, self.written = written.name, written
        self._below, self._keys, self._digests, self._ledger = below, frozenset(keys), digests, ledger

    def layer_of(self, key: str) -> Layer:
        """The layer that has an object, if one has."""
        return self._below if self._shows_below(key) else self.written

    def copied(self, key: str) -> Layer:
        """The layer that has the source of a copy.

        :raises S3Error: when it is not to be copied.
        """
        layer = self.layer_of(key)
        if layer is self._below and not self._has_copies:
            self._refused.add(key)
            raise S3Error(
                "AccessDenied", f"{key!r} is a file of the catalog, which cannot be renamed: copy its bytes"
            )
        return layer

    def taking(self, call: Call) -> Layer:
        """The layer that takes what a request writes. It does not know of the one below, whose objects have conditions too.

        :raises S3Error: when a condition does not hold.
        """
        if self._shows_below(call.key):
            if call.header("if-none-match"):
                raise S3Error("PreconditionFailed", f"{call.key!r} is there already")
            if call.header("if-match"):
                raise not_implemented("If-Match for a file of the catalog")
        return self.written

    def _shows_below(self, key: str) -> bool:
        gone = self._ledger.has_written(self.name, key) or self._ledger.has_removed(self.name, key)
        return key in self._keys and not gone

    async def unchanged(self) -> list[Output]:
        """The objects of the lower layer that are still seen.

        :raises S3Error: when a copy of one was refused: nobody knows what its engine shows in its place.
        """
        if self._refused:
            raise S3Error(
                "InvalidRequest",
                f"{min(self._refused)!r} is a file of the catalog and was to be renamed, which this engine cannot do: let the"
                " step copy it, and remove the first",
            )
        facts = await self._facts_below("")
        return [
            Output(self.name, key, "", fact.size, fact.etag.strip('"'), self._digests.get(key, ""))
            for key, fact in facts.items()
        ]

    async def _facts_below(self, prefix: str) -> dict[str, Fact]:
        facts = await self._below.facts(prefix)
        return {key: fact for key, fact in facts.items() if self._shows_below(key)}

    # what reads

    async def read(self, call: Call) -> web.StreamResponse:
        """GetObject and HeadObject."""
        return await self.layer_of(call.key).read(call)

    async def inside(self, call: Call, query: Mapping[str, str]) -> web.StreamResponse:
        """ListParts, GetObjectTagging, GetObjectAttributes."""
        layer = self.written if "uploadId" in query else self.layer_of(call.key)
        return await layer.inside(call, query)

    async def list(self, call: Call) -> web.StreamResponse:
        """ListObjects and ListObjectsV2."""
        prefix = call.target.query.get("prefix", "")
        facts = await self._facts_below(prefix) | await self.written.facts(prefix)
        document = list_document(self.name, call.target.query, sorted(facts), facts)
        return await call.reply(200, document)

    async def list_passed(self, call: Call, kind: Mapping[str, str]) -> web.StreamResponse:
        """ListMultipartUploads, ListObjectVersions."""
        return await self.written.list_passed(call, kind)

    def opened(
        self, key: str, headers: Mapping[str, str], version: str
    ) -> AbstractAsyncContextManager[Opened]:
        """An object to be read by the gateway itself."""
        return self.layer_of(key).opened(key, headers, version)

    # what writes

    async def put(self, call: Call, query: Mapping[str, str]) -> web.StreamResponse:
        """PutObject and UploadPart."""
        return await self.taking(call).put(call, query)

    async def put_document(self, call: Call, query: Mapping[str, str]) -> web.StreamResponse:
        """PutObjectTagging."""
        if self._shows_below(call.key):
            raise not_implemented("tags of a file of the catalog")
        return await self.written.put_document(call, query)

    async def post(self, call: Call, query: Mapping[str, str]) -> web.StreamResponse:
        """CreateMultipartUpload and CompleteMultipartUpload."""
        return await self.taking(call).post(call, query)

    async def delete(self, call: Call, query: Mapping[str, str]) -> web.StreamResponse:
        """DeleteObject, AbortMultipartUpload, DeleteObjectTagging."""
        if query.keys() & {"uploadId", "tagging"} or not self._shows_below(call.key):
            return await self.written.delete(call, query)
        self._ledger.removed(self.name, call.key)
        return await call.reply(204)

    async def delete_many(self, call: Call) -> web.StreamResponse:
        """DeleteObjects; the upper layer notes each key, and so it is hidden."""
        return await self.written.delete_many(call)

    async def store_copy(self, call: Call, opened: Opened, query: Mapping[str, str]) -> tuple[str, str]:
        """Write what was opened in another bucket."""
        return await self.taking(call).store_copy(call, opened, query)
