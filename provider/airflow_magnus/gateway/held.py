"""Objects that are files of this machine: those of a folder, and those that a step has written."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from airflow_magnus.gateway.faults import no_such_key

BLOCK = 512 * 1024
_HASHED_AT_ONCE = 4 * 1024 * 1024


@dataclass(frozen=True)
class Held:
    """An object in a file.

    :param etag: with quotes.
    :param modified: seconds since 1970.
    :param headers: kept with the object, by lower-case name.
    :param sha256: hex; "" where it is not known.
    :param parts: sizes of the parts that it was made of.
    """

    path: Path
    size: int
    etag: str
    modified: float
    headers: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""
    parts: tuple[int, ...] = ()

    async def blocks(self, first: int, length: int) -> AsyncIterator[bytes]:
        """Give bytes of the file from ``first`` on."""
        loop = asyncio.get_running_loop()
        with open(os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0) as file:
            while length > 0:
                want = min(length, BLOCK)
                if length <= BLOCK and first == 0:
                    block = os.pread(file.fileno(), want, first)
                else:
                    block = await loop.run_in_executor(None, os.pread, file.fileno(), want, first)
                if not block:
                    raise ConnectionResetError(f"{self.path} became shorter while it was read")
                first, length = first + len(block), length - len(block)
                yield block


class Files:
    """The files of a folder, by key; links that lead out of it do not count.

    :param files: key to path below the folder; None: all there are.
    """

    def __init__(self, folder: Path, files: Mapping[str, str] | None) -> None:
        self._folder, self._files = folder.resolve(), files

    def keys(self) -> list[str]:
        """All keys, sorted."""
        if self._files is not None:
            return sorted(key for key in self._files if self._path(key) is not None)
        found = []
        for folder, _, names in os.walk(self._folder):
            below = os.path.relpath(folder, self._folder)
            found += [name if below == "." else f"{below}/{name}" for name in names]
        return sorted(key for key in found if _is_text(key) and self._path(key) is not None)

    async def find(self, key: str) -> Held:
        """The object of a key. Its ETag is no MD5, which would need all its bytes: it changes when the file does.

        :raises S3Error: when there is none.
        """
        path = self._path(key)
        if path is None:
            raise no_such_key(key)
        found = path.stat()
        mark = f"{found.st_dev}:{found.st_ino}:{found.st_mtime_ns}:{found.st_size}"
        etag = hashlib.md5(mark.encode(), usedforsecurity=False).hexdigest()
        return Held(
            path, found.st_size, f'"{etag}-1"', found.st_mtime
        )  # with the form of one of a multipart upload

    def _path(self, key: str) -> Path | None:
        below = key if self._files is None else self._files.get(key)
        if not below or any(part in ("", ".", "..") for part in below.split("/")):
            return None
        with suppress(OSError, ValueError):
            path = (self._folder / below).resolve(strict=True)
            if path.is_relative_to(self._folder) and path.is_file():
                return path
        return None


class Written:
    """What a step has written: each object in a file whose name is a number, so that any key can be one.

    :param folder: made where it is not there; what lies there is not looked at.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._objects: dict[str, Held] = {}
        self._numbers = itertools.count(1)

    def keys(self) -> list[str]:
        """All keys, sorted."""
        return sorted(self._objects)

    def items(self) -> list[tuple[str, Held]]:
        """All keys, sorted, each with its object."""
        return sorted(self._objects.items(), key=lambda item: item[0])

    def get(self, key: str) -> Held | None:
        """The object of a key, if there is one."""
        return self._objects.get(key)

    async def find(self, key: str) -> Held:
        """The object of a key.

        :raises S3Error: when there is none.
        """
        if key not in self._objects:
            raise no_such_key(key)
        return self._objects[key]

    def new_file(self) -> tuple[Path, IO[bytes]]:
        """A file that belongs to no key yet."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{os.getpid()}-{next(self._numbers)}"
        return path, open(path, "xb")  # a buffered one writes all, or fails

    def clear(self) -> None:
        """Remove the folder with all that lies there."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._objects.clear()

    def set(self, key: str, held: Held) -> None:
        """Let a key hold this; what it held is removed."""
        self.remove(key)
        self._objects[key] = held

    def remove(self, key: str) -> None:
        """Let a key hold nothing."""
        before = self._objects.pop(key, None)
        if before is not None:
            before.path.unlink(missing_ok=True)


def joined(target: IO[bytes], sources: Iterable[Path]) -> str:
    """Write files one behind the other. Gives the sha256, hex."""
    digest = hashlib.sha256()
    for path in sources:
        with path.open("rb", buffering=0) as file:
            while block := file.read(_HASHED_AT_ONCE):
                digest.update(block)
                target.write(block)
    return digest.hexdigest()


def now() -> float:
    """Seconds since 1970, whole as S3 has them."""
    return float(int(time.time()))


def _is_text(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True
