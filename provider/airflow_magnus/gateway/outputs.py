"""What a step has written, as it lies in its staging."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote_plus

from airflow_magnus.gateway.documents import parse
from airflow_magnus.gateway.faults import S3Error
from airflow_magnus.gateway.ledger import Ledger
from airflow_magnus.gateway.passing import PassedOn


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
    token = ""
    while True:
        query = {"list-type": "2", "prefix": bucket.prefix, "encoding-type": "url"}
        query |= {"continuation-token": token} if token else {}
        async with bucket.upstream.ask(bucket.store, "GET", None, query=query) as answer:
            if answer.status != 200:
                raise S3Error(
                    "InternalError", f"the store answered {answer.status} to a list", status=answer.status
                )
            root = parse(await answer.document())
        is_url = root.findtext("EncodingType") == "url"
        for item in root.iter("Contents"):
            key = item.findtext("Key", "")
            key = unquote_plus(key) if is_url else key
            if not key.startswith(bucket.prefix):
                continue
            name, etag = key.removeprefix(bucket.prefix), item.findtext("ETag", "").strip('"')
            size = int(item.findtext("Size", "0"))
            found.append(Output(bucket.name, name, name, size, etag, ledger.digest(bucket.name, name, etag)))
        token = root.findtext("NextContinuationToken", "")
        if not token:
            return found
