"""From parts to the document of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from airflow_magnus.runlog.history import StepHistory, visible
from airflow_magnus.runlog.records import AttemptLog, BranchLog, RunHeader, RunLog, Status, StepLog, duration


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
            if attempt.closed is None or attempt.closed.is_attempt
        ],
    )
    if latest.closed is not None:
        closed = latest.closed
        log.message = closed.step_message
        log.mock = closed.mock
        log.code_identities = closed.code_identities
        log.user_defined_metrics = closed.metrics
        log.data_catalog = closed.data_catalog
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


def run_log(
    header: RunHeader, graphs: Mapping[str, Mapping[str, StepHistory]], path: Iterable[str] | None = None
) -> RunLog:
    """The document of one run.

    :param graphs: graph name ("" the pipeline's own) to its steps.
    :param path: the steps of the pipeline's own graph that count; None: all that have a record.
    """
    top = graphs.get("", {})
    chosen = ordered(top.values()) if path is None else [top[name] for name in path if name in top]
    return RunLog(
        run_id=header.run_id,
        dag_hash=header.dag_hash,
        use_cached=header.use_cached,
        tag=header.tag,
        original_run_id=header.original_run_id,
        status=run_status({history.internal_name: history for history in chosen}),
        steps={history.internal_name: _with_branches(history, graphs) for history in chosen},
        parameters=dict(visible(header, [h.internal_name for h in chosen], top).parameters),
        run_config=header.run_config,
        scheduler=header.scheduler,
    )


def _with_branches(history: StepHistory, graphs: Mapping[str, Mapping[str, StepHistory]]) -> StepLog:
    log = step_log(history)
    prefix = history.internal_name + "."
    depth = history.internal_name.count(".") + 1
    for name in sorted(g for g in graphs if g.startswith(prefix) and g.count(".") == depth):
        steps = ordered(graphs[name].values())
        log.branches[name] = BranchLog(
            internal_name=name,
            status=run_status(graphs[name]),
            steps={step.internal_name: _with_branches(step, graphs) for step in steps},
        )
    return log
