"""What a re-run would do, without running."""

from __future__ import annotations

from airflow_magnus.dags.builder import loaded
from airflow_magnus.dags.embedded import Execution
from airflow_magnus.hooks.services import ServiceSources, open_services
from airflow_magnus.operators.rerun import plan_of_rerun
from airflow_magnus.runlog.records import RunHeader
from airflow_magnus.runlog.rerun import RerunPlan


def plan(execution: Execution, earlier: str, *, of_airflow: bool = False) -> tuple[RunHeader, RerunPlan]:
    """The earlier run, and what a re-run of it would do. Reads the run log and the catalog, writes nothing.

    :param execution: of the new run.
    :param of_airflow: take the services as a task of this Airflow does: connections where no file names a service.
    :raises RunNotFoundError: when there is no such run, or it still goes on.
    """
    pipeline = execution.pipeline
    if of_airflow:
        _, sources = loaded(pipeline.path)
    else:
        sources = ServiceSources(execution.services, {}, execution.folder, uses_airflow=False)
    header = RunHeader(
        run_id="",
        token="",
        dag_hash=pipeline.dag_hash,
        pipeline=pipeline.name,
        parameters=dict(execution.parameters),
        given=list(execution.given),
        definition=dict(pipeline.definition),
        sub_definitions={name: dict(section) for name, section in pipeline.sub_definitions.items()},
    )
    return plan_of_rerun(
        header, earlier, open_services(sources), new_parameters_win=execution.new_parameters_win
    )
