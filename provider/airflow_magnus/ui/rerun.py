"""A re-run of a failed DAG run, as its page shows it before it starts."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_magnus.errors import MagnusError, RunNotFoundError
from airflow_magnus.hooks.services import OpenServices
from airflow_magnus.operators.rerun import plan_of_rerun
from airflow_magnus.operators.run import USE_CACHED
from airflow_magnus.runlog.plan_text import plan_note, plan_text, totals
from airflow_magnus.runlog.records import RunHeader, RunLog, StepLog
from airflow_magnus.runlog.rerun import RerunPlan
from airflow_magnus.ui.dag_runs import DagRunFacts, dag_run_facts
from airflow_magnus.ui.responses import PageError
from airflow_magnus.ui.run_stores import header_of_dag_run, open_stores, stores_unreadable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FailedStep:
    """A step of the earlier run that failed."""

    name: str
    message: str


@dataclass(frozen=True)
class Rerun:
    """What the page shows.

    :param run_id: the earlier run's id in the run log.
    :param conf: of the DAG run that would be started.
    :param has_changed: whether the pipeline has changed since, as far as Airflow has read its file.
    :param going_on: DAG runs that take up the same run and have not ended.
    """

    facts: DagRunFacts
    run_id: str
    plan: RerunPlan
    failed: tuple[FailedStep, ...]
    conf: Mapping[str, Any]
    has_changed: bool
    going_on: tuple[str, ...]

    @property
    def totals(self) -> str:
        """Steps and bytes, in one sentence."""
        return totals(self.plan.decisions)

    @property
    def note(self) -> str:
        """The plan as the new DAG run's note."""
        return plan_note(self.plan, self.run_id)

    @property
    def digest(self) -> str:
        """Tells this plan from another one."""
        return hashlib.sha256(plan_text(self.plan, self.run_id).encode()).hexdigest()


def look(dag_id: str, run_id: str, wanted: str = "") -> Rerun:
    """Plan the re-run of a failed DAG run. Cost: as of ``plan_of_rerun``, and 2 requests.

    :param wanted: the run log's id of the run, where the link knows it.
    :raises PageError: when it cannot be planned, with what can be done.
    """
    facts = dag_run_facts(dag_id, run_id)
    _refuse_unless_failed(facts)
    try:
        services = open_stores(facts.description)
        earlier = header_of_dag_run(services.run_log, wanted, facts.scoped_dag_id, run_id)
        _refuse_own_parameter(earlier)
        document = services.run_log.read(earlier.run_id)
        if document.status == "PROCESSING":
            raise _not_closed(earlier.run_id)
        plan = _plan(earlier, services)
    except MagnusError as error:
        log.warning("the re-run of %s %s cannot be planned", dag_id, run_id, exc_info=error)
        raise stores_unreadable(error) from error
    return Rerun(
        facts=facts,
        run_id=earlier.run_id,
        plan=plan,
        failed=tuple(_failed(document)),
        conf={USE_CACHED: earlier.run_id, **_parameters(earlier, facts.defaults)},
        has_changed=facts.description.dag_hash not in ("", earlier.dag_hash),
        going_on=tuple(
            name for name, c in facts.unfinished.items() if c.get(USE_CACHED) in (earlier.run_id, run_id)
        ),
    )


def _refuse_unless_failed(facts: DagRunFacts) -> None:
    if facts.state in ("queued", "running"):
        raise PageError(
            409, f"Run {facts.run_id} still goes on", "Wait until it has ended, then reload this page."
        )
    if facts.state != "failed":
        raise PageError(
            409,
            f"Run {facts.run_id} succeeded",
            "There is nothing to take up. To run the pipeline again, trigger the DAG.",
        )


def _refuse_own_parameter(earlier: RunHeader) -> None:
    if USE_CACHED in earlier.parameters:
        raise PageError(
            409,
            f"The pipeline has a parameter {USE_CACHED} of its own",
            "So a run of it cannot be told to take up another one. Rename the parameter, or clear the failed tasks.",
        )


def _not_closed(run_id: str) -> PageError:
    return PageError(
        409,
        "The run log of this run is not closed",
        f"The DAG run has ended, but its task at the end was stopped before it could close run log {run_id}. "
        "Clear that task (it is called as the pipeline's fail node) and wait until it has failed again, or use "
        "the command magnus runlog repair; then reload this page.",
    )


def _plan(earlier: RunHeader, services: OpenServices) -> RerunPlan:
    """The plan of a run that gives no parameters of its own, of the pipeline as the earlier run had it."""
    new = earlier.model_copy(update={"parameters": {}})
    try:
        return plan_of_rerun(new, earlier.run_id, services)[1]
    except RunNotFoundError as error:
        raise PageError(409, "This run cannot be taken up", str(error)) from error


def _parameters(earlier: RunHeader, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The earlier run's initial values that the trigger form would have to be given again."""
    return {
        name: earlier.parameters[name]
        for name in defaults
        if name in earlier.parameters and earlier.parameters[name] != defaults[name]
    }


def _failed(document: RunLog) -> Iterator[FailedStep]:
    """The steps that failed, those in branches instead of the composite step around them."""
    todo: list[StepLog] = list(document.steps.values())
    while todo:
        step = todo.pop(0)
        if step.status != "FAIL":
            continue
        inside = [inner for branch in step.branches.values() for inner in branch.steps.values()]
        if any(inner.status == "FAIL" for inner in inside):
            todo = inside + todo
            continue
        messages = [step.message, *(attempt.message for attempt in reversed(step.attempts))]
        yield FailedStep(step.internal_name, next((text for text in messages if text), ""))
