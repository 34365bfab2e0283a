"""Find out what a store can do."""

from __future__ import annotations

import asyncio
import uuid

from airflow_magnus.gateway.faults import S3Error
from airflow_magnus.jupyter.bucket import Bucket


async def takes_keys_below_objects(bucket: Bucket, prefix: str) -> bool:
    """Whether ``a/b`` can be written where ``a`` is an object, and both are there then. Cost: 4 requests, once.

    A store that lets nobody write is taken for one that can.
    """
    key = f"{prefix}.magnus-probe-{uuid.uuid4().hex}"
    try:
        await bucket.put(key, b"x")
    except S3Error:
        return True
    try:
        await bucket.put(f"{key}/below", b"x")
        return {f for f, _ in await bucket.all(key)} == {key, f"{key}/below"}
    except S3Error as error:
        if error.status in (403, 503):
            raise
        return False
    finally:
        await asyncio.shield(bucket.delete([f"{key}/below", key]))
