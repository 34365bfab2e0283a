"""Ask Airflow's metadata database about a run that has no run log."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_magnus.pipeline.identifiers import safe_run_id

_MOST = 3
"""Runs that a message speaks of: Airflow's run id may be that of a run of each DAG."""


def unbegun(wanted: str, location: str) -> str:
    """Say what Airflow knows of a run that the store at ``location`` does not have; "" when it knows nothing."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return "; ".join(_sentences(wanted, location))
    except SQLAlchemyError:  # Airflow's database is not here
        return ""


def _sentences(wanted: str, location: str) -> Iterator[str]:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import literal, or_, select

    with create_session() as session:
        like = or_(DagRun.run_id == wanted, literal(wanted).like(DagRun.dag_id + ".%"))
        rows = session.execute(
            select(DagRun.dag_id, DagRun.run_id, DagRun.state).where(like).order_by(DagRun.dag_id)
        ).all()
        found = [row for row in rows if wanted in (row.run_id, safe_run_id(f"{row.dag_id}.{row.run_id}"))]
        for dag_id, run_id, state in found[:_MOST]:
            tasks = session.execute(
                select(TaskInstance.task_id, TaskInstance.state)
                .where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
                .order_by(TaskInstance.start_date)
            ).all()
            yield _sentence(dag_id, run_id, str(state), [(task, str(its)) for task, its in tasks], location)


def _sentence(dag_id: str, run_id: str, state: str, tasks: list[tuple[str, str]], location: str) -> str:
    """What the states of a run's tasks, the first to start in front, say of why there is no run log."""
    run = f"Airflow's run {run_id!r} of DAG {dag_id!r} is {state} and has no run log in {location}: "
    states = {its for _, its in tasks}
    failed = next((task for task, its in tasks if its == "failed"), None)
    if "success" in states:
        return (
            f"{run}if its pipeline keeps run logs elsewhere, name the place by --config-file or --conn-id; "
            "else it was removed here"
        )
    if failed is not None:
        return (
            f"{run}it never began, and the log of its task {failed!r} says why (a re-run that was refused, a store that "
            "could not be opened)"
        )
    return f"{run}none of its tasks has begun it"
