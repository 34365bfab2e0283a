"""What a step tells Airflow of its files: assets, and lineage where the OpenLineage provider asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_magnus.operators.assets import outlets_of, tell_of_puts
from airflow_magnus.operators.settings import StepSettings

if TYPE_CHECKING:
    from airflow_magnus.runlog.records import AttemptClosed, RunHeader


class TellsOfFiles:
    """A part of a step.

    :ivar recorded: the attempt as the run log has it now; None while it goes on.
    """

    step: StepSettings
    outlets: list[Any]
    recorded: tuple[RunHeader, AttemptClosed] | None = None

    def expect_files(self) -> None:
        """Name the assets of the step beforehand. ``magnus execute`` has none: nobody waits for them."""
        endpoint = self.step.endpoint
        has_others = endpoint is not None and endpoint.out
        if self.step.services.uses_airflow and (self.step.put or has_others):
            expected = outlets_of(self._pipeline, self.step.put, has_others=has_others)
            self.outlets = [*self.outlets, *expected]

    @property
    def _pipeline(self) -> str:
        """Name of the pipeline, as the run log will have it; "" of a task that is in no DAG yet."""
        return self.step.run.pipeline or (self.dag_id if self.has_dag() else "")  # type: ignore[attr-defined]

    def tell_of_files(self, context: Any, header: RunHeader, closed: AttemptClosed, *, was_run: bool) -> None:
        """Tell of an attempt that has ended well.

        :param was_run: False for one that has taken over what an earlier one has made.
        """
        self.recorded = header, closed
        if self.step.services.uses_airflow:
            self.outlets = tell_of_puts(self.outlets, context, header, closed if was_run else None)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """The files that the attempt has read and written; None when there is no record of it. Of a failed one too."""
        if self.recorded is None:
            return None
        from airflow.providers.openlineage.extractors import OperatorLineage

        from airflow_magnus.operators.lineage import lineage_of

        inputs, outputs, facets = lineage_of(*self.recorded, task_instance)
        return OperatorLineage(inputs=inputs, outputs=outputs, run_facets=facets)
