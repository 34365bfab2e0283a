"""Which processes hold a folder: by an open file, a working folder, a root or a mapping."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, order=True)
class Holder:
    """A process that holds something.

    :param path: what it holds, the first that was found.
    :param how: ``file``, ``cwd``, ``root`` or ``map``.
    """

    pid: int
    command: str
    path: str
    how: str

    def __str__(self) -> str:
        words = {"cwd": "as its working folder", "root": "as its root", "map": "mapped", "file": "open"}
        return f"process {self.pid} ({self.command}), which has {self.path} {words[self.how]}"


def holders(folder: Path) -> list[Holder]:
    """The processes that hold the folder or something below it, of those that this user may look at.

    Only what the kernel says of the processes is read; the folder itself is not asked.
    """
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):  # it has ended, or belongs to somebody else
                held = _held(name, str(folder))
                if held is not None:
                    command = Path(f"/proc/{name}/comm").read_text(encoding="utf-8", errors="replace").strip()
                    found.append(Holder(int(name), command, *held))
    return sorted(found)


def _held(pid: str, folder: str) -> tuple[str, str] | None:
    for how in ("cwd", "root"):
        with suppress(OSError):
            path = os.readlink(f"/proc/{pid}/{how}")
            if _is_below(path, folder):
                return path, how
    for number in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):
            path = os.readlink(f"/proc/{pid}/fd/{number}")
            if _is_below(path, folder):
                return path, "file"
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            fields = line.rstrip("\n").split(maxsplit=5)
            if len(fields) == 6 and _is_below(fields[5], folder):
                return fields[5], "map"
    return None


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
