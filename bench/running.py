"""Programs in processes of their own: what one run of each took, and medians over interleaved rounds of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
_LAUNCH = Path(__file__).with_name("launch.py")
_LONGEST = 300


@dataclass(frozen=True)
class Run:
    """What one run took: seconds and bytes.

    :param peak: memory of the whole process, or of the largest one of several.
    :param added: memory beyond what the process had before the work; None where the whole process is the work.
    :param whole_wall: of the process, with its start and imports.
    """

    wall: float
    cpu: float
    peak: float
    added: float | None = None
    whole_wall: float = 0
    whole_cpu: float = 0


def launch(command: Sequence[str], environment: Mapping[str, str]) -> Run:
    """Run a program to its end.

    :raises RuntimeError: when it fails or takes too long, with what it said.
    """
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_LAUNCH), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=dict(environment),
        text=True,
        start_new_session=True,
    )
    try:
        out, errors = process.communicate(timeout=_LONGEST)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    account = json.loads(out) if out else {"status": "none"}
    if account.pop("status") != 0:
        raise RuntimeError(f"{' '.join(command)[:500]} failed:\n{errors[-3000:]}")
    return Run(**account, whole_wall=account["wall"], whole_cpu=account["cpu"])


def launch_module(
    module: str, job: Mapping[str, Any], environment: Mapping[str, str], folder: Path
) -> tuple[Run, dict[str, Any]]:
    """Run a module of this package in a fresh Python, which measures its own work.

    :param job: what the module is told, as JSON; it writes its report to the file ``report`` of it.
    :returns: what the work took, without Python's start and imports; the whole report.
    """
    file = folder / "report.json"
    file.unlink(missing_ok=True)
    whole = launch(
        [sys.executable, "-m", module, json.dumps({**job, "report": str(file)})],
        {**environment, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
    )
    report = json.loads(file.read_text(encoding="utf-8"))
    measured = {name: report[name] for name in ("wall", "cpu", "peak", "added")}
    return Run(**measured, whole_wall=whole.wall, whole_cpu=whole.cpu), report


def rounds(
    actions: Mapping[str, Callable[[], Run]], repetitions: int, most: Mapping[str, int]
) -> dict[str, list[Run]]:
    """Run every action once, then every one again, each round beginning with another one.

    :param most: repetitions of slow ones, where fewer are enough; they have their turns in the first rounds.
    """
    names = list(actions)
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for turn in range(repetitions):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            if turn < most.get(name, repetitions):
                runs[name].append(actions[name]())
    return runs


def middle(runs: Sequence[Run], name: str) -> float:
    """The median of one measure."""
    return median(getattr(run, name) for run in runs)
