"""What the tab *Run log* shows of a run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from airflow_magnus.runlog.marks import Collection
from airflow_magnus.runlog.records import AttemptLog, RunHeader, RunLog, StepLog
from airflow_magnus.runlog.summaries import Direction, FileUse, RunFacts, RunSummary
from airflow_magnus.ui.dag_runs import AirflowRun
from airflow_magnus.ui.found_runs import FoundRun
from airflow_magnus.ui.paging import Pager
from airflow_magnus.ui.responses import run_path
from airflow_magnus.ui.run_tree import Choice, Files, Node, Tree, files_of, objects_of, tree_of
from airflow_magnus.ui.timeline import Axis, Bar, Span, axis_of, seconds_of, span_of, span_of_attempt

ROWS = 100
"""Lines of the tree on one page."""
_MOST_PARAMETERS = 200
_DEEPEST = 8
_MOST_FAILURES = 5
_SHORTEST_PAUSE, _PAUSES = 5, 10


@dataclass(frozen=True)
class AttemptRow:
    """One attempt of a step.

    :param log_path: of its log in Airflow's UI; "" where Airflow has none.
    """

    of: AttemptLog
    seconds: float | None
    log_path: str


@dataclass(frozen=True)
class Row:
    """One line of the tree, with all that is folded into it.

    :param depth: as it is indented.
    :param task: path of the step's task in Airflow's UI, and the ids in the address of its data; () where it has none.
    """

    node: Node
    depth: int
    span: Span | None
    bars: Sequence[Bar]
    attempts: Sequence[AttemptRow]
    task: tuple[str, str] | tuple[()]
    got: Files
    put: Files
    objects: tuple[Sequence[Any], int]
    taken_over: Sequence[FileUse]


@dataclass(frozen=True)
class Parameter:
    """A parameter of a run; a value is None where the run had none then.

    :param setter: who gave it the final value, for people.
    """

    name: str
    initial: Any
    final: Any
    has_initial: bool
    has_final: bool
    setter: str


@dataclass(frozen=True)
class RunView:
    """What the page shows.

    :param stored: the run as the list of runs shows it.
    :param taken_over: how many of its files are those of an earlier run.
    :param rows: of this page alone.
    :param more_parameters: how many are not among ``parameters``.
    :param collection: that the run's files were removed from the catalog; None: they were not.
    :param took: seconds that it took to gather it.
    """

    found: FoundRun
    log: RunLog
    tree: Tree
    choice: Choice
    pager: Pager
    rows: Sequence[Row]
    axis: Axis | None
    span: Span | None
    parameters: Sequence[Parameter]
    more_parameters: int
    collection: Collection | None
    stored: RunSummary
    taken_over: int
    took: float

    @property
    def pause(self) -> int:
        """Seconds after which the page is looked at again: a server is not kept busy by one run."""
        return max(_SHORTEST_PAUSE, round(_PAUSES * self.took))

    @property
    def goes_on(self) -> bool:
        """Whether something may still change."""
        return self.log.status == "PROCESSING"

    @property
    def failures(self) -> list[StepLog]:
        """The steps that failed, as far in as it goes; of a run that has failed. The first of them."""
        if self.log.status != "FAIL":
            return []
        failed = [node.step for node in self.tree.nodes if node.step and node.step.status == "FAIL"]
        return [one for one in failed if not one.branches][:_MOST_FAILURES]


def view(found: FoundRun, choice: Choice, page: int, query: Mapping[str, str]) -> RunView:
    """Gather what the page shows of a run. Cost: 2 GETs of a run that has ended.

    :param query: of the page's address, for the addresses of the other pages.
    """
    began = time.monotonic()
    log = found.document()
    collection = found.reading(lambda: found.services.run_log.marks.collection(found.header.run_id))
    now = time.time()
    tree = tree_of(log.steps)
    nodes = tree.chosen(choice)
    pager = Pager(len(nodes), ROWS, page, query)
    shown = [(node, span_of(node.of, now)) for node in nodes[pager.part]]
    facts = found.facts(log)
    restored = _taken_over(facts)
    axis = axis_of([span for _, span in shown if span], seconds_of(found.header.started))
    parameters = _parameters(found, log, tree)
    return RunView(
        found=found,
        log=log,
        tree=tree,
        choice=choice,
        pager=pager,
        rows=[
            _row(node, span, axis, now, found.airflow, restored.get(node.of.internal_name, ()))
            for node, span in shown
        ],
        axis=axis,
        span=_span_of_run(found, tree, now),
        parameters=parameters[:_MOST_PARAMETERS],
        more_parameters=max(0, len(parameters) - _MOST_PARAMETERS),
        collection=collection,
        stored=facts.summary,
        taken_over=len(_names(facts, "restored") - _names(facts, "put")),
        took=time.monotonic() - began,
    )


def _taken_over(facts: RunFacts) -> dict[str, list[FileUse]]:
    """Internal name of a step that was not run again → the files that it has from an earlier run."""
    found: dict[str, list[FileUse]] = {}
    for use in facts.uses:
        if use.direction == "restored":
            found.setdefault(use.step, []).append(use)
    return found


def _names(facts: RunFacts, direction: Direction) -> set[str]:
    return {use.name for use in facts.uses if use.direction == direction}


def _row(
    node: Node,
    span: Span | None,
    axis: Axis | None,
    now: float,
    airflow: AirflowRun | None,
    taken_over: Sequence[FileUse],
) -> Row:
    step = node.step or StepLog(name="", internal_name="", step_type="")
    bars: Sequence[Bar] = []
    if axis is not None:
        bars = axis.bars(step.attempts, now) if step.attempts else axis.bar(span, node.of.status)
    return Row(
        node=node,
        depth=min(node.depth, _DEEPEST),
        span=span,
        bars=bars,
        attempts=[_attempt(one, airflow, now) for one in step.attempts],
        task=_task(airflow, step),
        got=files_of(step, "get"),
        put=files_of(step, "put"),
        objects=objects_of(step),
        taken_over=taken_over,
    )


def _attempt(attempt: AttemptLog, airflow: AirflowRun | None, now: float) -> AttemptRow:
    span = span_of_attempt(attempt, now)
    path = _task_path(airflow, attempt.scheduler, with_try=True)
    return AttemptRow(attempt, span.seconds if span else None, path)


def _task(airflow: AirflowRun | None, step: StepLog) -> tuple[str, str] | tuple[()]:
    for attempt in reversed(step.attempts):
        if path := _task_path(airflow, attempt.scheduler):
            return path, f"{_quoted(attempt.scheduler['task_id'])}/{attempt.scheduler.get('map_index', -1)}"
    return ()


def _task_path(airflow: AirflowRun | None, scheduler: Mapping[str, Any], *, with_try: bool = False) -> str:
    """Path of a task's page, which shows its log, below Airflow's root."""
    if airflow is None or not scheduler.get("task_id"):
        return ""
    path = f"{run_path(airflow.dag_id, airflow.run_id)}/tasks/{_quoted(scheduler['task_id'])}"
    index = scheduler.get("map_index", -1)
    if isinstance(index, int) and index >= 0:
        path += f"/mapped/{index}"
    number = scheduler.get("try_number")
    return f"{path}?try_number={number}" if with_try and isinstance(number, int) else path


def _quoted(text: Any) -> str:
    return quote(str(text), safe="")


def _span_of_run(found: FoundRun, tree: Tree, now: float) -> Span | None:
    """From the run's start to its last attempt's end."""
    start = seconds_of(found.header.started)
    spans = [s for node in tree.nodes if node.depth == 0 and (s := span_of(node.of, now)) is not None]
    if start is None and not spans:
        return None
    begin = min([span.start for span in spans], default=start) if start is None else start
    assert begin is not None
    return Span(begin, max([begin, *(span.end for span in spans)]))


def _parameters(found: FoundRun, log: RunLog, tree: Tree) -> list[Parameter]:
    header, earlier, setters = found.header, found.earlier(), tree.setters()
    names = {**header.parameters, **log.parameters}
    return [
        Parameter(
            name=name,
            initial=header.parameters.get(name),
            final=log.parameters.get(name),
            has_initial=name in header.parameters,
            has_final=name in log.parameters,
            setter=_setter(name, header, earlier, setters),
        )
        for name in names
    ]


def _setter(name: str, header: RunHeader, earlier: RunHeader | None, setters: Mapping[str, str]) -> str:
    if name in setters:
        return f"step {setters[name]}"
    if earlier is not None and name in earlier.parameters:
        # A re-run begins with the values of the run that it takes up, unless given ones are to win.
        if header.parameters.get(name) == earlier.parameters[name]:
            return "taken over"
    elif header.original_run_id and earlier is None and header.given is not None and name not in header.given:
        return "default, or taken over"  # the earlier run's record is gone, so nobody knows
    return "given" if header.given is None or name in header.given else "default"
