"""Mounts of this machine: which there are, who holds one, and its end.

A mountpoint itself is never asked for anything: an engine that hangs would not answer.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from airflow_magnus.mount.faults import MountError, some
from airflow_magnus.mount.holders import Holder, holders

log = logging.getLogger(__name__)

_FIRST_DELAY, _LONGEST_DELAY = 0.1, 1.0
"""Seconds between two tries while a mount is busy."""
_ONE_TRY = 10.0
_ESCAPED = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


@dataclass(frozen=True)
class Unmounted:
    """How a mount came to its end.

    :param is_lazy: it was still held: it is gone from the tree of folders, but its holders keep what they had open.
    """

    is_lazy: bool = False
    holders: list[Holder] = field(default_factory=list)


def source_at(mountpoint: Path) -> str:
    """What is mounted at a path, such as ``magnus:out`` or ``/dev/sda1``; "" when nothing is."""
    found = [source for path, source in _mounted() if path == str(mountpoint)]
    return found[-1] if found else ""  # the last one is on top


def has_mounts_below(folder: Path) -> bool:
    """Whether something is mounted at a path or below it."""
    return any(path == str(folder) or path.startswith(f"{folder}/") for path, _ in _mounted())


def _mounted() -> Iterator[tuple[str, str]]:
    table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    for line in table.splitlines():
        left, _, right = line.partition(" - ")
        yield _plain(left.split(" ")[4]), _plain(right.split(" ")[1]) or "nothing"


def unmount(
    mountpoint: Path, patience: float, *, is_lazy: bool = True, is_urgent: Callable[[], bool] = lambda: False
) -> Unmounted:
    """End a mount; while it is busy, try again.

    :param patience: seconds until it is ended lazily.
    :param is_lazy: False: it is not, and the mount stays.
    :param is_urgent: asked between two tries: whether there is no more time for patience.
    :raises MountError: when the mount is still there; names the processes that hold it.
    """
    held: list[Holder] = []
    until, delay, said = time.monotonic() + patience, _FIRST_DELAY, ""
    while source_at(mountpoint):
        said = _try(mountpoint, "-u")
        if not source_at(mountpoint):
            break
        found = holders(mountpoint)
        if found and found != held:
            log.warning(
                "%s is still in use by %s; trying again to unmount it", mountpoint, some([*map(str, found)])
            )
        held = found or held
        if time.monotonic() >= until or is_urgent():
            return _lazily(mountpoint, held, said, is_lazy=is_lazy)
        time.sleep(delay)
        delay = min(delay * 1.5, _LONGEST_DELAY)
    return Unmounted()


def _lazily(mountpoint: Path, held: list[Holder], said: str, *, is_lazy: bool) -> Unmounted:
    if is_lazy:
        for _ in range(8):  # mounts may lie on one another
            said = _try(mountpoint, "-uz") or said
            if not source_at(mountpoint):
                return Unmounted(is_lazy=True, holders=held)
    by = some([*map(str, held)]) or "a process that this user may not look at"
    raise MountError(
        f"{mountpoint} cannot be unmounted ({said}): it is in use by {by}; end that, then try again"
    )


def _try(mountpoint: Path, how: str) -> str:
    """Try once. Gives what was said; a success says nothing."""
    command = [shutil.which("fusermount3") or "", how, str(mountpoint)]
    if not command[0] and os.geteuid() == 0:
        command = ["umount", *(["-l"] if "z" in how else []), str(mountpoint)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_ONE_TRY, check=False, cwd="/"
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_ONE_TRY:.0f} s"
    except OSError as error:
        return f"fusermount3: {error.strerror}"
    return done.stderr.decode(errors="replace").strip() if done.returncode else ""


def _plain(path: str) -> str:
    for escaped, plain in _ESCAPED.items():
        path = path.replace(escaped, plain)
    return path
