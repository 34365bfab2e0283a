"""A gateway over folders with its buckets mounted, and what is left of that when it has ended."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_magnus.gateway.process import Gateway
from airflow_magnus.gateway.views import Folder
from airflow_magnus.mount.mount import Mount
from airflow_magnus.mount.places import Access

READ_ONLY = {"lab": Access.READ_ONLY}
BOTH = {"lab": Access.READ_ONLY, "out": Access.WRITABLE}


@dataclass
class MountStage:
    """Where everything of one test is.

    :param root: the only folder that anything is written to.
    """

    gateway: Gateway
    root: Path

    @property
    def lab(self) -> Path:
        """The files of the bucket ``lab``, as they are."""
        return self.root / "lab"

    @property
    def folder(self) -> Path:
        """Where the buckets are mounted."""
        return self.root / "work" / "mnt"

    @property
    def out(self) -> Path:
        """The bucket ``out`` as a folder."""
        return self.folder / "out"

    @property
    def notes(self) -> Path:
        """Where mounts are noted."""
        return self.root / "notes"

    @property
    def scratch(self) -> Path:
        """Where caches go."""
        return self.root / "scratch"

    def mount(self, engine: str = "rclone", **options: Any) -> Mount:
        """Not entered yet."""
        buckets = options.pop("buckets", BOTH)
        return Mount(
            self.gateway, self.folder, buckets, engine, scratch=self.scratch, notes=self.notes, **options
        )

    def stored(self) -> dict[str, bytes]:
        """What the store has in ``out``, by key."""
        return {one.name: (self.root / "staging" / one.below).read_bytes() for one in self.gateway.outputs()}

    def left(self) -> list[str]:
        """What there is still of mounts: entries of the kernel's table, processes, files."""
        table = Path("/proc/self/mountinfo").read_text().splitlines()
        found = [line for line in table if str(self.root) in line]
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
                if str(self.root) in command and int(pid) != os.getpid():
                    found.append(f"process {pid}: {command}")
            except OSError:
                pass
        if found:
            return found  # whoever looks into a mounted folder holds it
        for folder in (self.scratch, self.notes, self.folder):
            for above, folders, names in os.walk(folder):  # passes over what goes away meanwhile
                found += [f"{above}/{name}" for name in (*folders, *names) if name != ".lock"]
        return found


@contextmanager
def mount_stage(root: Path) -> Iterator[MountStage]:
    """A stage whose bucket ``lab`` has a few files."""
    (root / "lab" / "dir").mkdir(parents=True)
    (root / "lab" / "a.txt").write_bytes(b"alpha")
    (root / "lab" / "dir" / "b.bin").write_bytes(bytes(range(256)) * 64)
    with Gateway({"lab": Folder(root / "lab")}, Folder(root / "staging")) as gateway:
        yield MountStage(gateway, root)


def within(seconds: float, claim: Callable[[], bool]) -> bool:
    """Whether a claim comes true in time."""
    until = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
