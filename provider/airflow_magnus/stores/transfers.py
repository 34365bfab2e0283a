"""Move files between a folder and an object store: many at once, streamed, digest taken while the bytes move."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_magnus.errors import CatalogEntryNotFoundError, CatalogError, DigestMismatchError
from airflow_magnus.runlog.records import printable
from airflow_magnus.stores.globs import PARTIAL
from airflow_magnus.stores.objects import explain

SINGLE_REQUEST = 16 * 1024 * 1024
"""Largest file, in bytes, that is read whole and sent by one (conditional) request."""
LARGEST_COPY = 5 * 1024**3
"""Largest object, in bytes, that S3 copies by itself."""
CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Sent:
    """What an upload did.

    :param key: where the bytes are now.
    :param digest: sha256 hex.
    :param size: bytes.
    :param is_new: False when the bytes were there already and nothing was sent.
    """

    key: str
    digest: str
    size: int
    is_new: bool = True


def upload(
    store: Any,
    path: Path,
    key: str,
    other_key: str,
    *,
    same_as: Callable[[str], str | None] = lambda digest: None,
    is_free: bool | None = None,
) -> Sent:
    """Send one file, to ``key`` if nothing is there, else to ``other_key``.

    :param same_as: gives the key where the bytes of a digest lie already, if anywhere: then nothing is sent.
    :param is_free: whether nothing is at ``key``; None: the store says so when it is asked to create it.
    :raises CatalogError: when the file cannot be stored.
    """
    from obstore.exceptions import BaseError

    try:
        if path.stat().st_size > SINGLE_REQUEST:
            return _upload_large(store, path, other_key, same_as)
        return _upload_small(store, path, key, other_key, same_as, is_free)
    except (ValueError, UnicodeError) as error:
        raise CatalogError(
            f"{printable(str(path))} cannot be stored: its name is not allowed in an object store "
            f"({printable(str(error))}); rename the file"
        ) from error
    except (BaseError, FileNotFoundError) as error:
        if getattr(error, "errno", None) is not None:  # of this file, not of a bucket
            raise
        raise CatalogError(f"{path} cannot be stored: {explain(error, '')}") from error


def _upload_small(
    store: Any,
    path: Path,
    key: str,
    other_key: str,
    same_as: Callable[[str], str | None],
    is_free: bool | None,
) -> Sent:
    from obstore.exceptions import AlreadyExistsError

    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    there = same_as(digest)
    if there is not None:
        return Sent(there, digest, len(data), is_new=False)
    if is_free is None:
        try:
            store.put(key, data, mode="create", use_multipart=False)
            return Sent(key, digest, len(data))
        except AlreadyExistsError:
            is_free = False
    chosen = key if is_free else other_key
    store.put(chosen, data, use_multipart=False)
    return Sent(chosen, digest, len(data))


def _upload_large(store: Any, path: Path, key: str, same_as: Callable[[str], str | None]) -> Sent:
    import obstore

    digest = hashlib.sha256()
    size = 0
    with path.open("rb", buffering=0) as source:
        # Only when a file of that name is recorded can its bytes be there: then one more read saves the upload.
        if same_as("") is not None:
            known = hashlib.file_digest(source, "sha256").hexdigest()
            there = same_as(known)
            if there is not None:
                return Sent(there, known, path.stat().st_size, is_new=False)
            source.seek(0)
        part = _part_size(path.stat().st_size)
        with obstore.open_writer(store, key, buffer_size=part, max_concurrency=4) as writer:
            while chunk := source.read(4 * CHUNK):
                digest.update(chunk)
                size += len(chunk)
                writer.write(chunk)
    return Sent(key, digest.hexdigest(), size)


def _part_size(size: int) -> int:
    """Bytes of one part of a large object: S3 takes at most 10,000 of them."""
    return max(SINGLE_REQUEST, size // 9_000)


def copy(store: Any, source: str, target: str) -> None:
    """Copy one object inside the store, replacing what is at ``target``.

    Cost: 1 request. S3 copies at most 5 GiB: the bytes of larger objects pass through here.
    """
    import obstore

    try:
        store.copy(source, target, overwrite=True)
    except obstore.exceptions.BaseError:
        size = store.head(source)["size"]
        if size <= LARGEST_COPY:
            raise
        with obstore.open_writer(store, target, buffer_size=_part_size(size), max_concurrency=4) as writer:
            for chunk in obstore.get(store, source).stream(min_chunk_size=4 * CHUNK):
                writer.write(chunk)


def download(store: Any, key: str, target: Path, digest: str, *, what: str) -> int:
    """Fetch one object into ``target``, which appears whole and checked, or not at all.

    :param what: names the object in errors.
    :returns: bytes.
    :raises CatalogEntryNotFoundError: when the object is gone.
    :raises DigestMismatchError: when its bytes are not those recorded; the local file stays as it was.
    """
    import obstore
    from obstore.exceptions import BaseError

    partial = target.with_name(f"{PARTIAL}{secrets.token_hex(8)}")
    found = hashlib.sha256()
    size = 0
    try:
        result = obstore.get(store, key)
        with partial.open("xb", buffering=0) as file:
            for chunk in result.stream(min_chunk_size=CHUNK):
                view = memoryview(chunk)
                found.update(view)
                size += len(view)
                while view:
                    view = view[file.write(view) :]
        if found.hexdigest() != digest:
            raise DigestMismatchError(
                f"{what} has sha256 {found.hexdigest()}, but {digest} was recorded when it was put: "
                "somebody changed the object, or the transfer was damaged; the local file is left as it was"
            )
        os.replace(partial, target)
    except FileNotFoundError as error:
        if isinstance(error, CatalogError):
            raise
        raise CatalogEntryNotFoundError(
            f"{what} is recorded, but the catalog has no object {key!r} any more: run the step that made it again"
        ) from error
    except IsADirectoryError as error:
        raise CatalogError(f"{what} cannot be written: {target} is a folder") from error
    except BaseError as error:
        raise CatalogError(f"{what} cannot be read: {explain(error, '')}") from error
    finally:
        partial.unlink(missing_ok=True)
    return size


def digest_of(store: Any, key: str) -> str:
    """The sha256 hex of an object. Cost: reads it.

    :raises FileNotFoundError: when there is none.
    """
    import obstore

    found = hashlib.sha256()
    for chunk in obstore.get(store, key).stream(min_chunk_size=CHUNK):
        found.update(memoryview(chunk))
    return found.hexdigest()
