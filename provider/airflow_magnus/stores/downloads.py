"""Fetch objects into files that appear whole, checked and on disk, or not at all."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from airflow_magnus.errors import CatalogEntryNotFoundError, CatalogError, DigestMismatchError
from airflow_magnus.runlog.records import printable
from airflow_magnus.stores.client import ObjectClient
from airflow_magnus.stores.landing import Flushing, Landing, partial_of, unwritable
from airflow_magnus.stores.objects import explain

log = logging.getLogger(__name__)

_WHOLE = 2 * 1024 * 1024
"""Largest object, in bytes, that is held in memory as one."""
_RANGED = 32 * 1024 * 1024
"""Smallest object, in bytes, that is fetched in several ranges at a time."""
_RANGE = 8 * 1024 * 1024
_RANGES_AT_ONCE = 4
_CHUNK = 64 * 1024
"""Bytes of a piece of a stream: small enough that obstore need not copy what it received into one."""
_TRIES = 8
"""How often an object is fetched whose bytes are not those recorded: a transfer may have damaged them."""
_SAME = 3
"""How often an object may come with the same wrong bytes before it is taken for what it is."""
_NO_RANGES = "non-partial response"


def gone(what: str, key: str) -> CatalogEntryNotFoundError:
    """The error that an object is not there any more.

    :param what: names it.
    """
    return CatalogEntryNotFoundError(
        f"{what} is recorded, but the catalog has no object {key!r} any more: run the step that made it again"
    )


def download(
    client: ObjectClient,
    key: str,
    target: str,
    digest: str,
    size: int | None,
    *,
    what: str,
    landing: Landing,
) -> int:
    """Fetch one object into ``target``, which ``landing`` gives its name.

    :param size: bytes, as recorded; None: not known.
    :param what: names the object in errors.
    :returns: bytes.
    :raises CatalogEntryNotFoundError: when the object is gone.
    :raises DigestMismatchError: when its bytes are not those recorded; the local file stays as it was.
    """
    from obstore.exceptions import BaseError

    partial = partial_of(target)
    try:
        fetched = _fetch_checked(client, key, partial, digest, size, what)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(partial)
        if isinstance(error, CatalogError):
            raise
        if isinstance(error, FileNotFoundError) and error.errno is None:
            raise gone(what, key) from error
        if isinstance(error, OSError):
            raise unwritable(error, what, target) from error
        if isinstance(error, BaseError):
            raise CatalogError(f"{what} cannot be read: {explain(error, '')}") from error
        if isinstance(error, ValueError):  # a record that somebody else has written
            raise CatalogError(
                printable(f"{what} cannot be read: that is no key of a catalog: {error}")
            ) from error
        raise
    landing.add(partial, target, fetched, what)
    return fetched


def _fetch_checked(
    client: ObjectClient, key: str, partial: str, digest: str, size: int | None, what: str
) -> int:
    wrong: list[str] = []
    while True:
        fetched, found = _fetch(client, key, partial, size, what)
        if found == digest:
            return fetched
        wrong.append(found)
        if len(wrong) == _TRIES or wrong.count(found) == _SAME:
            raise DigestMismatchError(
                f"{what} has sha256 {found}, but {digest} was recorded when it was put: "
                "somebody changed the object, or the transfer was damaged; the local file is left as it was"
            )
        log.warning("%s came damaged and is fetched again", what)


def _fetch(client: ObjectClient, key: str, partial: str, size: int | None, what: str) -> tuple[int, str]:
    """Write the object to ``partial``; its size and sha256."""
    file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        if size is not None and size > _RANGED:
            _allocate(file, size, what)
            found = _write_large(client, key, file, size)
        elif size is not None and size <= _WHOLE:
            with client.budget.of(size):
                found = client.run(lambda store: _write_whole(store, key, file))
        else:
            with client.budget.of(1024 * 1024):
                found = client.run(lambda store: _write_stream(store, key, file))
    finally:
        os.close(file)
    return found


def _write_whole(store: Any, key: str, file: int) -> tuple[int, str]:
    import obstore

    data = memoryview(obstore.get(store, key).bytes())
    _write(file, data, 0)
    return len(data), hashlib.sha256(data).hexdigest()


def _write_stream(store: Any, key: str, file: int) -> tuple[int, str]:
    import obstore

    found, done = hashlib.sha256(), 0
    os.ftruncate(file, 0)
    for chunk in obstore.get(store, key).stream(min_chunk_size=_CHUNK):
        view = memoryview(chunk)
        _write(file, view, done)
        found.update(view)
        done += len(view)
    return done, found.hexdigest()


def _write_large(client: ObjectClient, key: str, file: int, size: int) -> tuple[int, str]:
    from obstore.exceptions import GenericError

    with client.budget.of((_RANGES_AT_ONCE + 3) * _RANGE):
        try:
            return client.run(lambda store: _write_ranges(store, key, file, size))
        except GenericError as error:
            if _NO_RANGES not in str(error):
                raise
            return client.run(lambda store: _write_stream(store, key, file))


def _write_ranges(store: Any, key: str, file: int, size: int) -> tuple[int, str]:
    """Several ranges at a time, each written in place; the digest is taken in their order."""
    import obstore

    def fetch(start: int) -> list[memoryview]:
        pieces, end = [], min(start + _RANGE, size)
        result = obstore.get(store, key, options={"range": (start, end)})
        for chunk in result.stream(min_chunk_size=_CHUNK):
            pieces.append(memoryview(chunk))
            _write(file, pieces[-1], start)
            start += len(pieces[-1])
        return pieces

    found, done = hashlib.sha256(), 0
    with (
        ThreadPoolExecutor(_RANGES_AT_ONCE, thread_name_prefix="magnus-range") as pool,
        Flushing(file) as flushing,
    ):
        ahead: deque[Future[list[memoryview]]] = deque()
        starts = iter(range(0, size, _RANGE))
        try:
            while True:
                while len(ahead) < _RANGES_AT_ONCE + 2 and (start := next(starts, None)) is not None:
                    ahead.append(pool.submit(fetch, start))
                if not ahead:
                    break
                for piece in ahead.popleft().result():
                    found.update(piece)
                    done += len(piece)
                flushing.written(done)
        finally:
            for future in ahead:
                future.cancel()
    return done, found.hexdigest()


def _write(file: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


def _allocate(file: int, size: int, what: str) -> None:
    """Take the room on the disk first: a disk that is too small says so before hours of transfer."""
    try:
        os.posix_fallocate(file, 0, size)
    except AttributeError:  # macOS
        os.ftruncate(file, size)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise CatalogError(f"{what} has {size:,} bytes, and the disk has no room for them") from error
        os.ftruncate(file, size)


def digest_of(store: Any, key: str) -> str:
    """The sha256 hex of an object. Cost: reads it.

    :raises FileNotFoundError: when there is none.
    """
    import obstore

    found = hashlib.sha256()
    for chunk in obstore.get(store, key).stream(min_chunk_size=_CHUNK):
        found.update(memoryview(chunk))
    return found.hexdigest()
