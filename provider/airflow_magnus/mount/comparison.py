"""Whether the store has what programs have written: names, sizes, and digests where both sides know them."""

from __future__ import annotations

import ctypes
import hashlib
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from airflow_magnus.gateway.ledger import Output

ODD = -1
"""In place of a size: no file, but a link or something else that no object can be."""


def flush(mountpoint: Path) -> None:
    """Have the kernel give the engine what programs have written by mappings.

    :raises OSError: when the engine does not take it.
    """
    handle = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(mountpoint))
    finally:
        os.close(handle)


def shown(mountpoint: Path) -> dict[str, int]:
    """The files of a folder, by path below it, with sizes in bytes; :data:`ODD` for what is no file.

    :raises OSError: when it cannot be listed.
    """
    found: dict[str, int] = {}
    todo = [mountpoint]
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                name = os.path.relpath(entry.path, mountpoint)
                if entry.is_dir(follow_symlinks=False):
                    todo.append(Path(entry.path))
                    continue
                with suppress(FileNotFoundError):  # removed meanwhile
                    status = entry.stat(follow_symlinks=False)
                    found[name] = status.st_size if stat.S_ISREG(status.st_mode) else ODD
    return found


def differences(
    written: Mapping[str, int], stored: Mapping[str, Output], copies: Mapping[str, Path]
) -> list[str]:
    """What is not in the store as it was written, each with the reason.

    :param written: sizes, as of :func:`shown`.
    :param copies: where the written bytes are, of files for which that is known; they are read once more.
    """
    found = []
    for name, size in sorted(written.items()):
        there = stored.get(name)
        if size == ODD:
            found.append(f"{name!r} (a link or a special file: no object can be that; write a file)")
        elif there is None:
            found.append(f"{name!r} (not in the store)")
        elif there.size != size:
            found.append(f"{name!r} ({there.size} bytes in the store, {size} were written)")
        elif there.sha256 and name in copies and _is_other(copies[name], there.sha256):
            found.append(f"{name!r} (other bytes in the store than were written)")
    return found


def _is_other(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() != sha256
    except FileNotFoundError:  # not kept any longer
        return False
