"""Where a step runs: which operator the executor of a pipeline's files asks for."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.operators.settings import StepSettings
from airflow_magnus.pipeline.cursor import unknown
from airflow_magnus.pipeline.model import ServiceSettings, Step, TaskStep
from airflow_magnus.pipeline.patches import patch_of, unknown_steps

Maker = Callable[..., Any]
_MERGED = ("environment", "optional_docker_args")


def executor_of(step: StepSettings) -> ServiceSettings:
    """The executor that the files name; ``local`` when they name none."""
    return step.services.settings.get("executor") or ServiceSettings("local")


def settings_of(node: Step, executor: ServiceSettings) -> dict[str, Any]:
    """The executor's settings for one step: its own keys win, mappings are laid over each other."""
    own = node.executor_config.get(executor.type, {})
    settings = {**executor.config, **own}
    for key in _MERGED:
        if key in settings:
            settings[key] = {**(executor.config.get(key) or {}), **(own.get(key) or {})}
    return settings


def runs_in_container(node: TaskStep, executor: ServiceSettings) -> bool:
    """Whether the executor runs this step in a container, whatever its command type."""
    if executor.type not in ("local-container", "k8s-job"):
        return False
    return str(settings_of(node, executor).get("run_in_local", False)).lower() != "true"


def image_task(node: TaskStep, /, **kwargs: Any) -> Any:
    """The operator of a step of the command type ``container``."""
    from airflow_magnus.operators.jobs import ImageJob

    config = {key: value for key, value in node.command_config.items() if value is not None}
    image = config.pop("image")
    command = node.command or str(config.get("command", ""))
    try:
        shlex.split(command)
    except ValueError as error:
        raise ConfigurationError(f"the command {command!r} cannot be split into words: {error}") from error
    return _in_container(node, image, ImageJob(**{**config, "command": command}), command, kwargs)


def command_task(node: TaskStep, /, **kwargs: Any) -> Any:
    """The operator of a step of another command type, in a container of the executor's image."""
    from airflow_magnus.operators.boxed import COMMANDS, CommandJob

    executor = executor_of(kwargs["step"])
    if node.command_type not in COMMANDS:
        raise ConfigurationError(
            f"command type {node.command_type!r} cannot be run by the executor {executor.type}: "
            f"write executor_config: {{{executor.type}: {{run_in_local: true}}}} on this step"
        )
    job = CommandJob(
        node.command_type,
        node.command,
        node.command_config,
        kwargs["step"].workspace,
        can_call=executor.type != "k8s-job",
    )
    image = settings_of(node, executor).get("docker_image", "")
    return _in_container(node, image, job, node.command, kwargs)


def _in_container(node: TaskStep, image: str, job: Any, shown: str, kwargs: dict[str, Any]) -> Any:
    executor = executor_of(kwargs["step"])
    settings = settings_of(node, executor)
    if executor.type == "k8s-job" and runs_in_container(node, executor):
        raise ConfigurationError("the executor k8s-job cannot be used yet: write local-container")
    from airflow_magnus.operators.container import DockerStep

    arguments = settings.get("optional_docker_args") or {}
    _check_docker_arguments(arguments)
    try:
        return DockerStep(
            image=image,
            job=job,
            shown=shown,
            environment=settings.get("environment"),
            docker_arguments=arguments,
            **kwargs,
        )
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"optional_docker_args: {error}") from error


def _check_docker_arguments(arguments: Mapping[str, Any]) -> None:
    from airflow_magnus.operators.container import CHOSEN, DOCKER_ARGUMENTS

    for name in arguments:
        if name in CHOSEN:
            raise ConfigurationError(f"optional_docker_args: {name!r} cannot be set: {CHOSEN[name]}")
        if name not in DOCKER_ARGUMENTS:
            raise ConfigurationError(
                f"optional_docker_args: {unknown('argument of DockerOperator', name, DOCKER_ARGUMENTS)}"
            )


def patched(node: Step, step: StepSettings) -> Step | Mapping[str, Any]:
    """What the executor ``mocked`` makes of a step: another step to run, or the parameters that it sets unrun.

    :raises ConfigurationError: when a patch is of a step that the pipeline has not.
    """
    patches = executor_of(step).config.get("patches") or {}
    faults = unknown_steps(patches, step.run.definition)
    if faults:
        raise ConfigurationError(f"executor.config.patches: {'; '.join(faults)}")
    patch = patch_of(patches, node.internal_name, node.name) or {}
    if "command" not in patch:
        return dict(patch.get("returns") or {})
    command = {
        "command": patch["command"],
        "command_type": patch.get("command_type") or getattr(node, "command_type", "python"),
        "command_config": patch.get("command_config") or getattr(node, "command_config", {}),
    }
    if isinstance(node, TaskStep):
        return replace(node, **command)
    common = {field.name: getattr(node, field.name) for field in fields(Step)}
    return TaskStep(**{**common, "kind": "task"}, **command)
