"""Ask Airflow's metadata database how a run ended, for a run log that does not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_magnus.errors import RunNotFoundError
from airflow_magnus.operators.states import STATUS_OF
from airflow_magnus.pipeline.identifiers import own_id, task_id_of
from airflow_magnus.runlog.records import COMPOSITE_TYPES, RunLog, StepIdentity
from airflow_magnus.stores.runlogs import RunLogStore


def repair(store: RunLogStore, wanted: str) -> tuple[RunLog, str]:
    """Bring a run log in line with Airflow, when its run has ended; may be done at any time.

    :returns: the run log, and a sentence for people.
    :raises RunNotFoundError: when there is no such run.
    """
    log = store.find(wanted)  # ends that of a command line's run whose process is gone
    scheduler = store.header(log.run_id).scheduler
    if scheduler.get("type") != "airflow":
        return log, f"run {log.run_id} was no run of Airflow's: its run log says {log.status}"
    dag_id, run_id = scheduler.get("airflow_dag_id", scheduler["dag_id"]), scheduler["run_id"]
    state, states = _states(dag_id, run_id)
    if state is None:
        repaired = store.repair(log.run_id, {}, "")
        return (
            repaired,
            f"Airflow has no run {run_id!r} of DAG {dag_id!r} any more: run {log.run_id} is {repaired.status}",
        )
    if state not in STATUS_OF:
        raise RunNotFoundError(
            f"run {log.run_id!r} still goes on: Airflow's run {run_id!r} of DAG {dag_id!r} is {state}; "
            "repair it when it has ended"
        )
    statuses = {key: STATUS_OF[value] for key, value in states.items() if value in STATUS_OF}
    scope = scheduler["dag_id"].removeprefix(dag_id).removeprefix(".")
    top = top_tasks(store.header(log.run_id).definition, scope)
    repaired = store.repair(log.run_id, statuses, STATUS_OF[state], top)
    return repaired, f"run {log.run_id} is {repaired.status}, as Airflow's run {run_id!r} of DAG {dag_id!r}"


def top_tasks(definition: Mapping[str, Any], scope: str) -> list[tuple[StepIdentity, str]]:
    """The steps of a pipeline's own graph, each with the task whose state is the step's; as the factory names them.

    :param scope: the task group that the pipeline is built in; "" for a DAG of its own.
    """
    prefix = f"{scope}." if scope else ""
    found = []
    for name, step in definition.get("steps", {}).items():
        task_id = prefix + task_id_of(name)
        if step["type"] in COMPOSITE_TYPES:
            inner = step["branch"]["steps"] if step["type"] == "map" else step.get("branches") or {}
            task_id += f".{own_id('end', inner)}"
        identity = StepIdentity(name=name, internal_name=name, step_type=step["type"])
        # The fail node has done its work when its task has failed.
        if step["type"] != "fail":
            found.append((identity, task_id))
    return found


def _states(dag_id: str, run_id: str) -> tuple[str | None, dict[tuple[str, int], str]]:
    """State of a DAG run, None when there is none, and of its tasks: task id and map index → state."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        state = session.scalar(select(DagRun.state).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        rows = session.execute(
            select(TaskInstance.task_id, TaskInstance.map_index, TaskInstance.state).where(
                TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id
            )
        ).all()
    states = {(task_id, map_index): str(value) for task_id, map_index, value in rows if value is not None}
    return (None if state is None else str(getattr(state, "value", state))), states
