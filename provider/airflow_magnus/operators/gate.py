"""The edge from a failed step to its handler."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator

from airflow_magnus.operators.states import task_states


class FailureGate(BaseOperator):
    """Opens when its step has failed, and is skipped when the step never ran.

    Airflow's ``all_failed`` also holds for a step that did not run because of a failure before it.

    :param step_task_id: the step's task.
    """

    ui_color = "#f7e6d5"

    def __init__(self, *, step_task_id: str, **kwargs: Any) -> None:
        super().__init__(trigger_rule="all_failed", **kwargs)
        self.step_task_id = step_task_id

    def execute(self, context: Any) -> None:
        """Let the handler run.

        :raises AirflowSkipException: when the step did not fail itself.
        """
        state = task_states(context, [self.step_task_id]).get(self.step_task_id)
        if state != "failed":
            raise AirflowSkipException(f"{self.step_task_id} did not fail, it is {state}")
