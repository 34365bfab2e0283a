"""What lists, search and provenance need of a run, made of its header and its document: what the index keeps of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from airflow_magnus.runlog.history import Graphs
from airflow_magnus.runlog.records import OUTSIDE, CatalogEntry, Record, RunHeader, RunLog, Status, StepLog

Direction = Literal["get", "put", "restored"]
"""What a step did with a file: read it, made it, or has it from the run that its run takes up."""
_LONGEST_VALUE = 500


class RunSummary(Record):
    """One run in a list.

    :param dag_id: what the run log calls the DAG; with a scope where several pipelines share one. "" outside Airflow.
    :param airflow_dag_id: the DAG as Airflow calls it.
    :param end: when its last step ended; "" while it goes on.
    :param parameters: the final values, and initial ones that nobody has set anew; long values are cut.
    :param bytes_stored: of the files that it has put or restored, until they are collected.
    :param files: how many those are.
    :param is_collected: its files were removed from the catalog, or are being.
    :param scheduler: who runs it, as of the header.
    """

    run_id: str
    pipeline: str = ""
    dag_id: str = ""
    airflow_dag_id: str = ""
    airflow_run_id: str = ""
    status: Status = "PROCESSING"
    tag: str | None = None
    start: str = ""
    end: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)
    bytes_stored: int = 0
    files: int = 0
    is_pinned: bool = False
    is_collected: bool = False
    original_run_id: str = ""
    scheduler: dict[str, Any] = Field(default_factory=dict)

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it goes on, or of records that do not say it."""
        try:
            took = datetime.fromisoformat(self.end) - datetime.fromisoformat(self.start)
        except (ValueError, TypeError):
            return None
        return took.total_seconds()

    @property
    def place(self) -> tuple[str, str]:
        """Where it stands among runs in the order of their start."""
        return self.start, self.run_id


@dataclass(frozen=True)
class Code:
    """What code ran, as far as a list shows it.

    :param is_dependable: whether the identifier alone tells the code.
    """

    kind: str
    identifier: str
    is_dependable: bool = False


@dataclass(frozen=True)
class FileUse:
    """One file that one step of one run read or made.

    :param step: internal name.
    :param attempt: number of the attempt that counts.
    :param sha256: hex, 64 characters; "" where it is not known.
    :param size: bytes; None where it is not known.
    :param time: when the attempt ended.
    :param holder: the run in whose folder of the catalog the bytes lie, where that is another one.
    """

    run_id: str
    pipeline: str
    step: str
    attempt: int
    direction: Direction
    name: str
    sha256: str
    size: int | None
    time: str
    code: tuple[Code, ...] = ()
    holder: str = ""


@dataclass(frozen=True)
class RunFacts:
    """A run as the index keeps it."""

    summary: RunSummary
    uses: tuple[FileUse, ...] = field(default=())


def facts_of(header: RunHeader | None, log: RunLog, graphs: Graphs | None = None) -> RunFacts:
    """What the index keeps of a run.

    :param header: None of a run that another tool has written.
    :param graphs: of a re-run: its document does not name the files that it has restored.
    """
    pipeline = header.pipeline if header else ""
    uses = [use for step in log.steps.values() for use in _of_step(log.run_id, pipeline, step)]
    restored = list(_restored(log.run_id, pipeline, graphs or {}))
    # Steps that a re-run does not run stand before those that it runs, whose files take the place of theirs.
    stored: dict[str, FileUse] = {use.name: use for use in (*restored, *uses) if use.direction != "get"}
    uses += restored
    scheduler = dict(header.scheduler if header else log.scheduler)
    starts, ends = _times(log.steps.values())
    is_airflow = scheduler.get("type") == "airflow"
    summary = RunSummary(
        run_id=log.run_id,
        pipeline=pipeline,
        dag_id=str(scheduler.get("dag_id") or "") if is_airflow else "",
        airflow_dag_id=str(scheduler.get("airflow_dag_id") or scheduler.get("dag_id") or "")
        if is_airflow
        else "",
        airflow_run_id=str(scheduler.get("run_id") or "") if is_airflow else "",
        status=log.status,
        tag=log.tag,
        start=header.started if header else min(starts, default=""),
        end=max(ends, default="") if log.status in ("SUCCESS", "FAIL") else "",
        parameters={
            n: _cut(v) for n, v in {**(header.parameters if header else {}), **log.parameters}.items()
        },
        bytes_stored=sum(use.size or 0 for use in stored.values()),
        files=len(stored),
        original_run_id=log.original_run_id,
        scheduler=scheduler,
    )
    return RunFacts(summary, tuple(uses))


def _of_step(run_id: str, pipeline: str, step: StepLog) -> Iterator[FileUse]:
    """What a step and the steps in it read, and what they made that later steps see."""
    for branch in step.branches.values():
        for inner in branch.steps.values():
            yield from _of_step(run_id, pipeline, inner)
    last = step.attempts[-1] if step.attempts else None
    about: dict[str, Any] = {
        "run_id": run_id,
        "pipeline": pipeline,
        "step": step.internal_name,
        "attempt": last.attempt_number if last else 0,
        "time": (last.end_time or last.start_time) if last else "",
        "code": tuple(
            Code(one.code_identifier_type, one.code_identifier or "", one.code_identifier_dependable)
            for one in step.code_identities
        ),
    }
    for entry in step.data_catalog:
        if entry.stage == "get" or step.status == "SUCCESS" or step.internal_name == OUTSIDE:
            yield _use(entry, entry.stage, about)
    known = {(entry.data_hash, entry.stage) for entry in step.data_catalog}
    for access in step.objects:
        if access.action == "read" and access.data_hash and (access.data_hash, "get") not in known:
            name = access.source if "://" in access.source else f"{access.bucket}/{access.key}"
            yield FileUse(direction="get", name=name, sha256=access.data_hash, size=access.size, **about)


def _restored(run_id: str, pipeline: str, graphs: Graphs) -> Iterator[FileUse]:
    """The files of the steps that a re-run did not run; what a composite step holds is that of its steps, if told."""
    for steps in graphs.values():
        for history in steps.values():
            closed = history.latest.closed
            if closed is None or not closed.mock:
                continue
            about = {
                "run_id": run_id,
                "pipeline": pipeline,
                "step": closed.step.internal_name,
                "attempt": closed.number,
                "time": closed.end_time,
            }
            for entry in closed.puts():
                yield _use(entry, "restored", about)


def _use(entry: CatalogEntry, direction: Direction, about: Mapping[str, Any]) -> FileUse:
    holder = entry.catalog_relative_path.partition("/")[0]
    return FileUse(
        direction=direction,
        name=entry.name,
        sha256=entry.data_hash,
        size=entry.size,
        holder="" if holder == about["run_id"] else holder,
        **about,
    )


def _times(steps: Iterable[StepLog]) -> tuple[list[str], list[str]]:
    """When attempts of the steps began, and when they ended. Later ones of a step come last, so two of them do."""
    attempts = [attempt for step in steps for attempt in (*step.attempts[:1], *step.attempts[-1:])]
    return [a.start_time for a in attempts if a.start_time], [a.end_time for a in attempts if a.end_time]


def _cut(value: Any) -> Any:
    """A value of a parameter that a list can bear; what is longer is its text, cut."""
    text = value if isinstance(value, str) else repr(value)
    if len(text) <= _LONGEST_VALUE:
        return value
    return f"{text[:_LONGEST_VALUE]}…"
