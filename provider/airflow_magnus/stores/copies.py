"""Copy objects inside a store, and the sizes of the parts of large ones."""

from __future__ import annotations

from airflow_magnus.stores.client import MEMORY, ObjectClient

LARGEST_COPY = 5 * 1024**3
"""Largest object, in bytes, that S3 copies by itself."""
_SMALLEST_PART = 16 * 1024 * 1024
_MOST_PARTS = 9_000  # S3 takes 10,000
_CHUNK = 4 * 1024 * 1024


def part_size(size: int) -> int:
    """Bytes of one part of a large object."""
    return max(_SMALLEST_PART, -(-size // _MOST_PARTS))


def parts_at_once(part: int) -> int:
    """How many parts are on their way at a time, so that memory stays bounded whatever the size of the file."""
    return max(1, min(3, MEMORY // part - 1))


def copy(client: ObjectClient, source: str, target: str) -> None:
    """Copy one object, replacing what is at ``target``.

    Cost: 1 request. S3 copies at most 5 GiB: the bytes of larger objects pass through here.
    """
    import obstore
    from obstore.exceptions import BaseError

    try:
        client.run(lambda store: store.copy(source, target, overwrite=True))
    except BaseError:
        size = client.store.head(source)["size"]
        if size <= LARGEST_COPY:
            raise
        part = part_size(size)
        at_once = parts_at_once(part)
        with obstore.open_writer(client.store, target, buffer_size=part, max_concurrency=at_once) as writer:
            for chunk in obstore.get(client.store, source).stream(min_chunk_size=_CHUNK):
                writer.write(chunk)
