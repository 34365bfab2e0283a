"""Base of the tasks that run nothing of the user's: they keep the run log and decide where the way goes on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator

from airflow_magnus.errors import TerminalError
from airflow_magnus.hooks.description import describe
from airflow_magnus.hooks.services import OpenServices, ServiceSources, open_for_record
from airflow_magnus.operators.identity import code_identities
from airflow_magnus.operators.place import StepPlace
from airflow_magnus.operators.run import RunSettings, header_of
from airflow_magnus.operators.states import STATUS_OF, task_states
from airflow_magnus.runlog.outline import outline
from airflow_magnus.runlog.records import CodeIdentity, RunHeader


def reopen(
    task: Any, run: RunSettings, context: Any, services: OpenServices, header: RunHeader
) -> Callable[[], Any] | None:
    """Let the run log of a run that has ended and was cleared say that it goes on.

    :returns: when the task was cleared alone, what it has to call at its end: no end of the run stands behind it then
        that would end the run log again.
    """
    if not getattr(context["dag_run"], "clear_number", 0):
        return None
    services.run_log.reopen(header.run_id)
    ends = [t for t in task.dag.tasks if getattr(t, "run_settings", None) == run and t.deciding]
    states = task_states(context, [end.task_id for end in ends])
    decided = next((end for end in ends if states.get(end.task_id) in end.deciding), None)
    return None if decided is None else functools.partial(decided.end_again, context, services, header)


class RecordTask(BaseOperator):
    """A task of the pipeline itself.

    :param place: where the step stands that it belongs to.
    """

    deciding: frozenset[str] = frozenset()
    """Of the ends of a run: states of the task with which it has said how the run went."""
    is_description = False
    """Whether the task tells the pages in Airflow's UI where the run log is, by the DAG in Airflow's database."""

    _to_end: Callable[[], Any] | None = None

    def __init__(
        self, *, place: StepPlace, services: ServiceSources, run: RunSettings, **kwargs: Any
    ) -> None:
        if self.is_description:
            kwargs["doc_json"] = describe(
                services,
                dag_hash=run.dag_hash,
                scope=run.scope,
                pipeline=run.pipeline,
                outline=outline(run.definition, run.sub_definitions),
            )
        super().__init__(**kwargs)
        self.place = place
        self.services = services
        self.run_settings = run

    def execute(self, context: Any) -> Any:
        """Do what the task is for; when it was cleared alone after its run had ended, end the run log again."""
        try:
            return self.record(context)
        finally:
            if self._to_end is not None:
                self._to_end()

    def record(self, context: Any) -> Any:
        """What the task is for."""
        raise NotImplementedError

    def open(self, context: Any) -> tuple[OpenServices, RunHeader]:
        """The services, and the run that this task belongs to."""
        services = open_for_record(self.services)
        try:
            header = header_of(self.run_settings, services, context, is_lenient=True)
        except TerminalError as error:
            raise AirflowFailException(str(error)) from error  # trying again gives the same result
        self.magnus_run_id = header.run_id
        self._to_end = reopen(self, self.run_settings, context, services, header)
        return services, header

    def identities(self, context: Any) -> list[CodeIdentity]:
        """Which code this was."""
        return code_identities(self.services.folder or Path.cwd(), context)


def statuses_of(
    tasks: Mapping[str, str], states: Mapping[str, str], map_index: int | None = None
) -> dict[str, str]:
    """Statuses of steps by the states of their tasks: name → ``SUCCESS`` or ``FAIL``; of those that ran only.

    :param tasks: name of a step → its task.
    """
    suffix = "" if map_index is None else f"_{map_index}"
    found = {name: STATUS_OF.get(states.get(task_id + suffix, "")) for name, task_id in tasks.items()}
    return {name: status for name, status in found.items() if status is not None}
