"""Which operation of S3 a request is, and who carries it out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Protocol

from aiohttp import web

from airflow_magnus.gateway.call import Call
from airflow_magnus.gateway.copying import copy
from airflow_magnus.gateway.documents import rendered
from airflow_magnus.gateway.faults import S3Error, no_such_bucket, not_implemented, read_only
from airflow_magnus.gateway.listing import timestamp
from airflow_magnus.gateway.opened import Opened
from airflow_magnus.gateway.rewriting import OWNER
from airflow_magnus.gateway.views import REGION

_LONGEST_WRITE = 600.0
"""Seconds that a write may go on when the command has ended."""
_UNKNOWN_TO_BUCKETS = {
    "cors": "NoSuchCORSConfiguration",
    "encryption": "ServerSideEncryptionConfigurationNotFoundError",
    "lifecycle": "NoSuchLifecycleConfiguration",
    "policy": "NoSuchBucketPolicy",
    "tagging": "NoSuchTagSet",
}
_OF_BUCKETS = {
    "accelerate", "acl", "analytics", "cors", "encryption", "intelligent-tiering", "inventory", "lifecycle", "logging",
    "metrics", "notification", "object-lock", "ownershipControls", "policy", "policyStatus", "publicAccessBlock",
    "replication", "requestPayment", "session", "tagging", "website",
}  # fmt: skip
_OF_OBJECTS = {
    "legal-hold",
    "restore",
    "retention",
    "select",
    "torrent",
    "renameObject",
    "encryption",
    "append",
}


class Bucket(Protocol):
    """One bucket. Each method answers an operation of S3, or a few that differ in their query."""

    name: str
    is_writable: bool

    async def read(self, call: Call) -> web.StreamResponse:
        """GetObject, HeadObject."""

    async def inside(self, call: Call, query: Mapping[str, str]) -> web.StreamResponse:
        """ListParts, GetObjectTagging, GetObjectAttributes."""

    async def put(self, call: Call, query: Mapping[str, str]) -> web.StreamResponse:
        """PutObject, UploadPart."""

    async def put_document(self, call: Call, query: Mapping[str, str]) -> web.StreamResponse:
        """PutObjectTagging."""

    async def post(self, call: Call, query: Mapping[str, str]) -> web.StreamResponse:
        """CreateMultipartUpload, CompleteMultipartUpload."""

    async def delete(self, call: Call, query: Mapping[str, str]) -> web.StreamResponse:
        """DeleteObject, AbortMultipartUpload, DeleteObjectTagging."""

    async def delete_many(self, call: Call) -> web.StreamResponse:
        """DeleteObjects."""

    async def list(self, call: Call) -> web.StreamResponse:
        """ListObjects, ListObjectsV2."""

    async def list_passed(self, call: Call, kind: Mapping[str, str]) -> web.StreamResponse:
        """ListMultipartUploads, ListObjectVersions."""

    def opened(
        self, key: str, headers: Mapping[str, str], version: str
    ) -> AbstractAsyncContextManager[Opened]:
        """An object to be read by the gateway itself.

        :param headers: conditions and range, by lower-case name.
        """

    async def store_copy(self, call: Call, opened: Opened, query: Mapping[str, str]) -> tuple[str, str]:
        """Write what was opened in another bucket. Gives ETag and time of the last change ("": now)."""


class Operations:
    """The operations on the buckets of one step.

    :param started: seconds since 1970; the buckets' date of creation.
    """

    def __init__(self, buckets: Mapping[str, Bucket], started: float) -> None:
        self._buckets, self._started = buckets, started
        self._is_sealed = False
        self._writes = 0

    async def seal(self) -> None:
        """Refuse all that writes from now on, and wait for what is on its way: what is listed then is all there is.

        :raises S3Error: when something is still on its way after ten minutes.
        """
        self._is_sealed = True
        end = time.monotonic() + _LONGEST_WRITE
        while self._writes:
            if time.monotonic() > end:
                raise S3Error("RequestTimeout", f"{self._writes} requests that write go on and on")
            await asyncio.sleep(0.005)

    async def answer(self, call: Call) -> web.StreamResponse:
        """Carry out one request.

        :raises S3Error: when it is refused.
        """
        name = call.target.bucket
        if not name:
            return await self._service(call)
        bucket = self._buckets.get(name)
        if bucket is None:
            if call.request.method == "PUT" and not call.key:
                raise S3Error(
                    "AccessDenied", "a step cannot make buckets: it has those that its pipeline names"
                )
            raise no_such_bucket(name, self._buckets)
        if call.key:
            return await self._object(call, bucket)
        return await self._bucket(call, bucket)

    @contextmanager
    def _writing(self, bucket: Bucket) -> Iterator[None]:
        _writable(bucket)
        if self._is_sealed:
            raise S3Error("AccessDenied", "the step's command has ended: nothing is written any more")
        self._writes += 1
        try:
            yield
        finally:
            self._writes -= 1

    async def _service(self, call: Call) -> web.StreamResponse:
        if call.request.method != "GET" or call.key:
            raise S3Error("MethodNotAllowed", "the service itself can be listed only")
        created = timestamp(self._started)
        buckets = [("Bucket", [("Name", name), ("CreationDate", created)]) for name in sorted(self._buckets)]
        return await call.reply(
            200, rendered("ListAllMyBucketsResult", [("Owner", OWNER), ("Buckets", buckets)])
        )

    async def _bucket(self, call: Call, bucket: Bucket) -> web.StreamResponse:
        method, query = call.request.method, call.target.query
        if method in ("GET", "HEAD"):
            return await self._ask_bucket(call, bucket)
        if method == "POST" and "delete" in query:
            with self._writing(bucket):
                return await bucket.delete_many(call)
        if method == "POST":
            raise not_implemented("uploads by forms")
        if method in ("PUT", "DELETE"):
            raise S3Error("AccessDenied", "a step cannot make, change or remove buckets")
        raise S3Error("MethodNotAllowed", f"{method} is not known here")

    async def _ask_bucket(self, call: Call, bucket: Bucket) -> web.StreamResponse:
        query = call.target.query
        if call.is_head:
            return await call.reply(200, headers={"x-amz-bucket-region": REGION})
        if "location" in query:
            return await call.reply(200, _location())
        if "versioning" in query:
            return await call.reply(200, rendered("VersioningConfiguration", []))
        if "acl" in query:
            return await call.reply(200, _private())
        for kind in ("uploads", "versions"):
            if kind in query:
                return await bucket.list_passed(call, {kind: ""})
        for name, code in _UNKNOWN_TO_BUCKETS.items():
            if name in query:
                raise S3Error(code, f"bucket {bucket.name!r} has none")
        if query.keys() & _OF_BUCKETS:
            raise not_implemented(f"?{min(query.keys() & _OF_BUCKETS)} of a bucket")
        return await bucket.list(call)

    async def _object(self, call: Call, bucket: Bucket) -> web.StreamResponse:
        method, query = call.request.method, call.target.query
        refused = query.keys() & _OF_OBJECTS
        if refused:
            raise not_implemented(f"?{min(refused)} of an object")
        if method in ("GET", "HEAD"):
            return await self._ask_object(call, bucket)
        if method not in ("PUT", "POST", "DELETE"):
            raise S3Error("MethodNotAllowed", f"{method} is not known here")
        with self._writing(bucket):
            return await self._write(call, bucket)

    async def _write(self, call: Call, bucket: Bucket) -> web.StreamResponse:
        method, query = call.request.method, call.target.query
        call.check_write()
        if "acl" in query:
            raise S3Error("AccessDenied", "objects of a step belong to its store: their acl stays as it is")
        if method == "PUT":
            return await self._put(call, bucket)
        if method == "DELETE":
            return await bucket.delete(call, _kept(query, "uploadId", "versionId", "tagging"))
        if "uploads" in query:
            return await bucket.post(call, {"uploads": ""})
        if "uploadId" in query:
            return await bucket.post(call, _kept(query, "uploadId"))
        raise not_implemented("this POST")

    async def _ask_object(self, call: Call, bucket: Bucket) -> web.StreamResponse:
        query = call.target.query
        if call.is_head:
            return await bucket.read(call)
        if "acl" in query:
            return await call.reply(200, _private())
        if "uploadId" in query:
            _writable(bucket)
            names = ("uploadId", "max-parts", "part-number-marker")
            return await bucket.inside(call, _kept(query, *names))
        for name in ("tagging", "attributes"):
            if name in query:
                return await bucket.inside(call, _kept(query, name, "versionId"))
        return await bucket.read(call)

    async def _put(self, call: Call, bucket: Bucket) -> web.StreamResponse:
        query = call.target.query
        if "tagging" in query:
            return await bucket.put_document(call, _kept(query, "tagging", "versionId"))
        part = _kept(query, "partNumber", "uploadId")
        if len(part) == 1:
            raise S3Error("InvalidArgument", "a part has a partNumber and an uploadId")
        if "x-amz-copy-source" in call.headers:
            return await copy(call, bucket, self._buckets, part)
        return await bucket.put(call, part)


def _writable(bucket: Bucket) -> None:
    if not bucket.is_writable:
        raise read_only(bucket.name)


def _kept(query: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: query[name] for name in names if name in query}


def _location() -> bytes:
    return rendered("LocationConstraint", []).replace(b"></", f">{REGION}</".encode())


def _private() -> bytes:
    grant = [("Grant", [("Grantee", OWNER), ("Permission", "FULL_CONTROL")])]
    return rendered("AccessControlPolicy", [("Owner", OWNER), ("AccessControlList", grant)])
