"""The end of mounts: unmounted, engines ended, nothing left. By the supervisor, or by whoever comes after it."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from airflow_magnus.mount.faults import MountError, some
from airflow_magnus.mount.mountpoints import has_mounts_below, unmount
from airflow_magnus.mount.places import Place
from airflow_magnus.mount.processes import end, wait
from airflow_magnus.mount.state import MountState

log = logging.getLogger(__name__)

_FLUSH = 3.0
"""Seconds for an engine to end by itself when its mount is gone."""
_ASKED = 1.0
_AT_ONCE = 0.3


@dataclass
class Remarks:
    """What came up, in words.

    :param faults: what is still there, against all trying.
    """

    warnings: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def end_mounts(
    state: MountState, patience: float, is_urgent: Callable[[], bool] = lambda: False, flush: float = _FLUSH
) -> Remarks:
    """End all mounts and their engines.

    :param patience: seconds until busy mounts are ended lazily, all together.
    :param is_urgent: whether there is no more time for patience.
    :param flush: seconds for an engine to end by itself when its mount is gone.
    """
    remarks, until = Remarks(), time.monotonic() + patience
    for place in state.places:
        left = max(0.0, until - time.monotonic())
        try:
            remarks.warnings += end_mount(state, place, left, is_urgent=is_urgent, flush=flush)
        except MountError as error:
            remarks.faults.append(str(error))
    return remarks


def end_mount(
    state: MountState,
    place: Place,
    patience: float,
    *,
    is_lazy: bool = True,
    is_urgent: Callable[[], bool] = lambda: False,
    flush: float = _FLUSH,
) -> list[str]:
    """End one mount, and then its engine.

    :param is_lazy: False: a mount that stays busy stays, and so does its engine.
    :returns: what came up.
    :raises MountError: when it is still mounted.
    """
    engine = state.engines.get(place.bucket)
    try:
        ended = unmount(place.mountpoint, patience, is_lazy=is_lazy, is_urgent=is_urgent)
    except MountError:
        if not is_lazy or engine is None:
            raise
        end(engine, _ASKED)  # the kernel gives up a mount whose engine is gone
        ended = unmount(place.mountpoint, 1.0)
    if engine is not None:
        # An engine ends by itself behind its mount; one whose mount is still held waits for that.
        if not ended.is_lazy:
            wait(engine, _AT_ONCE if is_urgent() else flush)
        end(engine, _AT_ONCE if is_urgent() else _ASKED)
    if not ended.is_lazy:
        return []
    by = some([*map(str, ended.holders)]) or "nobody that could be seen"
    return [f"{place.mountpoint} was unmounted while it was in use by {by}"]


def clear_away(state: MountState) -> list[str]:
    """Remove what the mounts have left: caches, sockets, folders, the note. Gives what could not be removed.

    Called when they have ended, and what a cache held is in the store or elsewhere.
    """
    found = []
    if has_mounts_below(state.scratch):
        return [f"{state.scratch} is left as it is: something is mounted there"]
    shutil.rmtree(state.scratch, ignore_errors=True)
    if state.scratch.exists():
        found.append(f"{state.scratch} could not be removed")
    for folder in reversed(state.made):
        if not _remove(folder):
            found.append(f"{folder} is not empty: somebody wrote there when it was no mount any more")
    state.forget()
    return found


def _remove(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
