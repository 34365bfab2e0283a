"""What makes a task a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.hooks.services import ServiceSources
from airflow_magnus.operators.place import StepPlace
from airflow_magnus.operators.route import Route
from airflow_magnus.operators.run import RunSettings
from airflow_magnus.operators.workspace import WorkspaceSettings
from airflow_magnus.pipeline.model import EndpointRequest, MountRequest
from airflow_magnus.pipeline.sources import endpoint_of


@dataclass(frozen=True)
class StepSettings:
    """What makes a task a step.

    :param name: what the run log calls the step; "" for the task id.
    :param get: glob patterns of catalog files that are fetched before the command.
    :param put: glob patterns of files that are stored after it.
    :param compute_data_folder: the folder of those files, below the working folder; None: the catalog's own setting.
    :param services: where catalog, run log and secrets are; default: the connections ``magnus_catalog_default``,
        ``magnus_run_log_default``, ``magnus_secrets_default``, and folders below AIRFLOW_HOME where those are missing.
    :param workspace: how the working folder is made; default: a private, empty one.
    :param s3: the S3 endpoint beside the step: a mapping of ``inputs``, ``out`` and ``keep_failed``, as below ``s3`` of a step
        in a pipeline file. None: there is none.
    :param mount: folders in place of an endpoint: as ``s3``, with ``engine`` and ``fallback`` too. None: there are none.
    :param catalog: how the files of ``get`` and ``put`` come and go: ``{"mode": "mount"}`` for a compute data folder that is a
        mount of the run's catalog, with ``engine`` and ``fallback`` too. None: they are copied.
    :param is_cached: use what an earlier attempt with the same command, code, parameters and inputs has made.
    :param place: where the step stands; None: behind all the steps upstream of it in the DAG.
    :param route: how the task finds out whether its step is reached; default: Airflow's trigger rules say so.
    :param run: which run it belongs to; default: that of the DAG run.
    """

    name: str = ""
    get: Sequence[str] = ()
    put: Sequence[str] = ()
    compute_data_folder: str | None = None
    services: ServiceSources = field(default_factory=ServiceSources)
    workspace: WorkspaceSettings = field(default_factory=WorkspaceSettings)
    place: StepPlace | None = None
    route: Route = field(default_factory=Route)
    run: RunSettings = field(default_factory=RunSettings)
    s3: EndpointRequest | Mapping[str, Any] | None = None
    mount: MountRequest | Mapping[str, Any] | None = None
    catalog: Mapping[str, Any] | None = None
    is_cached: bool = False

    @property
    def endpoint(self) -> EndpointRequest | None:
        """The S3 endpoint that was asked for, or the folders.

        :raises ConfigurationError: when the mapping is none that a file could have, or more than one was asked for.
        """
        asked = {"s3": self.s3, "mount": self.mount, "catalog": self.catalog}
        given = [(key, value) for key, value in asked.items() if value is not None]
        if len(given) > 1:
            names = " and ".join(key for key, _ in given)
            raise ConfigurationError(
                f"{names} cannot stand on one step: each is a way to give it all its files"
            )
        if not given:
            return None
        key, value = given[0]
        return value if isinstance(value, EndpointRequest) else endpoint_of(value, key)
