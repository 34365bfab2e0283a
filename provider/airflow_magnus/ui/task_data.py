"""What one task has read and written, beside what the run before and the steps before it had."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from airflow_magnus.runlog.history import Attempt, StepHistory
from airflow_magnus.runlog.index_view import IndexView
from airflow_magnus.runlog.records import CatalogEntry, ObjectAccess, RunLog, StepLog
from airflow_magnus.runlog.summaries import FileUse, RunSummary
from airflow_magnus.ui.found_runs import FoundRun, find_run
from airflow_magnus.ui.open_indexes import Opened, open_indexes
from airflow_magnus.ui.responses import PageError

Change = Literal["", "same", "changed", "new", "gone"]
_MOST_BEFORE = 50


@dataclass(frozen=True)
class FileRow:
    """One file that the task read or wrote.

    :param direction: ``get``: read, ``put``: written.
    :param before: against what the same step did in the run before; "" when there is none.
    :param attempt: against the attempt before, of files that were written; "" when there is none.
    :param origin: of what was read the step that put it; of what was written the step that had put the name before.
    :param here: against what the run had under this name before the step; of files that were written.
    """

    direction: str
    name: str
    digest: str
    size: int | None
    before: Change = ""
    attempt: Change = ""
    origin: str = ""
    here: Change = ""


@dataclass(frozen=True)
class TaskData:
    """What the tab shows.

    :param attempts: numbers of all attempts.
    :param attempt: the one that is shown.
    :param previous: the run that ``before`` of the rows is about; None when there is none.
    :param is_index_late: the comparison with the run before is missing, as the index could not be read.
    """

    run: FoundRun
    step: str
    step_type: str
    attempts: tuple[int, ...]
    attempt: Attempt
    rows: tuple[FileRow, ...]
    objects: tuple[ObjectAccess, ...]
    previous: RunSummary | None
    is_index_late: bool = False

    @property
    def number(self) -> int:
        """Of the attempt that is shown."""
        return self.attempt.opened.number

    @property
    def is_lost(self) -> bool:
        """Whether what the attempt wrote is no part of the run, as it failed."""
        closed = self.attempt.closed
        return closed is not None and not closed.is_visible


def look_at_task(
    dag_id: str, run_id: str, task_id: str, map_index: int, number: int | None = None
) -> TaskData:
    """What a task has read and written. The user's right to read the DAG was checked before.

    Cost: as of :func:`find_run` and of the index, the run's document, and 1 LIST and 1 read for each attempt.

    :param map_index: -1 of a task that is not mapped.
    :param number: of the attempt; None: the last.
    :raises PageError: when the task is no step of a run log.
    """
    run = find_run(dag_id, run_id)
    name = _step_of_task(run, task_id, map_index)
    graph, _, own = name.rpartition(".")
    history = run.reading(lambda: run.services.run_log.step(run.header.run_id, graph, own))
    if history is None:
        raise _no_step(task_id)
    attempt = history.attempts.get(number, history.latest) if number is not None else history.latest
    opened = open_indexes([run.description])[0]
    view = opened.view if isinstance(opened, Opened) else None
    uses = view.uses_of(run.header.run_id) if view else []
    previous = _run_before(run, name, view) if view else None
    then = _of_step(view.uses_of(previous.run_id), name) if view and previous else {}
    return TaskData(
        run=run,
        step=name,
        step_type=attempt.opened.step.step_type,
        attempts=tuple(sorted(history.attempts)),
        attempt=attempt,
        rows=tuple(
            _rows(attempt, _attempt_before(history, attempt), uses, then, has_run=previous is not None)
        ),
        objects=tuple(attempt.closed.objects) if attempt.closed else (),
        previous=previous,
        is_index_late=view is None,
    )


def _step_of_task(run: FoundRun, task_id: str, map_index: int) -> str:
    """The internal name of the step that a task is; also of one whose attempts no longer count."""
    wanted = (task_id, map_index)
    for step in _all_steps(run.document()):
        if any(_task_of(attempt.scheduler) == wanted for attempt in step.attempts):
            return step.internal_name
    graphs = run.reading(lambda: run.services.run_log.graphs(run.header.run_id))
    for history in (one for steps in graphs.values() for one in steps.values()):
        if any(_task_of(one.opened.scheduler) == wanted for one in history.attempts.values()):
            return history.internal_name
    raise _no_step(task_id)


def _task_of(scheduler: Mapping[str, Any]) -> tuple[Any, Any]:
    return scheduler.get("task_id"), scheduler.get("map_index", -1)


def _no_step(task_id: str) -> PageError:
    return PageError(
        404,
        "There is no data of this task",
        f"The run log has nothing of {task_id}. It has not begun yet, was skipped, or is one of the tasks between the "
        "steps, which read and write nothing.",
    )


def _all_steps(log: RunLog) -> Iterator[StepLog]:
    todo = list(log.steps.values())
    while todo:
        step = todo.pop()
        yield step
        todo += [inner for branch in step.branches.values() for inner in branch.steps.values()]


def _run_before(run: FoundRun, step: str, view: IndexView) -> RunSummary | None:
    """The last run of the same pipeline that began before this one and in which the step itself read or wrote something.

    A run that took over what the step had made does not say what it had read. Of the runs before only some are looked
    at: a step that never has files has none.
    """
    this = view.summaries.get(run.header.run_id)
    if this is None:
        return None
    kind = this.dag_id, this.pipeline
    earlier = (
        other
        for other in view.summaries.values()
        if other.place < this.place and (other.dag_id, other.pipeline) == kind
    )
    looked_at = islice(earlier, _MOST_BEFORE)
    return next((other for other in looked_at if _ran(view.uses_of(other.run_id), step)), None)


def _ran(uses: Iterable[FileUse], step: str) -> bool:
    return any(use.step == step and use.direction != "restored" for use in uses)


def _of_step(uses: Iterable[FileUse], step: str) -> dict[tuple[str, str], str]:
    """Direction and name → digest, of one step; what it restored counts as written."""
    return {
        ("get" if use.direction == "get" else "put", use.name): use.sha256 for use in uses if use.step == step
    }


def _attempt_before(history: StepHistory, attempt: Attempt) -> Attempt | None:
    earlier = [number for number in history.attempts if number < attempt.opened.number]
    return history.attempts[max(earlier)] if earlier else None


def _rows(
    attempt: Attempt,
    earlier: Attempt | None,
    uses: Sequence[FileUse],
    then: Mapping[tuple[str, str], str],
    *,
    has_run: bool,
) -> Iterator[FileRow]:
    step = attempt.opened.step.internal_name
    entries = attempt.closed.data_catalog if attempt.closed else []
    written = {e.name: e.data_hash for e in _entries(earlier) if e.stage == "put"} if earlier else None
    made = _made_before(uses, step, attempt.closed.end_time if attempt.closed else "")
    for entry in entries:
        was = then.get((entry.stage, entry.name))
        before = _change(was, entry.data_hash) if has_run else ""
        if entry.stage == "get":
            origin = next((u.step for u in made.get(entry.name, ()) if u.sha256 == entry.data_hash), "")
            yield FileRow("get", entry.name, entry.data_hash, entry.size, before, origin=origin)
            continue
        over = made.get(entry.name, [])
        yield FileRow(
            "put",
            entry.name,
            entry.data_hash,
            entry.size,
            before,
            attempt=_change(written.get(entry.name), entry.data_hash) if written is not None else "",
            origin=over[0].step if over else "",
            here=_change(over[0].sha256 if over else None, entry.data_hash),
        )
    there = {(entry.stage, entry.name) for entry in entries}
    if attempt.closed is not None:
        for direction, name in sorted(then.keys() - there):
            yield FileRow(direction, name, then[direction, name], None, "gone")


def _entries(attempt: Attempt | None) -> list[CatalogEntry]:
    return attempt.closed.data_catalog if attempt and attempt.closed else []


def _change(before: str | None, now: str) -> Change:
    if before is None:
        return "new"
    return "same" if before == now else "changed"


def _made_before(uses: Iterable[FileUse], step: str, until: str) -> dict[str, list[FileUse]]:
    """What other steps of the run had put by name before a moment, the last in front."""
    found: dict[str, list[FileUse]] = {}
    for use in uses:
        if use.direction != "get" and use.step != step and (not until or not use.time or use.time <= until):
            found.setdefault(use.name, []).append(use)
    for made in found.values():
        made.sort(key=lambda use: use.time, reverse=True)
    return found
