"""A put of files that are in the catalog already, against the first put of them."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

from bench import peers
from bench.measure import table
from bench.peers import Job
from bench.running import Run, middle, rounds
from bench.servers.counting import counted
from bench.servers.endpoint import Endpoint
from bench.servers.together import CEPH, NULL, SLOW, Servers
from bench.transfers import Settings
from bench.workloads import Workload

AIM, MOST_REQUESTS = 0.1, 8


def report(servers: Servers, settings: Settings) -> str:
    """Measure and give the table as Markdown: of the most files that are moved on each server."""
    rows, missing = [], []
    for name in (NULL, SLOW, CEPH):
        if why := servers.missing(name):
            missing.append(f"Not measured on {name}, as it is {why}.\n")
            continue
        workload = max(
            settings.ceph_workloads if name == CEPH else settings.workloads, key=lambda one: one.count
        )
        folder = servers.written(workload, is_for_ceph=name == CEPH)
        rows.append(
            _row(servers.get(name), workload, folder, servers.work("again", name), settings.repetitions)
        )
    head = ("server", "files", "first put, s", "again, s", "wall", "CPU", "requests", "bytes sent")
    return "\n".join(
        [
            "## Put again\n",
            "A put of files of which none has changed since they were put, in the same run. Wall and CPU: the first put = 1.\n"
            f"Aimed at: at most {AIM} of the wall time and {MOST_REQUESTS} requests, and no byte of a file.\n"
            "Requests and bytes are counted between client and server in a run of its own.\n",
            table(head, rows) if rows else "",
            *missing,
        ]
    )


def _row(endpoint: Endpoint, workload: Workload, folder: Path, scratch: Path, repetitions: int) -> list[str]:
    first = Job("put", endpoint, folder, workload.letter, scratch / "entries.json", scratch)
    put, again = peers.module_client("ours"), peers.module_client("ours", "again")
    put(first)
    number = iter(range(1000))

    def put_anew() -> Run:
        job = replace(
            first, run=f"new-{next(number)}" if endpoint.data is None else first.run, entries=scratch / "anew"
        )
        run = put(job)
        if endpoint.data is None:
            peers.remove(job)
        return run

    runs = rounds({"put": put_anew, "again": functools.partial(again, first)}, repetitions, {})
    with counted(endpoint) as (counting, counts):
        again(replace(first, endpoint=counting))
    if endpoint.data is None:
        peers.remove(first)
    wall, cpu = ({name: middle(runs[name], measure) for name in runs} for measure in ("wall", "cpu"))
    return [
        endpoint.name,
        workload.name,
        f"{wall['put']:.2f}",
        f"{wall['again']:.2f}",
        f"{wall['again'] / wall['put']:.3f}",
        f"{cpu['again'] / cpu['put']:.3f}",
        str(counts),
        f"{counts.sent:,}",
    ]
