"""Files that take their names when their bytes are on disk: whole, or not at all, whatever is killed meanwhile."""

from __future__ import annotations

import ctypes
import hashlib
import os
import secrets
import socket
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Self

from airflow_magnus.errors import CatalogError
from airflow_magnus.stores.globs import PARTIAL
from airflow_magnus.stores.owners import process_started

_MANY, _MUCH = 256, 32 * 1024 * 1024
"""Files, and bytes, that go to the disk together."""
_FEW = 4
"""Files that go to the disk one by one: a whole file system is not worth waiting for."""
_FLUSHED = 64 * 1024 * 1024
"""Bytes of a large file that are sent to the disk while it is written on."""

_numbers = count()


@dataclass(frozen=True)
class _Waiting:
    partial: str
    target: str
    what: str


class Landing:
    """The last step of files that are written below temporary names: to the disk, then to their own names.

    A disk takes many files together in a fraction of the time that it needs for one after the other, and a thread of
    its own waits for it. A context: at its end all files have their names, or none is left of those that have not when
    it ends by an error.
    """

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._size = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="magnus-landing")
        self._batches: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        with self._pool:
            if kind is None:
                self._land()
        if kind is None:
            for batch in self._batches:
                batch.result()
        _remove(self._waiting)

    def add(self, partial: str, target: str, size: int, what: str) -> None:
        """A file is written; ``target`` becomes its name soon.

        :param size: bytes.
        :param what: names it in errors.
        :raises CatalogError: when another one could not take its name.
        """
        with self._lock:
            self._waiting.append(_Waiting(partial, target, what))
            self._size += size
            if len(self._waiting) < _MANY and self._size < _MUCH:
                return
            if self._batches and self._batches[-1].done():
                self._batches.pop().result()
            self._land()

    def _land(self) -> None:
        waiting, self._waiting, self._size = self._waiting, [], 0
        if waiting:
            self._batches.append(self._pool.submit(_land, waiting))


class Flushing:
    """Sends a large file to the disk while it is written, so that little is left for its end. A context.

    :raises OSError: at its end, when the disk has failed.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="magnus-flush")
        self._last: Future[None] | None = None
        self._flushed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._pool.shutdown()
        if kind is None and self._last is not None:
            self._last.result()

    def written(self, size: int) -> None:
        """So many bytes are written so far."""
        if size - self._flushed >= _FLUSHED and (self._last is None or self._last.done()):
            if self._last is not None:
                self._last.result()
            self._flushed = size
            self._last = self._pool.submit(_flush, self._file)


def partial_of(target: str) -> str:
    """A temporary name beside ``target``, given once."""
    folder, separator, _ = target.rpartition("/")
    pid = os.getpid()
    return f"{folder}{separator}{_mine(pid)}{_token(pid)}-{next(_numbers):x}"


def remove_left_over(folders: Iterable[str | os.PathLike[str]]) -> None:
    """Remove the halves of files that a get of this machine has left whose process was killed."""
    mine, here = _mine(os.getpid()), f"{PARTIAL}{_host()}-"
    for folder in folders:
        with suppress(OSError), os.scandir(folder) as found:
            for entry in found:
                if entry.name.startswith(here) and not entry.name.startswith(mine):
                    pid = entry.name.removeprefix(here).partition("-")[0]
                    if pid.isdigit() and not process_started(int(pid)):
                        with suppress(OSError):
                            os.unlink(entry.path)


def unwritable(error: OSError, what: str, target: str) -> CatalogError:
    """What is told of a file that could not be written."""
    if isinstance(error, FileNotFoundError):
        return CatalogError(f"{what} cannot be written to {target}: its folder was removed meanwhile")
    if isinstance(error, IsADirectoryError):
        return CatalogError(f"{what} cannot be written: {target} is a folder")
    return CatalogError(f"{what} cannot be written to {target}: {error.strerror or error}")


def _land(waiting: list[_Waiting]) -> None:
    if len(waiting) > _FEW:
        _sync_all(waiting[0].partial)
    try:
        # Each by itself too, as this alone tells of a disk that failed; it costs little once all is there.
        for one in waiting:
            _sync(one.partial)
        for one in waiting:
            os.replace(one.partial, one.target)
    except BaseException as error:
        _remove(waiting)
        if isinstance(error, OSError):
            raise unwritable(error, one.what, one.target) from error
        raise


def _sync(path: str) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _sync_all(path: str) -> None:
    """Send all that the file system of ``path`` holds to its disk, where the system can; it speeds up what follows."""
    with suppress(AttributeError, OSError):
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            ctypes.CDLL(None).syncfs(file)
        finally:
            os.close(file)


def _flush(file: int) -> None:
    getattr(os, "fdatasync", os.fsync)(file)


def _remove(waiting: Iterable[_Waiting]) -> None:
    for one in waiting:
        with suppress(OSError):
            os.unlink(one.partial)


@cache
def _mine(pid: int) -> str:
    """Begin of the names of the files that a process is writing."""
    return f"{PARTIAL}{_host()}-{pid}-"


@cache
def _token(pid: int) -> str:
    """Tells a process from those of other containers that have its number and the name of its host."""
    return secrets.token_hex(8)


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
