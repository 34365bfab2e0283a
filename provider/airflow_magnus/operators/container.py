"""Steps in a container, over the docker provider's operator; imported only where a pipeline has one."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from airflow_magnus.errors import MissingExtraError, StepFailedError
from airflow_magnus.operators.commands import CommandStep, ended
from airflow_magnus.operators.environment import scratch_folder
from airflow_magnus.operators.jobs import Job, Shared
from airflow_magnus.operators.processes import Output
from airflow_magnus.operators.session import StepSession

try:
    from airflow.providers.common.compat.sdk import AirflowException
    from airflow.providers.docker.exceptions import DockerContainerFailedException
    from airflow.providers.docker.operators.docker import DockerOperator
    from docker.errors import APIError, NotFound
    from docker.types import Mount
except ImportError as error:
    raise MissingExtraError("a step in a container", "container") from error

_GRACE = 3
"""Seconds that a container has to end after SIGTERM; Airflow kills the task itself after five."""
_OF_THE_STEP = "the step's own keys say it"
_NO_RESULT = "parameters come from the file of output parameters, files from the catalog"
CHOSEN: Mapping[str, str] = {
    "image": _OF_THE_STEP,
    "command": _OF_THE_STEP,
    "private_environment": "name secrets in command_config.secrets",
    "skip_on_exit_code": "a step succeeds or fails; let on_failure name what follows a failure",
    "xcom_all": _NO_RESULT,
    "retrieve_output": _NO_RESULT,
    "retrieve_output_path": _NO_RESULT,
}
"""Arguments of Airflow's operator that ``optional_docker_args`` may not hold, and why."""
DOCKER_ARGUMENTS = frozenset(inspect.signature(DockerOperator.__init__).parameters) - {
    "self",
    "kwargs",
    *CHOSEN,
}
"""What ``optional_docker_args`` may hold."""
_UNSEEN = (
    "bind source path does not exist",
    "invalid mount config",
    "mounts denied",
    "no such file or directory",
)
_UNSTARTABLE = ("executable file not found", "no such file or directory: unknown", "exec:")


