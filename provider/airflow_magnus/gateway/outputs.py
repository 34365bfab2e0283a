"""What a step has written, as it lies in its staging."""

from __future__ import annotations

from airflow_magnus.gateway.ledger import Ledger, Output
from airflow_magnus.gateway.passing import PassedOn
from airflow_magnus.gateway.passing_lists import contents


async def listed(bucket: PassedOn, ledger: Ledger) -> list[Output]:
    """All that lies in a writable bucket. Cost: 1 LIST for each 1,000 objects."""
    found: list[Output] = []
    async for key, item in contents(bucket, bucket.prefix):
        name, etag = key.removeprefix(bucket.prefix), item.findtext("ETag", "").strip('"')
        size = int(item.findtext("Size", "0"))
        found.append(Output(bucket.name, name, name, size, etag, ledger.digest(bucket.name, name, etag)))
    return found
