"""Ask Airflow for the states of a run's tasks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

STATUS_OF = {"success": "SUCCESS", "failed": "FAIL"}
"""State of a step's task → status of the step; with any other state the step did not run."""
_MOST_NAMED = 100
"""Task ids that fit into the address of one request."""


def task_states(context: Any, task_ids: Iterable[str], map_index: int | None = None) -> dict[str, str]:
    """States of tasks of this DAG run: task id → state; of a mapped one ``<task id>_<index>``.

    Cost: 1 call of the execution API.

    :param map_index: ask only for the mapped tasks of this index; None: for all.
    """
    ti = context["ti"]
    wanted = list(task_ids)
    if not wanted:
        return {}
    named = wanted if len(wanted) <= _MOST_NAMED else None
    found = ti.get_task_states(dag_id=ti.dag_id, task_ids=named, run_ids=[ti.run_id], map_index=map_index)
    states = found.get(ti.run_id, {})
    return {task_id: str(state) for task_id, state in states.items() if state is not None}