class DockerStep(CommandStep, DockerOperator):
    """Runs a job in a container of an image.

    The container has the network of the host and the worker's user, so that its files are the worker's own;
    ``docker_arguments`` may say otherwise, with ``user: ""`` for the image's own user.

    :param docker_arguments: arguments of Airflow's DockerOperator, over those that this class chooses.
    :param environment: variables of the container; those of the step win.
    """

    template_fields = ("image", "command")
    template_fields_renderers: ClassVar[dict[str, str]] = {"command": "bash"}
    template_ext = ()
    user: Any
    working_dir: Any
    entrypoint: Any
    labels: Any

    def __init__(
        self,
        *,
        image: str,
        job: Job,
        shown: str = "",
        environment: Mapping[str, str] | None = None,
        docker_arguments: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        given = dict(docker_arguments or {})
        self._arguments = dict(given)
        self._own_variables = {**(environment or {}), **(given.pop("environment", None) or {})}
        self._own_mounts = list(given.pop("mounts", None) or [])
        chosen = {"network_mode": "host", "mount_tmp_dir": False, "auto_remove": "force"}
        super().__init__(image=image, command=shown or None, **{**chosen, **given}, **kwargs)
        self.job = job
        self._shown = shown or None
        self._own_user = self.user
        self._engine: _Engine | None = None

    @property
    def cli(self) -> Any:
        """The engine."""
        if self._engine is None:
            self._engine = _Engine(self.hook.api_client)
        return self._engine

    @property
    def image_id(self) -> str | None:
        """The id of the image that ran, for the run log."""
        return self._ran_image

    _ran_image: str | None = None

    def known_by(self) -> dict[str, Any]:
        """Beside image and command what else was asked for."""
        return {**super().known_by(), "environment": self._own_variables, "arguments": self._arguments}

    def prepare(self, session: StepSession) -> None:
        """Share folders with the container, and give it its command and environment.

        :raises StepFailedError: when no engine answers.
        """
        self._engine = None
        try:
            is_rootless = self._is_rootless()
            parent = self.step.workspace.parent or Path(scratch_folder())
            self.job.open(session, self.child_environment, parent)
            self._set_up(is_rootless, session)
        except BaseException:
            self._take_down()
            raise

    def _is_rootless(self) -> bool:
        try:
            options = self.cli.info().get("SecurityOptions") or []
        except (AirflowException, APIError, OSError) as error:
            raise StepFailedError(
                f"no container engine answers at {self._address}: start Docker there, or name another engine by the "
                "environment variable DOCKER_HOST or by docker_url in optional_docker_args"
            ) from error
        return any("rootless" in str(option) for option in options)

    def _set_up(self, is_rootless: bool, session: StepSession) -> None:
        job = self.job
        self.command, self.working_dir = job.arguments, job.working_dir or self.working_dir
        self.entrypoint = job.entrypoint or self.entrypoint
        self.mounts = [*self._own_mounts, *(_mount(shared) for shared in job.shares)]
        own = {} if self._own_user is not None or os.getuid() == 0 else {"HOME": "/tmp"}
        self.environment = {**own, **self._own_variables, **job.environment}
        self._private_environment = dict(job.secrets)
        if self._own_user is None:
            self.user = "0:0" if is_rootless else f"{os.getuid()}:{os.getgid()}"
        else:
            self.user = self._own_user or None
            self._let_others_write()
        self.labels = self.labels or {
            "airflow-magnus.run-id": session.header.run_id,
            "airflow-magnus.step": self.step_name,
        }

    def _let_others_write(self) -> None:
        for shared in self.job.shares:
            if shared.is_own or (self.step.workspace.is_private and not shared.is_read_only):
                shared.folder.chmod(0o777)

    def execute(self, context: Any) -> None:
        """Run the container to its end; what it says is shown, and its last lines are remembered."""
        try:
            super().execute(context)
        except APIError as error:
            raise StepFailedError(self._explained(error)) from error

    def finish(self) -> None:
        """Take what the container has left; close what was opened."""
        try:
            if self._engine is not None and self._engine.status == 0:
                self.job.give(self._current)
        finally:
            self._take_down()

    def _take_down(self) -> None:
        self.job.close()
        self._private_environment = {}
        self.command = self._shown
        if self._engine is not None:
            self._ran_image = self._engine.image_id
            self._engine.close()

    def failure_message(self, error: BaseException) -> str:
        """The exit status and the last lines of output."""
        engine = self._engine
        if isinstance(error, DockerContainerFailedException) and engine is not None and engine.status:
            how = ended(engine.status).replace("command", f"container of {self.image}", 1)
            memory = " (it needed more memory than it may have)" if engine.is_out_of_memory else ""
            return "\n".join([how + memory, *engine.output.tail])
        return super().failure_message(error)

    @property
    def _address(self) -> str:
        return self.docker_url if isinstance(self.docker_url, str) else ", ".join(self.docker_url)

    def _explained(self, error: APIError) -> str:
        said = str(error.explanation or error)
        if any(str(shared.folder) in said for shared in self.job.shares) and any(t in said for t in _UNSEEN):
            return (
                f"the container engine at {self._address} does not see this machine's folders ({said}): it runs "
                "elsewhere, or this is a container itself. Share a folder at the same path and name it: "
                "[magnus] work_folder on Airflow, TMPDIR for magnus execute"
            )
        if any(text in said for text in _UNSTARTABLE):
            program = (self.job.entrypoint or ["its command"])[0]
            return f"image {self.image!r} cannot run {program}: {said}"
        if error.status_code == 404:
            return f"image {self.image!r} cannot be found or pulled: {said}"
        return f"the container engine at {self._address} answered: {said}"


class _Engine:
    """The engine's client for one container: remembers how it ended and what it said, and bears its being gone."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.output = Output()
        self.status: int | None = None
        self.image_id: str | None = None
        self.is_out_of_memory = False
        self._stream: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def attach(self, container: str, **kwargs: Any) -> Iterator[bytes]:
        """Show the output; nothing of it is kept but its end."""
        self.output = Output()
        self._stream = self._client.attach(container, **kwargs)
        self.image_id = self._client.inspect_container(container).get("Image")
        return self._shown()

    def _shown(self) -> Iterator[bytes]:
        for data in self._stream:
            self.output.write(data)
        self.output.end()
        yield from ()

    def wait(self, container: str) -> Any:
        """The container's exit status."""
        result = self._client.wait(container)
        self.status = int(result["StatusCode"])
        if self.status:
            with suppress(APIError):
                state = self._client.inspect_container(container)["State"]
                self.is_out_of_memory = bool(state.get("OOMKilled"))
        return result

    def stop(self, container: str) -> None:
        """Stop the container, within what Airflow allows."""
        with suppress(NotFound):
            self._client.stop(container, timeout=_GRACE)

    def remove_container(self, container: str, **kwargs: Any) -> None:
        """Remove the container, unless somebody has, or does."""
        try:
            self._client.remove_container(container, **kwargs)
        except APIError as error:
            if error.status_code not in (404, 409):
                raise

    def close(self) -> None:
        """Close the connections."""
        if self._stream is not None:
            with suppress(OSError):
                self._stream.close()
        self._client.close()


def _mount(shared: Shared) -> Mount:
    return Mount(shared.target, str(shared.folder), type="bind", read_only=shared.is_read_only)
