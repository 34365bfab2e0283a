"""Put and get of files through the catalog, against other clients of S3."""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import peers
from bench.measure import table
from bench.peers import BOTO3, CHECKED, OURS, RCLONE, S3HOOK, S5CMD, UNSYNCED, Client, Job
from bench.running import Run, middle, rounds
from bench.servers.ceiling import ceilings
from bench.servers.ceph import forget_removed
from bench.servers.endpoint import Endpoint
from bench.servers.together import CEPH, NULL, SLOW, Servers
from bench.workloads import Workload

_MOST_FILES_OF_HOOK = 1000
_SMALL_TRANSFERS = {0: (8, 32), 20: (32, 128)}
_OTHER_TRANSFERS = (4, 8)
_LARGE_TO_FORGET = 64 * 1024**2
AIMS = {
    ("put", "small"): 0.8,
    ("get", "small"): 0.9,
    ("put", "mid"): 0.8,
    ("get", "mid"): 1.5,
    ("put", "large"): 1.0,
    ("get", "large"): 1.2,
}
AIMS_OF_DELAY = {"put": 1.0, "get": 1.2}
AIM_OF_CHECKED = 0.8
_ABOUT = f"""\
## Transfers

Put and get of a folder through our catalog, which computes and checks the sha256 of every file, against clients that do
not, and against s5cmd with `sha256sum` after it. Every transfer is a process of its own; clients take turns, and what is
shown are ratios of medians (of ours also the smallest and the largest). Ours, boto3 and S3Hook are measured as the call
in a fresh Python: its start and imports are left out, but in the column *whole process*. Programs are measured whole.
rclone has the number of transfers at a time that was quicker. Files are read from the page cache; gets write to the disk
of the temporary folder, and our catalog alone waits until they are on it (fsync).
Aimed at: the column *aim*, and at most {AIM_OF_CHECKED} × s5cmd and sha256sum.
"""


@dataclass(frozen=True)
class Settings:
    """What is measured.

    :param names: of the peers, as :data:`bench.peers.PEERS` has them.
    :param repetitions: of each transfer; of those with a large file at most 3.
    :param ceph_workloads: smaller ones: Ceph shares the machine with its clients, and is slow.
    """

    names: tuple[str, ...]
    repetitions: int
    workloads: Sequence[Workload]
    ceph_workloads: Sequence[Workload]

    def for_ceph(self) -> Settings:
        """Without the slow clients."""
        names = tuple(name for name in self.names if name not in (BOTO3, S3HOOK))
        return replace(self, names=names, repetitions=min(self.repetitions, 3))


@dataclass(frozen=True)
class Case:
    """One transfer on one server, measured: the runs of each client by name."""

    op: str
    workload: Workload
    runs: dict[str, list[Run]]

    def of(self, name: str, measure: str) -> float | None:
        """The median of a measure; None for a client that had no part in it. ``rclone`` is the one that was chosen."""
        found = next(
            (runs for key, runs in self.runs.items() if key.partition(" --")[0] == name and runs), None
        )
        return middle(found, measure) if found else None

    def ratio(self, name: str, measure: str, to: str = S5CMD, other: str = "") -> float | None:
        """A client's measure with that of another one as 1."""
        one, base = self.of(name, measure), self.of(to, other or measure)
        return None if one is None or not base else one / base


class Bench:
    """All transfers on one server.

    :param folders: of the workloads, by letter.
    :param scratch: an empty folder, on the disk that gets write to.
    """

    def __init__(
        self, endpoint: Endpoint, folders: Mapping[str, Path], scratch: Path, settings: Settings
    ) -> None:
        self._endpoint, self._folders, self._scratch, self._settings = endpoint, folders, scratch, settings
        self._number = 0

    def cases(self, workload: Workload) -> list[Case]:
        """Put and get of one workload."""
        # What gets fetch: put by us, so that there are entries with the digests.
        folder, jobs = self._folders[workload.letter], {}
        for name, client in (OURS, peers.module_client("ours")), (S5CMD, peers.clients(())[S5CMD]):
            jobs[name] = self._job("put", workload, folder, self._stored(name, workload))
            client(jobs[name])
        found = [self._case(op, workload) for op in ("put", "get")]
        if self._endpoint.data is None:
            for job in jobs.values():
                self._remove(job, workload)
        return found

    def _stored(self, name: str, workload: Workload) -> str:
        """Where a client's gets find the files: our catalog may have put them below other keys than the plain ones."""
        is_apart = self._endpoint.data is None and name not in (OURS, UNSYNCED)
        return f"{workload.letter}-plain" if is_apart else workload.letter

    def _case(self, op: str, workload: Workload) -> Case:
        chosen = self._clients(op, workload)
        repetitions = self._settings.repetitions
        if workload.kind == "large":
            repetitions = min(repetitions, 3)
        actions: dict[str, Callable[[], Run]] = {
            name: functools.partial(self._run, name, client, op, workload) for name, client in chosen.items()
        }
        # One file after the other: it waits for two requests a file, whatever else goes on.
        most = {BOTO3: 2 if workload.count > 1000 else 3, S3HOOK: 1 if self._endpoint.delay else 2}
        most |= {name: 3 for name in chosen if name.startswith(RCLONE)}
        found = Case(op, workload, rounds(actions, repetitions, most))
        took = ", ".join(
            f"{name} {sum(run.whole_wall for run in runs):.0f}" for name, runs in found.runs.items()
        )
        print(f"{self._endpoint.name}: {op} {workload.name} done; seconds: {took}", file=sys.stderr)
        return found

    def _clients(self, op: str, workload: Workload) -> dict[str, Client]:
        """Those that take part; each has run once, and of several rclones the quickest is left."""
        counts = _SMALL_TRANSFERS[self._endpoint.delay] if workload.kind == "small" else _OTHER_TRANSFERS
        if workload.kind == "large":
            counts = counts[:1]
        chosen = {
            name: client
            for name, client in peers.clients(counts).items()
            if name.partition(" --")[0] in self._settings.names
            and (name != UNSYNCED or op == "get")
            and (name != S3HOOK or (workload.count <= _MOST_FILES_OF_HOOK and workload.kind == "small"))
        }
        tuned = {
            name: self._run(name, client, op, workload).wall
            for name, client in chosen.items()
            if name.startswith(RCLONE) and len(counts) > 1
        }
        slower = sorted(tuned, key=tuned.__getitem__)[1:]
        return {name: client for name, client in chosen.items() if name not in slower}

    def _run(self, name: str, client: Client, op: str, workload: Workload) -> Run:
        self._number += 1
        if op == "put":
            # The null server keeps nothing, and what rclone asks for afterwards is only under the letter.
            target = f"new-{self._number}" if self._endpoint.data is None else workload.letter
            job = self._job(op, workload, self._folders[workload.letter], target)
            run = client(job)
            if self._endpoint.data is None:
                self._remove(job, workload)
            return run
        target = self._scratch / f"get-{self._number}"
        target.mkdir()
        try:
            run = client(self._job(op, workload, target, self._stored(name, workload)))
            if not workload.is_whole(target):
                raise RuntimeError(f"{name}: a get of {workload.name} left other files than were put")
        finally:
            # ext4 makes files slowly, for all clients, for half a minute after many were removed.
            if workload.kind != "small":
                shutil.rmtree(target)
        return run

    def _job(self, op: str, workload: Workload, folder: Path, run: str) -> Job:
        entries = self._scratch / f"entries-{run}.json"
        return Job(op, self._endpoint, folder, run, entries, self._scratch)

    def _remove(self, job: Job, workload: Workload) -> None:
        peers.remove(job)
        if workload.total >= _LARGE_TO_FORGET:
            forget_removed(self._endpoint)


