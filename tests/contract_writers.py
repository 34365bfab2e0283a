"""What the processes do in tests of many writers. A module of its own, as the processes that are started import it."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import Any

from airflow_magnus.errors import RunIdTakenError
from airflow_magnus.runlog.records import AttemptOpened, RunHeader, StepIdentity
from airflow_magnus.stores.database import DatabaseParts
from airflow_magnus.stores.objects import open_object_store
from airflow_magnus.stores.parts import ObjectParts, PartStore
from airflow_magnus.stores.runlogs import RunLogStore
from servers.s3 import S3Server

_CONTEXT = multiprocessing.get_context("forkserver")
# What every process imports is imported once; nothing of it starts a thread.
_CONTEXT.set_forkserver_preload(
    ["airflow_magnus.stores.services", "boto3", "obstore", "psycopg2", "sqlalchemy.orm"]
)
_SECONDS = 150


@dataclass(frozen=True)
class Place:
    """Where parts are, in a form that can be sent to a process.

    :param name: of the kind of place.
    :param url: of a database, a path, or ``s3://`` with ``server``.
    """

    name: str
    url: str
    server: S3Server | None = None

    def open(self) -> PartStore:
        """The part store, as a task opens it."""
        if self.server is not None:
            opened = ObjectParts(open_object_store(self.url, self.server.options), self.url)
            opened.is_conditional = self.server.is_conditional
            return opened
        if "://" in self.url:
            return DatabaseParts(self.url)
        return ObjectParts(open_object_store(self.url), self.url)

    def run_log(self) -> RunLogStore:
        return RunLogStore(self.open())


@contextmanager
def started(
    work: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]
) -> Iterator[Callable[[], list[Any]]]:
    """One process for each tuple of arguments, which all begin at once; gives what waits for their results, in order."""
    barrier = _CONTEXT.Barrier(len(arguments))
    pipes = [_CONTEXT.Pipe(duplex=False) for _ in arguments]
    processes = [
        _CONTEXT.Process(target=_run, args=(barrier, sender, work, given), daemon=True)
        for (_, sender), given in zip(pipes, arguments, strict=True)
    ]

    def results() -> list[Any]:
        found = []
        for process, (receiver, _) in zip(processes, pipes, strict=True):
            assert receiver.poll(_SECONDS), f"{process} is not done after {_SECONDS} s"
            is_good, result = receiver.recv()
            assert is_good, result
            found.append(result)
        return found

    try:
        for process in processes:
            process.start()
        yield results
    finally:
        for process in processes:
            if process.pid is not None:
                process.join(1)
                process.kill()
                process.join(10)
                process.close()
        for receiver, sender in pipes:
            receiver.close()
            sender.close()


@contextmanager
def started_processes() -> Iterator[Callable[..., Any]]:
    """Gives what starts a process of its own for a call; all have ended after the block."""
    processes = []

    def start(work: Callable[..., Any], *arguments: Any) -> Any:
        process = _CONTEXT.Process(target=work, args=arguments, daemon=True)
        processes.append(process)
        process.start()
        return process

    try:
        yield start
    finally:
        for process in processes:
            process.kill()
            process.join(10)
            process.close()


def in_processes(work: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """What ``work`` gives in one process for each tuple of arguments, all at once."""
    with started(work, arguments) as results:
        return results()


def _run(barrier: Barrier, sender: Any, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        barrier.wait(60)
        result = (True, work(*arguments))
    except BaseException:
        result = (False, traceback.format_exc())
    sender.send(result)
    sender.close()
    os._exit(0)  # what pytest has registered is not this process's to do


# works


def step(name: str, graph: str = "", position: int = 0) -> StepIdentity:
    internal = f"{graph}.{name}" if graph else name
    return StepIdentity(
        name=name, internal_name=internal, graph_name=graph, step_type="task", position=position
    )


def claim(place: Place, writer: int, run_ids: Sequence[str]) -> list[str]:
    """Claim every run id; gives those that this writer got."""
    store, got = place.run_log(), []
    for run_id in run_ids:
        try:
            store.claim(RunHeader(run_id=run_id, token=f"writer {writer}"))
        except RunIdTakenError:
            continue
        got.append(run_id)
    return got


def claim_airflow_run(place: Place, writer: int, scheduler: dict[str, Any]) -> tuple[str, str]:
    """Claim the run that many tasks belong to; gives the run id and the token of its header."""
    header = RunHeader(run_id="dag.run", token=f"writer {writer}", scheduler=scheduler)
    found = place.run_log().claim_for(header, lambda candidate: candidate)
    return found.run_id, found.token


def record(place: Place, run_id: str, writer: int, records: int) -> int:
    """Record so many steps, each of which sets a parameter of its own and one that all set."""
    store = place.run_log()
    for number in range(records):
        name = f"w{writer:02}-{number:03}"
        identity = step(name, position=writer * records + number)
        opened = AttemptOpened(step=identity, number=0, attempt_id=f"{name}-id")
        store.append(run_id, opened.ended(status="SUCCESS", parameters={name: number, "shared": name}))
    return records


def open_in_turn(place: Place, run_id: str, writer: int, attempts: int) -> list[int]:
    """Claim attempts of one step that all writers want; gives their numbers."""
    store = place.run_log()
    return [
        store.open_attempt(run_id, step("wanted"), f"writer {writer}, {number}", {}).opened.number
        for number in range(attempts)
    ]


def walk_branch(place: Place, run_id: str, branch: str, steps: int) -> None:
    """The steps of one branch of a parallel step, each setting parameters."""
    store, graph = place.run_log(), f"p.{branch}"
    for number in range(steps):
        opened = store.open_attempt(
            run_id, step(f"s{number}", graph, number), f"{branch}-{number}", {}
        ).opened
        values = {f"{branch}-{number}": number, "shared": branch, "counter": number}
        store.close(run_id, opened.ended(status="SUCCESS", parameters=values))
