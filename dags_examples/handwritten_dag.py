"""An Airflow DAG written by hand: a pipeline file as a group of tasks, and operators that are made steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

from airflow_magnus import EndOfRun, PipelineTaskGroup, StepMixin, StepSettings, get_parameter, get_run_id


class FunctionStep(StepMixin, PythonOperator):
    """Any operator becomes a step by the mixin in front of it; here the result is parameters of the steps behind."""

    result_is_parameters = True


def write_invitation(guest: str) -> dict[str, Any]:
    """Leave a file in the compute data folder; the step puts it into the catalog."""
    Path("data/invitation.txt").write_text(f"Dear {guest}, please come.\n")
    return {"invited": guest}


def read_invitation() -> None:
    """Find the file that the step has got from the catalog, and what the step before has returned."""
    text = Path("data/invitation.txt").read_text()
    assert get_parameter("invited") in text, f"run {get_run_id()} has mixed up its guests"


with DAG(
    dag_id="handwritten",
    description="A pipeline file and steps of other operators in one DAG",
    schedule=None,
    tags=["magnus", "example"],
):
    orders = PipelineTaskGroup("pipelines/failure-handling.yaml", group_id="orders")
    write = FunctionStep(
        task_id="write_invitation",
        python_callable=write_invitation,
        op_kwargs={"guest": "Ada"},
        step=StepSettings(put=["*.txt"]),
    )
    read = FunctionStep(
        task_id="read_invitation",
        python_callable=read_invitation,
        step=StepSettings(get=["invitation.txt"]),
    )
    orders.success >> write >> read >> EndOfRun(task_id="end")
