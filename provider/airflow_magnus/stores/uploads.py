"""Send files to an object store: each is read once, its digest taken while it is sent, and looked at afterwards."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_magnus.errors import CatalogError
from airflow_magnus.runlog.records import CatalogEntry, printable
from airflow_magnus.stores.client import ObjectClient
from airflow_magnus.stores.copies import copy, part_size, parts_at_once
from airflow_magnus.stores.names import kind_of
from airflow_magnus.stores.objects import explain

SINGLE_REQUEST = 16 * 1024 * 1024
"""Largest file, in bytes, that is read whole and sent by one (conditional) request, whose body the server checks."""
_QUICK = 64 * 1024
"""Largest file, in bytes, whose digest is taken sooner than another thread has woken up."""
_CHUNK = 4 * 1024 * 1024


@dataclass(frozen=True)
class Sent:
    """What an upload did.

    :param key: where the bytes are now.
    :param digest: sha256 hex.
    :param size: bytes.
    :param is_new: False when the bytes were there already and nothing was sent.
    :param is_copied: whether the store has copied them from another key.
    """

    key: str
    digest: str
    size: int
    is_new: bool = True
    is_copied: bool = False


@dataclass(frozen=True)
class Upload:
    """One file that is to be sent.

    :param key: where it goes if nothing is there.
    :param other_key: where it goes if something is, or if the file is large.
    :param known: an entry of this run; where it has the file's bytes, nothing is sent.
    :param earlier: gives an entry of a run that is run again; where it has the bytes of a large file, the store copies
        them.
    :param is_free: whether nothing is at ``key``; None: the store says so when it is asked to create it.
    """

    path: Path
    key: str
    other_key: str
    known: CatalogEntry | None = None
    earlier: Callable[[], CatalogEntry | None] = lambda: None
    is_free: bool | None = None


def upload(client: ObjectClient, task: Upload) -> Sent:
    """Send one file.

    :raises CatalogError: when it cannot be read or stored, is no regular file, or changes meanwhile.
    """
    from obstore.exceptions import BaseError

    path = task.path
    try:
        file = _open(path)
        try:
            return _send(client, task, file)
        finally:
            os.close(file)
    except CatalogError:
        raise
    except (ValueError, UnicodeError) as error:
        raise CatalogError(
            f"{printable(str(path))} cannot be stored: its name is not allowed in an object store "
            f"({printable(str(error))}); rename the file"
        ) from error
    except OSError as error:
        if error.errno is None:  # of a bucket, not of this file
            raise CatalogError(f"{path} cannot be stored: {explain(error, '')}") from error
        raise CatalogError(_unreadable(path, error)) from error
    except BaseError as error:
        raise CatalogError(f"{path} cannot be stored: {explain(error, '')}") from error


def unchanged(task: Upload) -> Sent | None:
    """What :func:`upload` gives for a small file whose bytes are there; None: it may have to be sent, or cannot be read.

    No request is made: one thread is twice as quick with many such files as several, which hold each other up.
    """
    known, path = task.known, task.path
    if known is None or known.size is None or known.size > _QUICK:
        return None
    try:
        file = _open(path)
        try:
            before = os.fstat(file)
            if not stat.S_ISREG(before.st_mode) or before.st_size != known.size:
                return None
            data = _read(file, known.size, None)
            if hashlib.sha256(data).hexdigest() != known.data_hash or _differs(path, before):
                return None
        finally:
            os.close(file)
    except (OSError, ValueError):
        return None
    return Sent(known.catalog_relative_path, known.data_hash, known.size, is_new=False)


def _open(path: Path) -> int:
    # O_NONBLOCK: a pipe that nobody writes to would else hold up the task for ever.
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))


def _send(client: ObjectClient, task: Upload, file: int) -> Sent:
    from obstore.exceptions import BaseError

    before = os.fstat(file)
    if not stat.S_ISREG(before.st_mode):
        raise CatalogError(
            f"{task.path} cannot be stored: it is no regular file but a {kind_of(before.st_mode)}; "
            "remove it, or let the pattern of the put leave it out"
        )
    is_large = before.st_size > SINGLE_REQUEST
    sent = (_send_large if is_large else _send_small)(client, task, file, before.st_size)
    if sent.size != before.st_size or _differs(task.path, before):
        if sent.is_new:
            with suppress(BaseError):
                client.store.delete(sent.key)
        raise CatalogError(
            f"{task.path} changed while it was stored: let the command end only when all that it started "
            "has finished writing"
        )
    return sent


def _unreadable(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return (
            f"{path} cannot be stored: it was there when the pattern was matched and is gone now; "
            "let the command end only when all that it started has ended"
        )
    return f"{path} cannot be stored: {error.strerror or error}"


def _differs(path: Path, before: os.stat_result) -> bool:
    """Whether what is at a path is not the file that was opened there, or not what it was."""
    try:
        now = os.stat(path)
    except FileNotFoundError:
        return True
    return (now.st_ino, now.st_size, now.st_mtime_ns) != (before.st_ino, before.st_size, before.st_mtime_ns)


def _send_small(client: ObjectClient, task: Upload, file: int, size: int) -> Sent:
    with (
        client.budget.of(2 * size),  # obstore may have a copy of its own
        client.buffers.of(size + 1) as buffer,
    ):
        data = _read(file, size, buffer)
        return _send_whole(client, task, data, hashlib.sha256(data).hexdigest())


def _send_whole(client: ObjectClient, task: Upload, data: bytes | memoryview, digest: str) -> Sent:
    from obstore.exceptions import AlreadyExistsError

    if task.known is not None and task.known.data_hash == digest:
        return Sent(task.known.catalog_relative_path, digest, len(data), is_new=False)
    is_free = task.is_free
    if is_free is None:
        try:
            client.run(lambda store: store.put(task.key, data, mode="create", use_multipart=False))
            return Sent(task.key, digest, len(data))
        except AlreadyExistsError:
            is_free = False
    chosen = task.key if is_free else task.other_key
    client.run(lambda store: store.put(chosen, data, use_multipart=False))
    return Sent(chosen, digest, len(data))


def _read(file: int, size: int, buffer: memoryview | None) -> bytes | memoryview:
    """The file as it is; of one that grows one byte more, so that it is noticed."""
    if buffer is None:
        data = os.read(file, size + 1)
        while 0 < len(data) < size and (more := os.read(file, size + 1 - len(data))):
            data += more
        return data
    done = 0
    while done <= size and (count := os.readv(file, [buffer[done : size + 1]])):
        done += count
    return buffer[:done]


def _send_large(client: ObjectClient, task: Upload, file: int, size: int) -> Sent:
    # One more read saves the upload only where a file of this name and size is there.
    known = task.known
    candidates = [e for e in (known, task.earlier()) if e is not None and e.size in (size, None)]
    if candidates:
        digest = _digest(file)
        for entry in candidates:
            if entry.data_hash != digest:
                continue
            if entry is known:
                return Sent(entry.catalog_relative_path, digest, size, is_new=False)
            if _has_copied(client, entry.catalog_relative_path, task.other_key, size):
                return Sent(task.other_key, digest, size, is_copied=True)
    return client.run(lambda store: _write_large(client, store, task.other_key, file, size))


def _write_large(client: ObjectClient, store: Any, key: str, file: int, size: int) -> Sent:
    import obstore

    os.lseek(file, 0, os.SEEK_SET)
    found, done = hashlib.sha256(), 0
    part = part_size(size)
    at_once = parts_at_once(part)
    with (
        client.budget.of((at_once + 1) * part),
        obstore.open_writer(store, key, buffer_size=part, max_concurrency=at_once) as writer,
    ):
        while chunk := os.read(file, _CHUNK):
            writer.write(chunk)  # sent by other threads while the digest is taken
            found.update(chunk)
            done += len(chunk)
    return Sent(key, found.hexdigest(), done)


def _digest(file: int) -> str:
    found = hashlib.sha256()
    while chunk := os.read(file, _CHUNK):
        found.update(chunk)
    return found.hexdigest()


def _has_copied(client: ObjectClient, source: str, target: str, size: int) -> bool:
    """Whether an object could be copied inside the store, whole."""
    from obstore.exceptions import BaseError

    try:
        copy(client, source, target)
        return bool(client.run(lambda store: store.head(target))["size"] == size)
    except (BaseError, FileNotFoundError):
        return False
