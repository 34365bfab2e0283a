"""Where a step runs: which operator the executor of a pipeline's files asks for."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.operators.settings import StepSettings
from airflow_magnus.pipeline.cursor import unknown
from airflow_magnus.pipeline.model import CatalogMountRequest, MountRequest, ServiceSettings, Step, TaskStep
from airflow_magnus.pipeline.notebooks import is_remote
from airflow_magnus.pipeline.patches import patch_of, unknown_steps

Maker = Callable[..., Any]
_MERGED = ("environment", "optional_docker_args")
_NOT_OF_THE_POD = frozenset(
    [
        "docker_image",
        "enable_parallel",
        "environment",
        "mount_path",
        "optional_docker_args",
        "persistent_volume_claim",
        "run_in_local",
    ]
)


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

    kwargs["step"] = _placed(node, kwargs["step"])
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
    if node.command_type == "notebook" and is_remote(node.command):
        raise ConfigurationError(
            f"the notebook {node.command!r} is fetched by the worker, which a container does not see: put it beside the"
            f" pipeline, or write executor_config: {{{executor.type}: {{run_in_local: true}}}} on this step"
        )
    kwargs["step"] = _placed(node, kwargs["step"])
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
    make = _pod if executor.type == "k8s-job" and runs_in_container(node, executor) else _docker
    try:
        return make(node, settings, {"image": image, "job": job, "shown": shown, **kwargs})
    except ConfigurationError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"settings of the executor {executor.type}: {error}") from error


def _docker(node: TaskStep, settings: Mapping[str, Any], kwargs: dict[str, Any]) -> Any:
    from airflow_magnus.operators.container import DockerStep

    arguments = settings.get("optional_docker_args") or {}
    _check_docker_arguments(arguments)
    if isinstance(node.endpoint, MountRequest):
        raise ConfigurationError(
            _no_mount(node.endpoint, "container", "does not see what is mounted beside it")
        )
    if node.endpoint is not None and arguments.get("network_mode", "host") != "host":
        raise ConfigurationError(
            "s3 beside a container needs the network of the host: remove network_mode from optional_docker_args"
        )
    return DockerStep(environment=settings.get("environment"), docker_arguments=arguments, **kwargs)


def _no_mount(request: MountRequest, place: str, why: str) -> str:
    if isinstance(request, CatalogMountRequest):
        return f"catalog: {{mode: mount}} has no effect in a {place}, which {why}: remove mode, so that files are copied"
    return f"mount has no effect in a {place}, which {why}: let the step get and put files by catalog"


def _pod(node: TaskStep, settings: Mapping[str, Any], kwargs: dict[str, Any]) -> Any:
    from airflow_magnus.operators.pod import PodStep

    if isinstance(node.endpoint, MountRequest):
        raise ConfigurationError(_no_mount(node.endpoint, "pod", "runs on another machine than its task"))
    if node.endpoint is not None:
        raise ConfigurationError(
            "s3 cannot stand beside a pod, which runs on another machine than its task: let the step get and put files by "
            "catalog, or run it on the worker by executor_config: {k8s-job: {run_in_local: true}}"
        )
    claim, mount_path = settings.get("persistent_volume_claim", ""), settings.get("mount_path", "")
    if bool(claim) != bool(mount_path):
        raise ConfigurationError("persistent_volume_claim and mount_path belong together: write both")
    reason = _why_folder(node, kwargs["job"])
    if reason and not claim:
        raise ConfigurationError(
            f"the step {reason}, and a pod shares no folder with its worker: write persistent_volume_claim and "
            "mount_path in the config of the executor k8s-job, a claim that worker and pod both mount"
        )
    arguments = {key: value for key, value in settings.items() if key not in _NOT_OF_THE_POD}
    return PodStep(
        claim=claim,
        mount_path=mount_path,
        environment=settings.get("environment"),
        pod_arguments=arguments,
        **kwargs,
    )


def _why_folder(node: TaskStep, job: Any) -> str:
    """Why worker and container must share a folder; "" when they need not."""
    if job.needs_folder:
        return "runs Python code of the pipeline"
    if node.catalog.get or node.catalog.put:
        return "gets or puts files"
    if node.command_config.get("output_parameters_file"):
        return "sets parameters by a file"
    return ""


def _placed(node: TaskStep, step: StepSettings) -> StepSettings:
    """A step of a pod works in a copy of the pipeline's folder on the claim that both mount."""
    executor = executor_of(step)
    mount_path = settings_of(node, executor).get("mount_path")
    if executor.type != "k8s-job" or not mount_path or not runs_in_container(node, executor):
        return step
    workspace = replace(
        step.workspace,
        source=step.workspace.code or step.workspace.source,
        code=None,
        is_private=True,
        parent=Path(mount_path),
        has_links=False,  # they would lead nowhere
    )
    return replace(step, workspace=workspace)


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
