"""Whether the process that a run belongs to is still there."""

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
    return bool(process_started(int(owner["pid"])) == owner.get("started", ""))


def process_started(pid: int) -> str:
    """When a process of this machine was started, in ticks since boot; "" when there is none.

    Where the system does not tell (macOS), ``there`` for every process that is there.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return "there" if not Path("/proc/self").exists() and _is_there(pid) else ""
    return text.rpartition(")")[2].split()[19]


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
