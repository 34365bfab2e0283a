"""One small operator for each kind of command, over Airflow's own."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowException, BaseOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator

from airflow_magnus.operators.calling import arguments_for, function_of, lambda_of, module_of
from airflow_magnus.operators.environment import preferred_module
from airflow_magnus.operators.processes import CommandHook
from airflow_magnus.operators.session import StepSession
from airflow_magnus.operators.step import StepMixin
from airflow_magnus.runlog.changes import lambda_arguments

_GRACE = 3
"""Seconds that a command has to end after SIGTERM; Airflow kills the task itself after five."""


class CommandStep(StepMixin):
    """A step of a pipeline file. Its texts are taken as they stand: a pipeline knows nothing of Airflow's templates."""

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Nothing is a template."""


class PythonStep(CommandStep, PythonOperator):
    """Calls a function: ``package.module.function``.

    :param command: dotted path.
    """

    template_fields = ("command",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"command": "py"}
    reads_environment = False
    result_is_parameters = True

    def __init__(self, *, command: str, **kwargs: Any) -> None:
        super().__init__(python_callable=_nothing, show_return_value_in_logs=False, **kwargs)
        self.command = command

    def execute_callable(self) -> Any:
        """Call the function with those parameters that it has arguments for."""
        with preferred_module(self.module_name.partition(".")[0], Path.cwd()):
            function = self.load()
            known = {**self._current.parameters, **self._current.variables}
            return function(**arguments_for(function, known))

    @property
    def module_name(self) -> str:
        """The module of the function; "" when the command names none."""
        return module_of(self.command)

    def load(self) -> Callable[..., Any]:
        """The function; the working folder is first on the path."""
        return function_of(self.command, self._places())

    def _places(self) -> list[str]:
        """For people: the folders that come first on the path."""
        settings = self.step.workspace
        if settings.is_private:
            return [
                f"a copy of the pipeline's folder ({settings.source})"
                if settings.source
                else "the working folder"
            ]
        folder, beside = Path.cwd(), settings.code
        other = [] if beside in (None, folder) else [f"the pipeline file's folder ({beside})"]
        return [f"the current folder ({folder})", *other]


class LambdaStep(PythonStep):
    """Evaluates the source of a lambda and calls it."""

    module_name = ""
    runs_code = False

    def parameters_read(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """The lambda's arguments."""
        names = lambda_arguments(self.command)
        return {name: v for name, v in parameters.items() if names is None or name in names}

    def load(self) -> Callable[..., Any]:
        """The lambda."""
        return lambda_of(self.command)


class ShellStep(CommandStep, BashOperator):
    """Gives a command to ``/bin/sh -c``; anything but exit 0 fails the step.

    :param command: as in the file.
    """

    template_fields = ("command",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"command": "bash"}
    template_ext = ()  # a command that ends with .sh is no template's file

    def __init__(self, *, command: str, **kwargs: Any) -> None:
        quoted = shlex.quote(command)
        super().__init__(bash_command=f"exec /bin/sh -c {quoted}", skip_on_exit_code=None, **kwargs)
        self.command = command

    def prepare(self, session: StepSession) -> None:
        """Give the command its folder and environment."""
        self.env = dict(self.child_environment)
        self.cwd = str(session.workspace.folder.resolve())

    @cached_property
    def subprocess_hook(self) -> CommandHook:
        """Runs the command."""
        return CommandHook()

    def failure_message(self, error: BaseException) -> str:
        """The exit status and the last lines of output."""
        process = self.subprocess_hook.sub_process
        if isinstance(error, AirflowException) and process is not None and process.returncode:
            return "\n".join([ended(process.returncode), *self.subprocess_hook.output.tail])
        return super().failure_message(error)

    def finish(self) -> None:
        """Leave no process behind: a command that was ended and did not end is killed."""
        process = self.subprocess_hook.sub_process
        if process is None or process.poll() is not None:
            return
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class AsIsStep(CommandStep, BaseOperator):
    """Does nothing and succeeds; gets and puts are honoured."""

    reads_environment = False
    runs_code = False

    def execute(self, context: Any) -> None:
        """Nothing."""


def ended(status: int) -> str:
    """How a command ended that did not end well; a status below 0 is a signal, as Python says it."""
    if status > 0:
        return f"command exited with status {status}"
    try:
        return f"command was ended by the signal {signal.Signals(-status).name}"
    except ValueError:
        return f"command was ended by the signal {-status}"


def _nothing() -> None:
    """What PythonOperator is given; the step finds its function when it runs."""
