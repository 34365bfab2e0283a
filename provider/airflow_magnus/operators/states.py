"""Ask Airflow for the states of a run's tasks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def task_states(context: Any, task_ids: Iterable[str]) -> dict[str, str]:
    """States of unmapped tasks of this DAG run: task id → state. Cost: 1 call of the execution API."""
    ti = context["ti"]
    wanted = list(task_ids)
    if not wanted:
        return {}
    found = ti.get_task_states(dag_id=ti.dag_id, task_ids=wanted, run_ids=[ti.run_id])
    return {task_id: str(state) for task_id, state in found.get(ti.run_id, {}).items() if state is not None}
