"""The two ends of a pipeline: they close the run log, settle the catalog and decide the colour of the DAG run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_magnus.errors import MagnusError
from airflow_magnus.hooks.services import OpenServices, ServiceSources
from airflow_magnus.operators.links import page_path
from airflow_magnus.operators.place import StepPlace, is_written_by_hand, place_in_dag
from airflow_magnus.operators.record_task import RecordTask
from airflow_magnus.operators.run import RunSettings, scheduler_ids
from airflow_magnus.operators.states import STATUS_OF, task_states
from airflow_magnus.runlog.definition import graph_of, recorded_path
from airflow_magnus.runlog.history import StepHistory, before_first_step, visible
from airflow_magnus.runlog.records import RunHeader, StepIdentity

log = logging.getLogger(__name__)


class TerminalNode(RecordTask):
    """A success or fail node of the pipeline's own graph.

    :param steps: task id → identity of every step of the graph, to bring the run log in line with Airflow's states.
    """

    def __init__(self, *, steps: Mapping[str, StepIdentity], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps = dict(steps)

    def end_run(self, context: Any) -> dict[str, StepHistory]:
        """Record that this end was reached, and write the run's document."""
        services, header = self.open(context)
        self._reconcile(context, services, header)
        services.run_log.record(
            header.run_id,
            self.place.identity,
            str(context["ti"].id),
            scheduler_ids(context),
            status="SUCCESS",
            code_identities=self.identities(context),
        )
        return self._close(services, header)

    def end_again(self, context: Any, services: OpenServices, header: RunHeader) -> None:
        """End the run log of a run that this node has ended before, after a task was cleared or marked alone."""
        self._reconcile(context, services, header)
        identity = self.place.identity
        own = services.run_log.graph(header.run_id, "", [identity.name]).get(identity.name)
        services.run_log.reconcile(header.run_id, [(identity, own, "SUCCESS")])
        self._close(services, header)

    def _close(self, services: OpenServices, header: RunHeader) -> dict[str, StepHistory]:
        """Let the run's folder in the catalog show its final files, and write the run's document."""
        top = services.run_log.graph(header.run_id, "")
        path = recorded_path(graph_of(header, ""), top) or list(top)
        final = visible(before_first_step(header), path, top)
        try:
            services.catalog.settle(header.run_id, final.entries.values())
        except MagnusError:
            if self.place.identity.step_type == "success":
                raise
            log.exception("the run's folder in the catalog does not show its final files")
        from airflow_magnus.operators.staging import clear_run  # not where a DAG file is only parsed

        clear_run(services, self.services, header)
        document = services.run_log.write_document(header.run_id)
        log.info(
            "run %s ended: %s; its run log is at %s",
            header.run_id,
            document.status,
            services.run_log.location,
        )
        return top

    def _reconcile(self, context: Any, services: OpenServices, header: RunHeader) -> None:
        """Bring the run log in line with what Airflow says: killed attempts, tasks marked by hand."""
        states = task_states(context, self.steps)
        recorded = services.run_log.graph(header.run_id, "")
        services.run_log.reconcile(
            header.run_id,
            [
                (identity, recorded.get(identity.name), STATUS_OF[states[task_id]])
                for task_id, identity in self.steps.items()
                if states.get(task_id) in STATUS_OF
            ],
        )


class SuccessNode(TerminalNode):
    """The success node: the DAG run ends green exactly when it runs."""

    ui_color = "#dcf4e3"
    deciding = frozenset({"success"})

    def record(self, context: Any) -> None:
        """Close the run as SUCCESS."""
        self.end_run(context)


class FailNode(TerminalNode):
    """The fail node: waits until all tasks have ended, and fails when success was not reached.

    :param success_task_id: the success node's task; "" when no way leads there.
    """

    ui_color = "#fbe3e0"
    deciding = frozenset({"failed"})
    is_description = True

    def __init__(self, *, success_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.success_task_id = success_task_id

    def record(self, context: Any) -> None:
        """Close the run as FAIL, then fail the task.

        :raises AirflowSkipException: when the run succeeded.
        :raises AirflowFailException: when it did not; names the steps that failed and why.
        """
        reached = task_states(context, [self.success_task_id]) if self.success_task_id else {}
        if reached.get(self.success_task_id) == "success":
            if getattr(context["dag_run"], "clear_number", 0):
                self.open(context)  # success may have been marked: then nobody has ended the run log
            raise AirflowSkipException("the pipeline's success node was reached")
        histories = self.end_run(context)
        if self.services.uses_airflow:
            page = page_path("rerun", context["ti"].dag_id, context["ti"].run_id)
            log.info("to start again from where it failed, see the plan at %s", page)
        failed = [history for history in histories.values() if history.status == "FAIL"]
        reasons = [
            f"step {h.internal_name!r} failed: {h.latest.closed.message}" for h in failed if h.latest.closed
        ]
        raise AirflowFailException("the pipeline's fail node was reached. " + "; ".join(reasons))


class EndOfRun(TerminalNode):
    """Put behind the last steps of a DAG that is written by hand: it ends their run log as a pipeline's nodes would.

    Without it the run log of such a DAG stays open. The task, and with it the DAG run, fails when a step failed.

    :param services: as of the steps.
    """

    deciding = frozenset({"success", "failed"})

    def __init__(self, *, services: ServiceSources | None = None, **kwargs: Any) -> None:
        nowhere = StepPlace(StepIdentity(name="", internal_name="", step_type="success"))
        kwargs = {"trigger_rule": "all_done", **kwargs}
        super().__init__(
            place=nowhere, steps={}, services=services or ServiceSources(), run=RunSettings(), **kwargs
        )

    def end_again(self, context: Any, services: OpenServices, header: RunHeader) -> None:
        """Write the document anew; which step is whose is known while the node itself runs only."""
        services.run_log.write_document(header.run_id)

    def record(self, context: Any) -> None:
        """Close the run as SUCCESS or FAIL.

        :raises AirflowFailException: when a step failed; names it.
        """
        tasks = [task for task in self.get_flat_relatives(upstream=True) if is_written_by_hand(task)]
        self.steps = {task.task_id: place_in_dag(task, task.step_name).identity for task in tasks}
        states = task_states(context, self.steps)
        failed = sorted(task_id for task_id, state in states.items() if state == "failed")
        kind = "fail" if failed else "success"
        place = place_in_dag(self, kind)
        self.place = replace(place, identity=place.identity.model_copy(update={"step_type": kind}))
        self.end_run(context)
        if failed:
            raise AirflowFailException(f"steps failed: {', '.join(failed)}")
