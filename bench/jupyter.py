"""Jupyter's contents manager beside s3contents, on a server that takes 20 ms for each request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from bench.measure import table
from bench.running import ROOT

DELAY = 0.020
OURS, THEIRS = "ours", "s3contents"
_THEIRS = ROOT / ".bench" / "s3contents"
"""s3contents with all that it needs: other versions than the environment has."""
_LONGEST = 600
_ABOUT = """\
## Jupyter

Calls of the contents manager, in a process of its own, on a server that waits 20 ms before each answer and keeps objects in
memory. Medians of all repetitions. Requests are those that the server was sent; *stall* is the longest time for which the event
loop did nothing else (s3contents is no coroutine: its whole call). Memory: what the process had more than before, while it
uploaded. s3contents uploads in one piece, as it collects all chunks.
Aimed at: see the column; no stall above 60 ms.
"""
_CASES = {
    "list": ("list 10,000 files", "1.0 s"),
    "folders": ("list 1,000 folders", "0.3 s, 2 requests"),
    "open": ("open a notebook of 5 MB", "2 requests"),
    "save": ("save it", "2 requests"),
    "rename": ("rename a folder of 500", "1.5 s"),
    "delete": ("delete it", "0.3 s"),
    "upload": ("upload 200 MB in 200 chunks", "6 s, 40 MB"),
}


def report(repetitions: int, *, is_quick: bool = False) -> str:
    """Measure and give the table as Markdown."""
    from servers.memory import memory_server

    with (
        tempfile.TemporaryDirectory(prefix="bench-jupyter-") as folder,
        memory_server(Path(folder)) as server,
    ):
        found = {
            name: _measured(name, server.endpoint, 1 if name == THEIRS or is_quick else repetitions)
            for name in (OURS, THEIRS)
        }
    head = ("call", "aim", "ours, s", "requests", "stall, ms", "memory, MB", "s3contents, s", "requests")
    rows = []
    for case, (what, aim) in _CASES.items():
        ours, theirs = found[OURS][case], found[THEIRS].get(case)
        rows.append(
            (
                what,
                aim,
                f"{median(run['wall'] for run in ours):.2f}",
                str(ours[0]["requests"]),
                f"{1000 * median(run['stall'] for run in ours):.0f}",
                f"{max(run['memory'] for run in ours) / 1e6:.0f}" if case == "upload" else "",
                f"{theirs[0]['wall']:.2f}" if theirs else "–",
                f"{theirs[0]['requests']:,}" if theirs else "–",
            )
        )
    return f"{_ABOUT}\n{table(head, rows)}"


def _measured(name: str, endpoint: str, repetitions: int) -> dict[str, list[dict[str, Any]]]:
    job = json.dumps({"name": name, "endpoint": endpoint, "repetitions": repetitions, "delay": DELAY})
    beside = [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    if name == THEIRS:
        beside.insert(0, str(_THEIRS))
    done = subprocess.run(
        [sys.executable, "-m", "bench.jupyter_client", job],
        capture_output=True,
        text=True,
        check=False,
        timeout=_LONGEST,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(beside)},
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))
