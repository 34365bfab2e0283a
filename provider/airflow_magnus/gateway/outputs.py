"""What a step has written, as it lies in its staging."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_magnus.gateway.ledger import Ledger
from airflow_magnus.gateway.passing import PassedOn
from airflow_magnus.gateway.passing_lists import contents


@dataclass(frozen=True)
class Output:
    """One object that a step has written.

    :param name: visible key.
    :param below: where its bytes are, below the prefix or folder of the view.
    :param size: bytes.
    :param etag: without quotes.
    :param sha256: hex; "" where the bytes did not pass in one piece.
    """

    bucket: str
    name: str
    below: str
    size: int
    etag: str
    sha256: str


async def listed(bucket: PassedOn, ledger: Ledger) -> list[Output]:
    """All that lies in a writable bucket. Cost: 1 LIST for each 1,000 objects."""
    found: list[Output] = []
    async for key, item in contents(bucket, bucket.prefix):
        name, etag = key.removeprefix(bucket.prefix), item.findtext("ETag", "").strip('"')
        size = int(item.findtext("Size", "0"))
        found.append(Output(bucket.name, name, name, size, etag, ledger.digest(bucket.name, name, etag)))
    return found
