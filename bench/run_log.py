"""What an attempt costs in runs of 10 to 10,000 steps, and the reading of all parameters of such a run."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from bench.measure import table
from bench.running import launch_module
from bench.servers.counting import counted
from bench.servers.endpoint import Endpoint
from bench.servers.together import CEPH, Servers

SIZES, QUICK_SIZES = (10, 100, 1000, 10_000), (10, 100, 1000)
AIM, MOST_WRITES = 1.1, 3
_ATTEMPTS = 40
_READS = 3


def report(servers: Servers, sizes: tuple[int, ...]) -> str:
    """Measure and give the table as Markdown."""
    about = (
        "## Run log\n\n"
        "One attempt of a step is opened and closed in runs that have some steps already, taking turns "
        f"({_ATTEMPTS} attempts each, one after the other); every step has set a parameter and put a file.\n"
        f"Aimed at: an attempt in the largest run takes at most {AIM} × one in the smallest, and {MOST_WRITES} writes.\n"
        "*All parameters*: all attempts of the run's graph are read.\n"
    )
    if why := servers.missing(CEPH):
        return f"{about}\nNot measured, as Ceph RGW is {why}.\n"
    return f"{about}\nOn {servers.get(CEPH).name}:\n\n{_measured(servers.get(CEPH), servers.work('run_log', CEPH), sizes)}"


def _measured(endpoint: Endpoint, scratch: Path, sizes: tuple[int, ...]) -> str:
    def do(what: str, at: Endpoint, *chosen: int, **more: Any) -> Any:
        job = {"do": what, "endpoint": at.url, "sizes": chosen, **more}
        return launch_module("bench.run_log_client", job, at.environment(scratch), scratch)[1].get("took")

    do("fill", endpoint, *sizes)
    took = do("attempts", endpoint, *sizes, repetitions=_ATTEMPTS)
    base = median(took[str(sizes[0])])
    rows, first_read = [], 0.0
    for steps in sizes:
        with counted(endpoint) as (counting, of_attempt):
            do("attempts", counting, steps, repetitions=0, is_kept=True)
        with counted(endpoint) as (counting, of_read):
            do("read", counting, steps)
        times = took[str(steps)]
        reading = median(do("read", endpoint, steps) for _ in range(_READS if steps <= 1000 else 1))
        first_read = first_read or reading
        rows.append(
            [
                f"{steps:,}",
                f"{median(times) * 1000:.1f}",
                f"{min(times) * 1000:.1f}–{max(times) * 1000:.1f}",
                f"{median(times) / base:.2f}",
                str(of_attempt),
                f"{reading:.2f}",
                f"{reading / first_read:.1f}",
                str(of_read),
            ]
        )
    head = (
        "steps",
        "attempt, ms",
        "min–max",
        f"× {sizes[0]} steps",
        "requests",
        "all parameters, s",
        f"× {sizes[0]} steps",
        "requests",
    )
    return table(head, rows)
