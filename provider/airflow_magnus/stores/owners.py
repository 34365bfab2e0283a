"""Whom a run belongs to: an Airflow run, or a process of this machine that may be gone."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from airflow_magnus.runlog.records import RunHeader

_FIRST_NAMESPACE = "pid:[4026531836]"
"""The processes of a machine itself, of no container."""


def this_process() -> dict[str, Any]:
    """What tells this process from all others, of other machines and containers too."""
    pid = os.getpid()
    return {**_place(), "pid": pid, "started": process_started(pid)}


@cache
def _place() -> dict[str, str]:
    """The machine, its last start, and the container. Two machines may have the same name, and containers often have."""
    return {
        "hostname": socket.gethostname(),
        "machine": hashlib.sha256(_text_of("/etc/machine-id").encode()).hexdigest()[:16],
        "boot": _text_of("/proc/sys/kernel/random/boot_id"),
        "namespace": _link_of("/proc/self/ns/pid"),
    }


def is_gone(owner: Mapping[str, Any]) -> bool:
    """Whether a process is surely gone; False where that cannot be known from here.

    :param owner: as of :func:`this_process`; older ones know the name of the machine alone.
    """
    here = _place()
    differ = {name for name in here if name in owner and owner[name] != here[name]}
    if owner.get("hostname") != here["hostname"] or differ - {"boot"}:
        return False
    if differ:  # the machine was started again: not so a container of another one with the same name
        return here["namespace"] == _FIRST_NAMESPACE
    try:
        pid = int(owner["pid"])
    except (KeyError, TypeError, ValueError):
        return False
    return bool(process_started(pid) != owner.get("started", ""))


def goes_on(header: RunHeader) -> bool:
    """Whether the process that runs a run on this machine is still there; True where that cannot be known."""
    return header.scheduler.get("type") != "command" or not is_gone(header.scheduler)


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


def _text_of(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text(encoding="utf-8").strip()
    return ""


def _link_of(path: str) -> str:
    with suppress(OSError):
        return os.readlink(path)
    return ""
