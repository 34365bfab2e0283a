"""Notebook steps, over the papermill provider's operator; imported only where a pipeline has one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_magnus.errors import MissingExtraError, StepFailedError
from airflow_magnus.operators.calling import cell_parameters, executed_copy
from airflow_magnus.operators.commands import CommandStep
from airflow_magnus.operators.session import StepSession
from airflow_magnus.runlog.definition import items_around

try:
    from airflow.providers.papermill.operators.papermill import PapermillOperator
except ImportError as error:
    raise MissingExtraError("a notebook step", "notebook") from error


class NotebookStep(CommandStep, PapermillOperator):
    """Runs a notebook: parameters come in by a new cell behind the one tagged ``parameters``, out by the API.

    The executed copy goes into the catalog under its own name.

    :param command: path of the notebook.
    :param output: path of the executed copy; None: ``<name>_out.ipynb``. Inside maps the items are added to its name.
    """

    template_fields = ("command", "output_path")
    reads_environment = False

    def __init__(
        self, *, command: str, output: str | None = None, kernel: str | None = None, **kwargs: Any
    ) -> None:
        self.command = command
        self._output = output
        self.output_path = executed_copy(command, output)
        super().__init__(
            input_nb=command, output_nb=self.output_path, kernel_name=kernel, log_output=True, **kwargs
        )

    def prepare(self, session: StepSession) -> None:
        """Give the notebook those of its parameters that can be variables.

        :raises StepFailedError: when there is no such notebook.
        """
        if not Path(self.command).is_file():
            raise StepFailedError(
                f"there is no notebook {self.command!r} in {Path.cwd()}: write its path from the pipeline's folder"
            )
        self.parameters = cell_parameters(session.parameters)
        items = items_around(session.header, session.opened.step.internal_name)
        self.output_path = executed_copy(self.command, self._output, items)
        self.input_nb, self.output_nb = self.command, self.output_path
        Path(self.output_path).parent.mkdir(parents=True, exist_ok=True)

    def process_environment(self, own: Mapping[str, str]) -> Mapping[str, str]:
        """The kernel inherits this process's environment: it must be one that is fit for children."""
        return self.child_environment

    def finish(self) -> None:
        """Close the event loop that papermill leaves open in this process."""
        import asyncio

        from jupyter_core.utils import ensure_event_loop

        ensure_event_loop().close()
        asyncio.set_event_loop(None)

    def collect(self, session: StepSession, result: Any) -> None:
        """Keep the executed notebook, unless the step's own patterns do."""
        path = session.workspace.folder / self.output_path
        if not path.resolve().is_relative_to(session.workspace.data.resolve()):
            session.call("put_in_catalog", {"path": str(path), "name": path.name})
