"""Whom a run belongs to: an Airflow run, or a process of this machine that may be gone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from airflow_magnus.runlog.records import RunHeader


def goes_on(header: RunHeader) -> bool:
    """Whether the process that runs a run on this machine is still there; True where that cannot be known."""
    owner = header.scheduler
    if owner.get("type") != "command" or owner.get("hostname") != socket.gethostname():
        return True
    try:
        pid = int(owner["pid"])
    except (KeyError, TypeError, ValueError):
        return True
    return bool(process_started(pid) == owner.get("started", ""))


def process_started(pid: int) -> str:
    """When a process of this machine was started, in ticks since boot; "" when there is none.

    Where the system does not tell (macOS), ``there`` for every process that is there.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return "there" if not Path("/proc/self").exists() and _is_there(pid) else ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]  # a zombie has ended, only nobody has asked how


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def is_same_run(there: RunHeader, wanted: RunHeader) -> bool:
    """Whether a header was claimed by this very Airflow run.

    An Airflow run keeps its start until it is cleared; a run made again under the same id starts at another time.
    """
    theirs, ours = there.scheduler, wanted.scheduler
    if any(theirs.get(key) != ours.get(key) for key in ("dag_id", "run_id", "run_after")):
        return False
    return bool(ours.get("clear_number")) or theirs.get("first_start") == ours.get("first_start")
