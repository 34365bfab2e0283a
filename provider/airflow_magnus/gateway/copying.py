"""Copies into a writable bucket, from any bucket of the step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aiohttp import web

from airflow_magnus.gateway.call import Call
from airflow_magnus.gateway.documents import rendered
from airflow_magnus.gateway.faults import S3Error, no_such_bucket
from airflow_magnus.gateway.listing import timestamp
from airflow_magnus.gateway.opened import part_of
from airflow_magnus.gateway.overlay import OverlayBucket
from airflow_magnus.gateway.passing_copies import Copied
from airflow_magnus.gateway.target import parse_copy_source

if TYPE_CHECKING:
    from airflow_magnus.gateway.operations import Bucket

_CONDITION = "x-amz-copy-source-if-"


async def copy(
    call: Call, bucket: Bucket, buckets: Mapping[str, Bucket], part: Mapping[str, str]
) -> web.StreamResponse:
    """CopyObject, or UploadPartCopy where ``part`` names one.

    Inside the store where one store has both; else the bytes pass through here.
    """
    name, key, version = parse_copy_source(call.header("x-amz-copy-source"))
    source = buckets.get(name)
    if source is None:
        raise no_such_bucket(name, buckets)
    replaces = call.header("x-amz-metadata-directive").upper() == "REPLACE"
    if source is bucket and key == call.key and not part and not replaces and not version:
        raise S3Error("InvalidRequest", "an object is copied to itself only with other metadata")
    target = bucket.taking(call) if isinstance(bucket, OverlayBucket) else bucket
    origin = source.copied(key) if isinstance(source, OverlayBucket) else source
    if isinstance(target, Copied) and isinstance(origin, Copied) and origin.store is target.store:
        return await target.copy_inside(call, origin, key, version, part)
    conditions = {
        header.removeprefix("x-amz-copy-source-"): call.header(header)
        for header in call.headers
        if header.startswith(_CONDITION)
    }
    asked = call.header("x-amz-copy-source-range") if part else ""
    first, last = part_of(asked) or (0, -1)
    if asked:
        if first > last:
            raise S3Error("InvalidArgument", "x-amz-copy-source-range is bytes=first-last")
        conditions["range"] = asked
    async with source.opened(key, conditions, version) as opened:
        if asked and opened.size != last - first + 1:
            raise S3Error("InvalidRange", f"{key!r} does not have all bytes of {asked}")
        etag, modified = await bucket.store_copy(call, opened, part)
    fields = [("LastModified", modified or timestamp(time.time())), ("ETag", etag)]
    return await call.reply(200, rendered("CopyPartResult" if part else "CopyObjectResult", fields))
