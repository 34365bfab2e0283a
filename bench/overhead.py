"""What a task costs: our shell step against Airflow's own BashOperator, under ``dag.test``."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from bench.measure import table
from bench.running import launch_module
from bench.servers.counting import Counts, counted
from bench.servers.endpoint import Endpoint
from bench.servers.together import CEPH, Servers
from bench.task_client import FEW, MANY

AIM = 5
_ROUNDS = 2
"""In each process."""
_MOST_PROCESSES = 4
_NAMES = {
    "bash": "BashOperator",
    "files": "pipeline file, run log in a folder",
    "s3": "pipeline file, run log on Ceph RGW",
    "by hand": "StepMixin over BashOperator, connections of the default names, which do not exist",
}


def report(servers: Servers, repetitions: int) -> str:
    """Measure and give the table as Markdown."""
    scratch = servers.work("tasks")
    no_s3 = servers.missing(CEPH)
    endpoint = Endpoint("none", "http://127.0.0.1:9") if no_s3 else servers.get(CEPH)
    kinds = [kind for kind in _NAMES if kind != "s3" or not no_s3]
    taken: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for turn in range(min(repetitions, _MOST_PROCESSES)):
        start = turn % len(kinds)
        for kind in kinds[start:] + kinds[:start]:
            taken[kind] += _tasks(_run(kind, endpoint, scratch, _ROUNDS))
    requests = "–"
    if not no_s3:
        with counted(endpoint) as (counting, counts):
            _run("s3", counting, scratch, 1)
        requests = _each(counts)
    rows = [_row(kind, taken, requests if kind == "s3" else "–") for kind in kinds]
    head = ("tasks of", "CPU ms", "wall ms", "CPU ms more", "min–max", "wall ms more", "requests")
    return (
        "## Tasks\n\n"
        f"A DAG of {FEW} and one of {MANY} tasks, one after the other, each with the command `true`, run by `dag.test` in a process\n"
        "that has run another one before. Shown is what each further task costs, its command and Airflow's own work with it.\n"
        f"Aimed at: at most {AIM} ms of CPU more than the BashOperator. Waiting for S3 takes no CPU; the rows of a folder wait for none.\n\n"
        + table(head, rows)
        + (f"\nNot measured on Ceph RGW, as it is {no_s3}.\n" if no_s3 else "")
    )


def _run(kind: str, endpoint: Endpoint, scratch: Path, rounds: int) -> dict[str, Any]:
    job = {"kind": kind, "scratch": str(scratch), "endpoint": endpoint.url, "rounds": rounds}
    return launch_module("bench.task_client", job, endpoint.environment(scratch), scratch)[1]


def _tasks(report: dict[str, Any]) -> list[tuple[float, float]]:
    """CPU and wall of one more task, milliseconds, of each round."""
    return [
        (
            (many["cpu"] - few["cpu"]) / (MANY - FEW) * 1000,
            (many["wall"] - few["wall"]) / (MANY - FEW) * 1000,
        )
        for few, many in zip(report["few"], report["many"], strict=True)
    ]


def _each(counts: Counts) -> str:
    """Requests a task: of all tasks that such a process runs."""
    return f"{counts.requests.total() / (1 + FEW + MANY):.1f}"


def _row(kind: str, taken: dict[str, list[tuple[float, float]]], requests: str) -> list[str]:
    cpu, wall = (median(values) for values in zip(*taken[kind], strict=True))
    base_cpu, base_wall = (median(values) for values in zip(*taken["bash"], strict=True))
    more = sorted(one - base_cpu for one, _ in taken[kind])
    is_base = kind == "bash"
    return [
        _NAMES[kind],
        f"{cpu:.1f}",
        f"{wall:.1f}",
        "–" if is_base else f"{cpu - base_cpu:.1f}",
        f"{more[0]:+.1f} to {more[-1]:+.1f}",
        "–" if is_base else f"{wall - base_wall:.1f}",
        requests,
    ]
