"""One small operator for each kind of command, over Airflow's own."""

from __future__ import annotations

import ast
import importlib
import inspect
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

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.operators.environment import preferred_module
from airflow_magnus.operators.processes import CommandHook
from airflow_magnus.operators.session import StepSession
from airflow_magnus.operators.step import StepMixin

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
            return function(**arguments_for(function, self._current.parameters))

    @property
    def module_name(self) -> str:
        """The module of the function; "" when the command names none."""
        return self.command.strip().rpartition(".")[0]

    def load(self) -> Callable[..., Any]:
        """The function; the working folder is first on the path."""
        module_name, name = self.module_name, self.command.strip().rpartition(".")[2]
        if not module_name:
            raise ConfigurationError(
                f"command {self.command!r} names no module: write module.function or package.module.function"
            )
        importlib.invalidate_caches()
        module = importlib.import_module(module_name)
        try:
            function: Callable[..., Any] = getattr(module, name)
        except AttributeError:
            there = sorted(n for n, v in vars(module).items() if inspect.isfunction(v))
            raise ConfigurationError(
                f"module {module_name!r} ({module.__file__}) has no function {name!r}; it has: "
                f"{', '.join(there) or 'none'}"
            ) from None
        if not callable(function):
            raise ConfigurationError(f"{self.command!r} is not callable: it is {type(function).__name__}")
        return function


class LambdaStep(PythonStep):
    """Evaluates the source of a lambda and calls it."""

    module_name = ""

    def load(self) -> Callable[..., Any]:
        """The lambda."""
        try:
            source = ast.parse(self.command.strip(), mode="eval")
        except SyntaxError as error:
            raise ConfigurationError(f"command {self.command!r} is not an expression: {error}") from error
        function = eval(compile(source, "<python-lambda>", "eval"), {})
        if not callable(function):
            raise ConfigurationError(
                f"command {self.command!r} is not a lambda: write `lambda x: {{'y': x}}`"
            )
        called: Callable[..., Any] = function
        return called


def arguments_for(function: Callable[..., Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Of the parameters those that the function has an argument for; ``**kwargs`` gets nothing (Source: spec §7.1)."""
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    signature = inspect.signature(function)
    names = [name for name, argument in signature.parameters.items() if argument.kind in by_name]
    missing = [
        name
        for name in names
        if name not in parameters and signature.parameters[name].default is inspect.Parameter.empty
    ]
    if missing:
        raise TypeError(
            f"missing parameters: {', '.join(missing)}; this run has: {', '.join(sorted(parameters)) or 'none'}. "
            "Give them at the start, return them from a step before, or give the argument a default"
        )
    return {name: parameters[name] for name in names if name in parameters}


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
            return "\n".join([_ended(process.returncode), *self.subprocess_hook.tail])
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

    def execute(self, context: Any) -> None:
        """Nothing."""


def _ended(status: int) -> str:
    if status > 0:
        return f"command exited with status {status}"
    try:
        return f"command was ended by the signal {signal.Signals(-status).name}"
    except ValueError:
        return f"command was ended by the signal {-status}"


def _nothing() -> None:
    """What PythonOperator is given; the step finds its function when it runs."""
