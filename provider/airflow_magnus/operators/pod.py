"""Steps in a pod of Kubernetes, over the cncf.kubernetes provider's operator; imported only where a pipeline has one.

Worker and pod share a folder only where both mount one persistent volume claim: the step's working folder is made on it,
and the pod mounts no more of it than that.
"""

from __future__ import annotations

import inspect
import os
import shlex
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, ClassVar

from airflow_magnus.errors import ConfigurationError, MissingExtraError, StepFailedError
from airflow_magnus.operators.commands import CommandStep, ended
from airflow_magnus.operators.jobs import Job, Shared
from airflow_magnus.operators.session import StepSession

try:
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
    from airflow.providers.common.compat.sdk import AirflowException
    from kubernetes.client import ApiException, models
    from kubernetes.config import ConfigException
    from urllib3.exceptions import HTTPError
except ImportError as error:
    raise MissingExtraError("a step in a pod", "container") from error

_VOLUME = "magnus"
_LAST_LINES = 20
_TAKEN = frozenset(inspect.signature(KubernetesPodOperator.__init__).parameters)


class PodStep(CommandStep, KubernetesPodOperator):
    """Runs a job in a pod.

    :param claim: name of the claim that worker and pod mount; "" for none.
    :param mount_path: where the worker has mounted the whole of it.
    :param pod_arguments: arguments of Airflow's KubernetesPodOperator.
    """

    template_fields = ("image", "command", "namespace")
    template_fields_renderers: ClassVar[dict[str, str]] = {"command": "bash"}
    template_ext = ()
    annotations: Any
    container_security_context: Any

    def __init__(
        self,
        *,
        image: str,
        job: Job,
        shown: str = "",
        claim: str = "",
        mount_path: str = "",
        environment: Mapping[str, str] | None = None,
        pod_arguments: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._tail: deque[str] = deque(maxlen=_LAST_LINES)
        formatter = {"log_formatter": self._said} if "log_formatter" in _TAKEN else {}
        given = _as_models(pod_arguments or {})
        fixed: dict[str, Any] = {"deferrable": False, "log_pod_spec_on_failure": False, **formatter}
        super().__init__(image=image or None, **given, **fixed, **kwargs)
        # An attempt is a pod: that of an attempt before had another folder.
        self.durable = self.reattach_on_restart = False
        self.job = job
        self.command = shown or None
        self._claim = claim
        self._mount_path = Path(mount_path) if claim else None
        self._own_variables = dict(environment or {})
        self._own_annotations = dict(self.annotations or {})
        self._secret: tuple[str, str] | None = None

    def known_by(self) -> dict[str, Any]:
        """Beside image and command what else was asked for."""
        return {**super().known_by(), "environment": self._own_variables}

    def _said(self, _container: str, message: str) -> str:
        self._tail.append(message.rstrip())
        return message

    def _begin(self, context: Any) -> None:
        """Look for the claim first: what is not there would be made as a folder of this worker alone."""
        self._open = ExitStack()
        if self._mount_path is not None and not self._mount_path.is_dir():
            raise ConfigurationError(
                f"the claim {self._claim!r} is not mounted at {self._mount_path} on this worker: mount it there, "
                "or name the place by mount_path in the config of the executor k8s-job"
            )
        super()._begin(context)

    def prepare(self, session: StepSession) -> None:
        """Make the folders on the claim, and the arguments of the pod."""
        self._tail.clear()
        self.pod = self.pod_request_obj = self.remote_pod = None
        try:
            self.job.open(session, self.child_environment, self._mount_path)
            self._set_up(session)
        except BaseException:
            self.job.close()
            raise

    def _set_up(self, session: StepSession) -> None:
        job = self.job
        arguments = shlex.split(job.arguments) if isinstance(job.arguments, str) else job.arguments
        self.cmds, self.arguments = list(job.entrypoint or ()), list(arguments or ())
        self.env_vars = {**self._own_variables, **job.environment}
        self.annotations = {
            "airflow-magnus/run-id": session.header.run_id,
            "airflow-magnus/step": self.step_name,
            **self._own_annotations,
        }
        self.volumes = [_volume(self._claim)] if job.shares else []
        self.volume_mounts = [self._mount(shared) for shared in job.shares]
        if job.shares and self.container_security_context is None:
            self.container_security_context = {"runAsUser": os.getuid(), "runAsGroup": os.getgid()}

    def _mount(self, shared: Shared) -> Any:
        assert self._mount_path is not None
        return models.V1VolumeMount(
            name=_VOLUME,
            mount_path=shared.target,
            sub_path=shared.folder.relative_to(self._mount_path.resolve()).as_posix(),
            read_only=shared.is_read_only or None,
        )

    def build_pod_request_obj(self, context: Any = None, **kwargs: Any) -> Any:
        """The pod, with its working folder, and secrets by reference."""
        pod = super().build_pod_request_obj(context, **kwargs)
        base = next(c for c in pod.spec.containers if c.name == self.base_container_name)
        if self.job.working_dir:
            base.working_dir = self.job.working_dir
        if self.job.secrets:
            reference = models.V1SecretEnvSource(name=pod.metadata.name)
            base.env_from = [*(base.env_from or ()), models.V1EnvFromSource(secret_ref=reference)]
        return pod

    def get_or_create_pod(self, pod_request_obj: Any, context: Any) -> Any:
        """Create the pod, behind a Secret of its name that lives as long as the step."""
        if self.job.secrets:
            self._create_secret(pod_request_obj.metadata.name, pod_request_obj.metadata.namespace)
        return super().get_or_create_pod(pod_request_obj, context)

    def _create_secret(self, name: str, namespace: str) -> None:
        labels = {"app.kubernetes.io/managed-by": "airflow-provider-magnus"}
        body = models.V1Secret(
            metadata=models.V1ObjectMeta(name=name, namespace=namespace, labels=labels),
            string_data=dict(self.job.secrets),
            type="Opaque",
        )
        self.client.create_namespaced_secret(namespace, body)
        self._secret = (name, namespace)

    def execute(self, context: Any) -> None:
        """Run the pod to its end."""
        try:
            super().execute(context)
        except ApiException as error:
            raise StepFailedError(
                f"the Kubernetes cluster answered {error.status} {error.reason}: {_message(error)}. The step needs "
                "the right to create, read and delete pods and their logs, and secrets if it asks for such"
            ) from error
        except (ConfigException, HTTPError) as error:
            raise StepFailedError(
                f"no Kubernetes cluster can be reached ({error}): set kubernetes_conn_id, in_cluster or config_file "
                "in the config of the executor k8s-job"
            ) from error

    def finish(self) -> None:
        """Take what the pod has left; remove the Secret."""
        try:
            if self._exit_status() == 0:
                self.job.give(self._current)
        finally:
            self.job.close()
            if self._secret is not None:
                with suppress(ApiException, HTTPError):
                    self.client.delete_namespaced_secret(*self._secret)
            self._secret = None

    def failure_message(self, error: BaseException) -> str:
        """The exit status and the last lines of output."""
        status = self._exit_status()
        if isinstance(error, AirflowException) and status:
            how = ended(status).replace("command", f"container of {self.image or 'the pod'}", 1)
            reason = getattr(self._terminated(), "reason", None)
            return "\n".join([how + (f" ({reason})" if reason not in (None, "Error") else ""), *self._tail])
        return super().failure_message(error)

    def _exit_status(self) -> int | None:
        return getattr(self._terminated(), "exit_code", None)

    def _terminated(self) -> Any:
        status = getattr(self.remote_pod, "status", None)
        for container in getattr(status, "container_statuses", None) or ():
            if container.name == self.base_container_name:
                return getattr(container.state, "terminated", None)
        return None


def _volume(claim: str) -> Any:
    source = models.V1PersistentVolumeClaimVolumeSource(claim_name=claim)
    return models.V1Volume(name=_VOLUME, persistent_volume_claim=source)


def _as_models(given: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values of a file as the operator wants them."""
    arguments = dict(given)
    if arguments.get("container_resources") is not None:
        arguments["container_resources"] = models.V1ResourceRequirements(**arguments["container_resources"])
    if arguments.get("image_pull_secrets") is not None:
        names = arguments["image_pull_secrets"]
        arguments["image_pull_secrets"] = [models.V1LocalObjectReference(name=name) for name in names]
    return arguments


def _message(error: ApiException) -> str:
    import json

    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.body or "").strip() or "no reason given"
