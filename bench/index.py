"""Lists, search and provenance over many runs, by the JSON API, on a folder and on a store that waits 20 ms."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.measure import table
from bench.running import ROOT

RUNS, QUICK_RUNS, FILES = 10_000, 500, 20
DELAY = 0.020
_LONGEST = 900
_CASES = {
    "reindex": ("`magnus runlog reindex`", ""),
    "cold": ("list, nothing in memory", ""),
    "list": ("list of 50", "1.0"),
    "status": ("list of those that failed", "1.0"),
    "parameter": ("list of one parameter's value", "1.0"),
    "digest": ("search by digest", "1.0"),
    "name": ("search by a name that one run has", "1.0"),
    "names": ("search by a name that all have", "1.0"),
    "provenance": ("provenance of a file", "1.0"),
    "fresh": ("list after a run has ended", "1.0"),
    "compared": ("list, compared with the documents", ""),
}


def report(repetitions: int, *, is_quick: bool = False) -> str:
    """Measure and give the table as Markdown."""
    from servers.memory import memory_server

    runs = QUICK_RUNS if is_quick else RUNS
    with tempfile.TemporaryDirectory(prefix="bench-index-") as folder, memory_server(Path(folder)) as server:
        found = {
            name: _measured(
                Path(folder, name), {"runs": runs, "files": FILES, "repetitions": repetitions, **where}
            )
            for name, where in (("folder", {}), ("S3", {"endpoint": server.endpoint, "delay": DELAY}))
        }
    head = ("answer", "aim, s", "folder, s", "S3, s", "requests")
    rows = [
        (
            what,
            aim,
            f"{found['folder'][case]['wall']:.3f}",
            f"{found['S3'][case]['wall']:.3f}",
            f"{found['S3'][case]['requests']:,.0f}",
        )
        for case, (what, aim) in _CASES.items()
    ]
    sizes = found["S3"]["sizes"]
    return (
        f"## Index\n\n{runs:,} runs, each of two steps and {FILES} files, in one run log; the JSON API in one process, without "
        "its network. Medians of all repetitions; *S3* is a server that waits 20 ms before each answer and keeps objects in "
        "memory. A list reads nothing from the store for a second, and is compared with the documents every 30 s or so.\n"
        f"The index has {sizes['stored'] / 1e6:.1f} MB in {sizes['texts']} objects; the server needs "
        f"{sizes['memory'] / 1e6:.0f} MB of memory more with it.\n\n{table(head, rows)}"
    )


def _measured(folder: Path, job: dict[str, Any]) -> dict[str, dict[str, float]]:
    folder.mkdir()
    beside = [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "bench.index_client", json.dumps(job)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_LONGEST,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(beside), "AIRFLOW_HOME": str(folder / "home")},
    )
    if done.returncode:
        raise RuntimeError(f"{job} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))
