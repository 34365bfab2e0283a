"""Remove what a step has written to a real store: objects and uploads that were not completed."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

from airflow_magnus.gateway.documents import parse, rendered
from airflow_magnus.gateway.faults import S3Error
from airflow_magnus.gateway.passing import PassedOn

_AT_ONCE = 1_000
"""Keys of one request for removal; S3 takes no more."""


async def drop(bucket: PassedOn, keys: list[str]) -> None:
    """Remove objects by their real keys, then all uploads below the prefix. Cost: 1 request for each 1,000, 1 for each upload.

    :raises S3Error: when the store does not remove all of them.
    """
    for start in range(0, len(keys), _AT_ONCE):
        await _delete(bucket, keys[start : start + _AT_ONCE])
    for key, number in await _uploads(bucket):
        async with bucket.upstream.ask(bucket.store, "DELETE", key, query={"uploadId": number}) as answer:
            if answer.status not in (200, 204, 404):
                raise S3Error(
                    "InternalError",
                    f"the store answered {answer.status} to the end of an upload",
                    status=answer.status,
                )


async def _delete(bucket: PassedOn, keys: list[str]) -> None:
    objects = [("Object", [("Key", key)]) for key in keys]
    document = rendered("Delete", [("Quiet", True), *objects])
    headers = {
        "content-length": str(len(document)),
        "content-md5": base64.b64encode(hashlib.md5(document, usedforsecurity=False).digest()).decode(),
    }
    payload = hashlib.sha256(document).hexdigest()
    async with bucket.upstream.ask(
        bucket.store, "POST", None, query={"delete": ""}, headers=headers, content=document, payload=payload
    ) as answer:
        refused = list(parse(await answer.document(), is_lenient=True).iter("Error"))
        if answer.status != 200 or refused:
            status = answer.status if answer.status != 200 else 500
            count = len(refused) or len(keys)
            raise S3Error("InternalError", f"the store did not remove {count} objects", status=status)


async def _uploads(bucket: PassedOn) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    markers: Mapping[str, str] = {}
    while True:
        # Without an encoding: Ceph encodes the keys and does not say so.
        query = {"uploads": "", "prefix": bucket.prefix, **markers}
        async with bucket.upstream.ask(bucket.store, "GET", None, query=query) as answer:
            if answer.status != 200:  # some stores cannot list them
                return found
            root = parse(await answer.document(), is_lenient=True)
        for item in root.iter("Upload"):
            key = item.findtext("Key", "")
            if key.startswith(bucket.prefix):
                found.append((key, item.findtext("UploadId", "")))
        if root.findtext("IsTruncated") != "true":
            return found
        markers = {
            "key-marker": root.findtext("NextKeyMarker", ""),
            "upload-id-marker": root.findtext("NextUploadIdMarker", ""),
        }