def report(servers: Servers, settings: Settings) -> str:
    """Measure on every server and give the tables as Markdown."""
    parts = [_ABOUT]
    for name in (NULL, SLOW, CEPH):
        if why := servers.missing(name):
            parts.append(f"### {name}\n\nNot measured, as it is {why}.\n")
            continue
        is_ceph = name == CEPH
        moved = settings.ceph_workloads if is_ceph else settings.workloads
        endpoint = servers.get(name)
        chosen = settings.for_ceph() if is_ceph else settings
        folders = {one.letter: servers.written(one, is_for_ceph=is_ceph) for one in moved}
        bench = Bench(endpoint, folders, servers.work("transfers", name), chosen)
        parts.append(f"### {endpoint.name[0].upper()}{endpoint.name[1:]}\n")
        if not endpoint.delay:
            parts.append("The server alone, raw requests over 16 connections:\n")
            parts.append("\n".join(f"* {ceiling}" for ceiling in ceilings(endpoint)) + "\n")
        parts.append(
            _tables([case for workload in moved for case in bench.cases(workload)], endpoint, chosen.names)
        )
    return "\n".join(parts)


def _tables(cases: Sequence[Case], endpoint: Endpoint, names: Sequence[str]) -> str:
    others = [name for name in names if name not in (OURS, S5CMD)]
    return "\n".join(
        [
            "Wall time, s5cmd = 1:\n",
            _times(cases, endpoint, others, "wall"),
            "CPU time of the client (user and system, with its children), s5cmd = 1:\n",
            _times(cases, endpoint, others, "cpu"),
            "Peak memory, MiB; of ours also what it has beyond Python with its imports:\n",
            _memory(cases, others),
        ]
    )


def _times(cases: Sequence[Case], endpoint: Endpoint, others: Sequence[str], measure: str) -> str:
    aimed = ["aim"] if measure == "wall" else []
    head = (
        "transfer",
        "s5cmd, s",
        "ours",
        *aimed,
        "ours, whole process",
        *others,
        "ours : s5cmd and sha256sum",
    )
    rows = []
    for case in cases:
        aim = AIMS_OF_DELAY[case.op] if endpoint.delay else AIMS[case.op, case.workload.kind]
        base = case.of(S5CMD, measure)
        rows.append(
            [
                f"{case.op} {case.workload.name}",
                "–" if base is None else f"{base:.2f}",
                _number(case.ratio(OURS, measure)) + _spread(case, measure),
                *(f"{aim}" for _ in aimed),
                _number(case.ratio(OURS, f"whole_{measure}", S5CMD, measure)),
                *(_number(case.ratio(name, measure)) for name in others),
                _number(case.ratio(OURS, measure, CHECKED)),
            ]
        )
    return table(head, rows)


def _memory(cases: Sequence[Case], others: Sequence[str]) -> str:
    head = ("transfer", "ours, added", "ours", S5CMD, *others)
    rows = [
        [
            f"{case.op} {case.workload.name}",
            *(
                _mebibytes(case.of(name, measure))
                for name, measure in [(OURS, "added"), *((name, "peak") for name in (OURS, S5CMD, *others))]
            ),
        ]
        for case in cases
    ]
    return table(head, rows)


def _spread(case: Case, measure: str) -> str:
    base, runs = case.of(S5CMD, measure), case.runs.get(OURS)
    if not base or not runs:
        return ""
    ratios = sorted(getattr(run, measure) / base for run in runs)
    return f" ({ratios[0]:.2f}–{ratios[-1]:.2f})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _mebibytes(value: float | None) -> str:
    return "–" if value is None else f"{value / 1024**2:.0f}"
