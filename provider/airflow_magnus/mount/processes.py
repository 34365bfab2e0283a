"""Processes by number and start, so that another one that has got the number is never ended."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessMark:
    """One process of this machine.

    :param started: ticks since boot.
    """

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessMark:
        """The process that has this number now; one that is gone has no start."""
        return cls(pid, _started(pid))

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return bool(self.started) and _started(self.pid) == self.started


def machine() -> dict[str, str]:
    """What tells whether numbers of processes mean the same: name, boot, namespace of processes."""
    boot, names = "", ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    with suppress(OSError):
        names = os.readlink("/proc/self/ns/pid")
    return {"host": os.uname().nodename, "boot": boot, "pids": names}


def end(process: ProcessMark, patience: float) -> None:
    """End a process: ask it, wait up to ``patience`` seconds, then kill it. One that has ended is left alone."""
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5.0)):
        try:
            handle = os.pidfd_open(process.pid)
        except OSError:
            return
        try:
            # Behind the opening the number cannot come to mean another process any more.
            if not process.is_alive():
                return
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)
        if wait(process, seconds):
            return


def wait(process: ProcessMark, patience: float) -> bool:
    """Whether a process has ended within ``patience`` seconds."""
    until = time.monotonic() + patience
    while process.is_alive():
        if time.monotonic() >= until:
            return False
        time.sleep(0.02)
    return True


def _started(pid: int) -> str:
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]  # a zombie holds nothing any more
