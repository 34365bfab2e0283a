"""Which operator runs which kind of step."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from airflow_magnus.dags.executors import (
    Maker,
    command_task,
    executor_of,
    image_task,
    patched,
    runs_in_container,
)
from airflow_magnus.errors import ConfigurationError, Fault, PipelineError, Position
from airflow_magnus.pipeline.describe import buckets
from airflow_magnus.pipeline.model import CompositeStep, Graph, MountRequest, Step, TaskStep


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
        conn_id=config.get("conn_id", ""),
        **kwargs,
    )


MAKERS: Mapping[str, Maker] = {
    "python": _python,
    "python-lambda": _lambda,
    "shell": _shell,
    "notebook": _notebook,
    "container": image_task,
}
"""Command type → what makes its operator. Other packages add theirs by entry points ``airflow_magnus.commands``."""


def unsupported(graph: Graph) -> list[Fault]:
    """The steps of a graph that cannot be run yet; looks at no package that a step needs."""
    found: dict[Position, Fault] = {}  # the repetitions of a loop stand at one place of the file
    for step in graph.reachable:
        if isinstance(step, CompositeStep):
            for branch in step.branches.values():
                found |= {fault.position: fault for fault in unsupported(branch) if fault.position}
        elif (fault := _unsupported(step)) is not None:
            found[step.position] = fault
    return list(found.values())


def _unsupported(step: Step) -> Fault | None:
    if (
        isinstance(step, TaskStep)
        and step.command_type not in MAKERS
        and _third_party(step.command_type) is None
    ):
        return _fault(step, f"command type {step.command_type!r} cannot be run yet: use {', '.join(MAKERS)}")
    return None


def refuse_unsupported(graph: Graph) -> None:
    """Make sure that this version can run every step.

    :raises PipelineError: naming every step that it cannot.
    """
    faults = unsupported(graph)
    if faults:
        raise PipelineError(faults)


def make_task(node: Step, /, **kwargs: Any) -> Any:
    """The operator of one task or as-is step.

    :raises PipelineError: when this installation cannot run the step.
    """
    try:
        return _made(node, kwargs)
    except (ImportError, ConfigurationError) as error:
        raise PipelineError([_fault(node, str(error))]) from error


def _made(node: Step, kwargs: dict[str, Any]) -> Any:
    executor = executor_of(kwargs["step"])
    if executor.type == "mocked":
        patch = patched(node, kwargs["step"])
        if not isinstance(patch, Step):
            from airflow_magnus.operators.mocked import MockedStep

            return MockedStep(command=getattr(node, "command", ""), returns=patch, **kwargs)
        node = patch
    if not isinstance(node, TaskStep):
        from airflow_magnus.operators.commands import AsIsStep

        return AsIsStep(**kwargs)
    if node.command_type != "container" and runs_in_container(node, executor):
        return command_task(node, **kwargs)
    maker = MAKERS.get(node.command_type) or _third_party(node.command_type)
    assert maker is not None, "refuse_unsupported was not asked"
    return maker(node, **kwargs)


def doc_of(step: Step) -> str:
    """What the task's page says of the step."""
    lines = [f"**{step.name}** ({step.kind})"]
    if isinstance(step, TaskStep):
        lines += ["", f"`{step.command_type}`", "", "```", step.command, "```"]
    for label, patterns in (("gets", step.catalog.get), ("puts", step.catalog.put)):
        if patterns:
            lines += ["", f"{label}: " + ", ".join(f"`{shlex.quote(p)}`" for p in patterns)]
    if step.endpoint is not None:
        key = "mounts" if isinstance(step.endpoint, MountRequest) else "s3"
        lines += ["", f"{key}: " + ", ".join(f"`{bucket}`" for bucket in buckets(step.endpoint))]
    return "\n".join(lines)


def _third_party(command_type: str) -> Maker | None:
    for entry in entry_points(group="airflow_magnus.commands", name=command_type):
        maker: Maker = entry.load()
        return maker
    return None


def _fault(step: Step, message: str) -> Fault:
    return Fault(step.position, f"dag.steps.{step.internal_name}", message)
