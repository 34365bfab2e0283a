"""Notebook steps, over the papermill provider's operator; imported only where a pipeline has one."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_magnus.errors import MissingExtraError, StepFailedError
from airflow_magnus.operators.calling import cell_parameters, executed_copy
from airflow_magnus.operators.commands import CommandStep
from airflow_magnus.operators.environment import scratch_folder
from airflow_magnus.operators.notebook_source import fetched, local_name
from airflow_magnus.operators.session import StepSession
from airflow_magnus.pipeline.notebooks import is_remote
from airflow_magnus.runlog.definition import items_around

try:
    from airflow.providers.papermill.operators.papermill import PapermillOperator
except ImportError as error:
    raise MissingExtraError("a notebook step", "notebook") from error


class NotebookStep(CommandStep, PapermillOperator):
    """Runs a notebook: parameters come in by a new cell behind the one tagged ``parameters``, out by the API.

    The executed copy goes into the catalog under its own name.

    :param command: path of the notebook, or ``s3://…`` or ``catalog://…`` for one that is fetched.
    :param output: path of the executed copy; None: ``<name>_out.ipynb``. Inside maps the items are added to its name.
    :param conn_id: Airflow connection that opens the bucket of ``s3://…``; "": what opens the catalog does.
    """

    template_fields = ("command", "output_path")
    reads_environment = False
    _notebook = _digest = magnus_notebook = ""

    def __init__(
        self,
        *,
        command: str,
        output: str | None = None,
        kernel: str | None = None,
        conn_id: str = "",
        **kwargs: Any,
    ) -> None:
        self.command = command
        self._output, self._conn_id = output, conn_id
        self.output_path = executed_copy(local_name(command), output)
        super().__init__(
            input_nb=command, output_nb=self.output_path, kernel_name=kernel, log_output=True, **kwargs
        )

    def find(self, session: StepSession) -> None:
        """Fetch the notebook where it is no file of the working folder.

        :raises StepFailedError: when there is no such notebook.
        """
        self._notebook, self._digest = self.command, ""
        if is_remote(self.command):
            assert self._open is not None
            folder = tempfile.TemporaryDirectory(prefix="magnus-notebook-", dir=scratch_folder())
            path, self._digest = fetched(
                self.command,
                self._conn_id,
                session,
                self.step.services,
                Path(self._open.enter_context(folder)),
            )
            self._notebook = str(path)

    def known_by(self) -> dict[str, Any]:
        """A notebook that was fetched is known by its bytes."""
        return {**super().known_by(), **({"notebook": self._digest} if self._digest else {})}

    def prepare(self, session: StepSession) -> None:
        """Give the notebook those of its parameters that can be variables.

        :raises StepFailedError: when there is no such notebook.
        """
        if not Path(self._notebook).is_file():
            raise StepFailedError(
                f"there is no notebook {self.command!r} in {Path.cwd()}: write its path from the pipeline's folder"
            )
        self.parameters = cell_parameters(session.parameters)
        items = items_around(session.header, session.opened.step.internal_name)
        self.output_path = executed_copy(local_name(self.command), self._output, items)
        self.input_nb, self.output_nb = self._notebook, self.output_path
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
        data = session.workspace.data.resolve()
        if path.resolve().is_relative_to(data):
            self.magnus_notebook = path.resolve().relative_to(data).as_posix()
        else:
            session.call("put_in_catalog", {"path": str(path), "name": path.name})
            self.magnus_notebook = path.name
