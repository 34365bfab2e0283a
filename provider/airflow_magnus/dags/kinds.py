"""Which operator runs which kind of step."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from airflow_magnus.errors import Fault, PipelineError
from airflow_magnus.pipeline.model import Step, TaskStep

Maker = Callable[..., Any]


def _python(node: TaskStep, /, **kwargs: Any) -> Any:
    from airflow_magnus.operators.commands import PythonStep

    return PythonStep(command=node.command, **kwargs)


def _lambda(node: TaskStep, /, **kwargs: Any) -> Any:
    from airflow_magnus.operators.commands import LambdaStep

    return LambdaStep(command=node.command, **kwargs)


def _shell(node: TaskStep, /, **kwargs: Any) -> Any:
    from airflow_magnus.operators.commands import ShellStep

    return ShellStep(command=node.command, **kwargs)


def _notebook(node: TaskStep, /, **kwargs: Any) -> Any:
    from airflow_magnus.operators.notebook import NotebookStep

    config = node.command_config
    return NotebookStep(
        command=node.command,
        output=config.get("notebook_output_path"),
        kernel=config.get("kernel"),
        **kwargs,
    )


MAKERS: Mapping[str, Maker] = {
    "python": _python,
    "python-lambda": _lambda,
    "shell": _shell,
    "notebook": _notebook,
}
"""Command type → what makes its operator. Other packages add theirs by entry points ``airflow_magnus.commands``."""


def make_task(node: Step, /, **kwargs: Any) -> Any:
    """The operator of one task or as-is step.

    :raises PipelineError: when this installation cannot run the step.
    """
    if not isinstance(node, TaskStep):
        from airflow_magnus.operators.commands import AsIsStep

        return AsIsStep(**kwargs)
    maker = MAKERS.get(node.command_type) or _third_party(node.command_type)
    if maker is None:
        raise _refused(node, f"command type {node.command_type!r} cannot be run yet: use {', '.join(MAKERS)}")
    try:
        return maker(node, **kwargs)
    except ImportError as error:
        raise _refused(node, str(error)) from error


def doc_of(step: Step) -> str:
    """What the task's page says of the step."""
    lines = [f"**{step.name}** ({step.kind})"]
    if isinstance(step, TaskStep):
        lines += ["", f"`{step.command_type}`", "", "```", step.command, "```"]
    for label, patterns in (("gets", step.catalog.get), ("puts", step.catalog.put)):
        if patterns:
            lines += ["", f"{label}: " + ", ".join(f"`{shlex.quote(p)}`" for p in patterns)]
    return "\n".join(lines)


def _third_party(command_type: str) -> Maker | None:
    for entry in entry_points(group="airflow_magnus.commands", name=command_type):
        maker: Maker = entry.load()
        return maker
    return None


def _refused(step: Step, message: str) -> PipelineError:
    return PipelineError([Fault(step.position, f"dag.steps.{step.internal_name}", message)])
