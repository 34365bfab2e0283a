"""What dead tasks have left of their mounts: ended, and files that no store has are kept and named."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.mount.ending import clear_away, end_mounts
from airflow_magnus.mount.engine import Held
from airflow_magnus.mount.engines import engine_named
from airflow_magnus.mount.faults import some
from airflow_magnus.mount.mountpoints import source_at
from airflow_magnus.mount.places import Place
from airflow_magnus.mount.state import MountState, noted, private, state_folder

log = logging.getLogger(__name__)

KEPT = "kept"
"""Below the folder of notes: files of dead tasks that are not in a store."""


@dataclass(frozen=True)
class Leftover:
    """Files of one bucket of a dead task that were not brought to the store; its gateway is gone, so they cannot be.

    :param folder: where they are now, under their keys. Nobody removes them: that is for whoever has looked.
    :param files: as they were; ``path`` is where each is now.
    """

    bucket: str
    folder: Path
    files: list[Held]

    def __str__(self) -> str:
        size = sum(file.size for file in self.files)
        names = some(
            [
                f"{file.name!r} ({file.size} bytes{'' if file.is_whole else ', parts of it'})"
                for file in self.files
            ]
        )
        return (
            f"a task has died before {len(self.files)} files ({size} bytes) of bucket {self.bucket!r} were in the store:"
            f" {names}; they are kept in {self.folder}: take what you need, then remove it"
        )


def clear_stale(notes: Path | None = None) -> list[Leftover]:
    """End the mounts of tasks that have died on this machine, and what is left of them.

    Called when the next task begins. Mounts of tasks that go on, and of other machines, are left alone.

    :param notes: as of :class:`airflow_magnus.mount.mount.Mount`.
    :returns: what was written and is in no store; it is logged as a warning too.
    """
    folder = notes or state_folder()
    if not folder.is_dir():
        return []
    found: list[Leftover] = []
    with _alone(folder):
        for state in noted(folder):
            # Without its supervisor a task ends its mounts itself; without its task a supervisor does.
            if state.is_here and not (
                state.is_since_boot and (state.task.is_alive() or state.supervisor.is_alive())
            ):
                found += _clear(state, folder)
    for leftover in found:
        log.warning("mount: %s", leftover)
    return found


def _clear(state: MountState, folder: Path) -> list[Leftover]:
    try:
        engine = engine_named(state.engine)
    except ConfigurationError:  # of another version of this package
        return []
    if state.is_since_boot:
        there = [place for place in state.places if source_at(place.mountpoint) in ("", place.source)]
        remarks = end_mounts(MountState(**{**vars(state), "places": there}), 0.0, flush=1.0)
        for text in (*remarks.warnings, *remarks.faults):
            log.warning("mount: %s", text)
        if remarks.faults:
            return []  # for the next one who comes
    found = []
    for place in state.places:
        held = engine.held(place)
        if held:
            found.append(_kept(place, held, private(folder / KEPT) / state.path.stem / place.bucket))
    for text in clear_away(state):
        log.warning("mount: %s", text)
    log.info(
        "mount: what process %d has left mounted at %s is cleared",
        state.task.pid,
        state.places[0].mountpoint.parent,
    )
    return found


def _kept(place: Place, held: list[Held], folder: Path) -> Leftover:
    files = []
    for file in held:
        target = folder / file.name
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if file.path.exists():
            shutil.move(file.path, target)
            files.append(Held(file.name, file.size, target, file.is_whole))
    return Leftover(place.bucket, folder, files)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
