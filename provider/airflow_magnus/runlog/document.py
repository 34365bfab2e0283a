"""From parts to the document of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from airflow_magnus.runlog.definition import graph_of, recorded_path
from airflow_magnus.runlog.history import Graphs, StepHistory, before_first_step, visible
from airflow_magnus.runlog.records import (
    OUTSIDE,
    AttemptLog,
    BranchLog,
    RunHeader,
    RunLog,
    Status,
    StepLog,
    duration,
)


def step_log(history: StepHistory) -> StepLog:
    """One step of the document, from all its attempts."""
    latest = history.latest
    identity = latest.opened.step
    log = StepLog(
        name=identity.name,
        internal_name=identity.internal_name,
        step_type=identity.step_type,
        status=latest.status,
        attempts=[
            _attempt_log(history, number)
            for number, attempt in sorted(history.attempts.items())
            if (attempt.closed.is_attempt if attempt.closed else not identity.is_composite)
        ],
    )
    if latest.closed is not None:
        closed = latest.closed
        log.message = closed.step_message
        log.mock = closed.mock
        log.code_identities = closed.code_identities
        log.user_defined_metrics = closed.metrics
        log.parameters = closed.parameters
        log.fingerprint = closed.fingerprint
        if not (closed.mock or identity.is_composite):  # what a composite step holds is that of its steps
            log.data_catalog = closed.data_catalog
            log.objects = closed.objects
    return log


def _attempt_log(history: StepHistory, number: int) -> AttemptLog:
    attempt = history.attempts[number]
    end = attempt.closed.end_time if attempt.closed else ""
    start = attempt.opened.start_time
    scheduler = (attempt.closed and attempt.closed.scheduler) or attempt.opened.scheduler
    return AttemptLog(
        attempt_number=number,
        start_time=start,
        end_time=end,
        duration=duration(start, end),
        status=attempt.status,
        message=attempt.closed.message if attempt.closed else "",
        scheduler=scheduler,
    )


def run_status(histories: Mapping[str, StepHistory]) -> Status:
    """SUCCESS or FAIL once the graph's success or fail node was reached, else PROCESSING."""
    reached: dict[str, str] = {}
    for history in histories.values():
        kind = history.latest.opened.step.step_type
        if kind in ("success", "fail") and history.status == "SUCCESS":
            reached[kind] = history.latest.opened.start_time
    if not reached:
        return "PROCESSING"
    return "SUCCESS" if max(reached, key=lambda kind: reached[kind]) == "success" else "FAIL"


def ordered(histories: Iterable[StepHistory]) -> list[StepHistory]:
    """Steps in the order of their graph, which no clock can disturb."""
    return sorted(histories, key=lambda h: (h.latest.opened.step.position, h.latest.opened.start_time))


def run_log(header: RunHeader, graphs: Graphs) -> RunLog:
    """The document of one run. Of each graph the steps count that lie on the way that was gone."""
    top = counted(header, "", graphs)
    return RunLog(
        run_id=header.run_id,
        dag_hash=header.dag_hash,
        use_cached=header.use_cached,
        tag=header.tag,
        original_run_id=header.original_run_id,
        status=run_status({history.internal_name: history for history in top.values()}),
        steps={**_steps(header, top, graphs), **_put_by_people(graphs)},
        parameters=dict(visible(before_first_step(header), top, top).parameters),
        run_config=header.run_config,
        scheduler=header.scheduler,
    )


def _put_by_people(graphs: Graphs) -> dict[str, StepLog]:
    """What was put from outside after the run had ended: on no way, and each time beside what was put before."""
    history = graphs.get("", {}).get(OUTSIDE)
    if history is None:
        return {}
    log = step_log(history)
    puts = [entry for _, one in sorted(history.attempts.items()) if one.closed for entry in one.closed.puts()]
    log.data_catalog = list({entry.name: entry for entry in puts}.values())
    return {history.internal_name: log}


def counted(header: RunHeader, graph_name: str, graphs: Graphs) -> dict[str, StepHistory]:
    """The steps of one graph that count, by name, in order."""
    histories = graphs.get(graph_name, {})
    path = recorded_path(graph_of(header, graph_name), histories)
    if path is None:
        return {history.latest.opened.step.name: history for history in ordered(histories.values())}
    return {name: histories[name] for name in path if name in histories}


def _steps(header: RunHeader, histories: Mapping[str, StepHistory], graphs: Graphs) -> dict[str, StepLog]:
    return {h.internal_name: _with_branches(header, h, graphs) for h in histories.values()}


def _with_branches(header: RunHeader, history: StepHistory, graphs: Graphs) -> StepLog:
    log = step_log(history)
    if log.mock:
        return log  # it stands for all that is in it
    for branch in (history.latest.closed or history.latest.opened).branches:
        name = f"{history.internal_name}.{branch}"
        steps = counted(header, name, graphs)
        if not steps and log.step_type == "loop":
            continue  # nobody knows yet whether it will run
        log.branches[name] = BranchLog(
            internal_name=name, status=run_status(steps), steps=_steps(header, steps, graphs)
        )
    return log
