"""The three services of a run, from a file's settings, from Airflow connections, or the embedded default."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_magnus.errors import ConfigurationError, StoreError
from airflow_magnus.pipeline.model import ServiceSettings

if TYPE_CHECKING:
    import boto3

    from airflow_magnus.runlog.records import RunHeader
    from airflow_magnus.stores.catalog import CatalogStore
    from airflow_magnus.stores.do_nothing import DoNothingCatalog
    from airflow_magnus.stores.runlogs import RunLogStore
    from airflow_magnus.stores.secrets import SecretsStore
    from airflow_magnus.stores.services import CatalogObjects

log = logging.getLogger(__name__)

CONNECTIONS: Mapping[str, str] = {
    "run_log_store": "magnus_run_log_default",
    "catalog": "magnus_catalog_default",
    "secrets": "magnus_secrets_default",
}
"""The connections of services that no file names."""
_KINDS: Mapping[str, str] = {"run_log_store": "run_log", "catalog": "catalog", "secrets": "secrets"}


@dataclass(frozen=True)
class ServiceSources:
    """Where the services of a pipeline come from; nothing is looked up before a task runs.

    :param settings: service → settings that a file gives; they win.
    :param connections: service → Airflow connection that must exist.
    :param folder: what relative paths of the settings are relative to; None: AIRFLOW_HOME/magnus.
    :param uses_airflow: False for the command line, where services without settings have the command line's defaults.
    """

    settings: Mapping[str, ServiceSettings] = field(default_factory=dict)
    connections: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    uses_airflow: bool = True


@dataclass
class OpenServices:
    """The services of one task, open."""

    run_log: RunLogStore
    catalog: CatalogStore | DoNothingCatalog
    secrets: SecretsStore
    run_config: dict[str, Any]
    compute_data_folder: str

    def heed(self, header: RunHeader) -> None:
        """Use what the run's first task found out about the stores."""
        found = header.conditional_writes
        self.run_log.is_conditional = found.get("run_log_store", True)
        self.catalog.is_conditional = found.get("catalog", True)

    def conditional_writes(self, *, is_lenient: bool = False) -> dict[str, bool]:
        """Ask the stores whether they honour create-only writes: 3 requests each where it is not known.

        :param is_lenient: a catalog that does not answer counts as one that does not honour them.
        :raises StoreError: when a store does not answer.
        """
        try:
            catalog = self.catalog.find_out_conditional()
        except StoreError:
            if not is_lenient:
                raise
            catalog = False
        return {"run_log_store": self.run_log.find_out_conditional(), "catalog": catalog}


@dataclass(frozen=True)
class ServiceAccess:
    """One service as it was chosen.

    :param folder: what relative paths of the settings are relative to.
    :param session: signs requests to AWS; None: made from the settings.
    :param conn_id: the connection that it comes from; "" for none.
    """

    settings: ServiceSettings
    folder: Path
    session: boto3.Session | None = None
    conn_id: str = ""


def open_services(sources: ServiceSources) -> OpenServices:
    """Open what a task needs. Asks Airflow for at most three connections; nothing is asked of the stores yet.

    :raises ConfigurationError: when a service cannot be used as it is configured, or a connection that was asked for
        does not exist.
    """
    from airflow_magnus.stores.secrets import open_secrets  # not where a DAG file is only parsed
    from airflow_magnus.stores.services import DEFAULTS, compute_data_folder, open_catalog, open_run_log

    chosen = {name: _chosen(sources, name) for name in CONNECTIONS}
    run_log, catalog, secrets = (chosen[name] for name in ("run_log_store", "catalog", "secrets"))
    secret_store = open_secrets(secrets.settings, folder=secrets.folder, session=secrets.session)
    return OpenServices(
        run_log=open_run_log(
            run_log.settings, folder=run_log.folder, session=run_log.session, secrets=secret_store
        ),
        catalog=open_catalog(catalog.settings, folder=catalog.folder, session=catalog.session),
        secrets=secret_store,
        run_config={
            "executor": _shown(
                ServiceAccess(sources.settings.get("executor") or DEFAULTS["executor"], Path())
            ),
            **{name: _shown(service) for name, service in chosen.items()},
        },
        compute_data_folder=compute_data_folder(catalog.settings),
    )


def open_catalog_objects(sources: ServiceSources) -> CatalogObjects | None:
    """Open the objects of the catalog, for its upkeep; None of a catalog that keeps nothing.

    :raises ConfigurationError: as of :func:`open_services`.
    """
    from airflow_magnus.stores import services

    chosen = catalog_access(sources)
    return services.open_catalog_objects(chosen.settings, folder=chosen.folder, session=chosen.session)


def catalog_access(sources: ServiceSources) -> ServiceAccess:
    """How the catalog is reached; nothing is opened. Asks Airflow for at most one connection.

    :raises ConfigurationError: as of :func:`open_services`.
    """
    return _chosen(sources, "catalog")


def open_for_record(sources: ServiceSources) -> OpenServices:
    """Open what is needed to record how a task went: the run log, and the other services if they can be used.

    :raises ConfigurationError: when the run log cannot be used.
    """
    try:
        return open_services(sources)
    except Exception:  # noqa: BLE001 - whatever is wrong, the run log is to say so
        unusable = {name: ServiceSettings("do-nothing") for name in ("catalog", "secrets")}
        services = open_services(replace(sources, settings={**sources.settings, **unusable}))
        for name in unusable:
            services.run_config[name] = {"type": "unusable", "config": {}}
        return services


def _chosen(sources: ServiceSources, name: str) -> ServiceAccess:
    folder = sources.folder or default_folder()
    settings = sources.settings.get(name)
    if settings is not None:
        return _with_aws_connection(settings, folder)
    if not sources.uses_airflow:
        from airflow_magnus.stores.services import DEFAULTS

        return ServiceAccess(DEFAULTS[name], folder)
    conn_id = sources.connections.get(name)
    return _from_connection(name, conn_id or _configured_connection(name), is_asked_for=bool(conn_id))


def _from_connection(name: str, conn_id: str, *, is_asked_for: bool) -> ServiceAccess:
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    hook = _hook(name, conn_id)
    try:
        settings = hook.get_settings()
    except AirflowNotFoundException as error:
        if is_asked_for:
            raise ConfigurationError(
                f"there is no Airflow connection {conn_id!r}, which is named for the {name.replace('_', ' ')}: "
                f"add it, of the type magnus_{_KINDS[name]}, or name another one"
            ) from error
        log.info("there is no connection %s: using folders below %s", conn_id, default_folder())
        return ServiceAccess(_embedded(name), default_folder())
    return ServiceAccess(settings, default_folder(), hook.get_session(), conn_id)


def _hook(name: str, conn_id: str) -> Any:
    if name == "catalog":
        from airflow_magnus.hooks.catalog import CatalogHook

        return CatalogHook(conn_id)
    if name == "run_log_store":
        from airflow_magnus.hooks.run_log import RunLogHook

        return RunLogHook(conn_id)
    from airflow_magnus.hooks.secrets import SecretsHook

    return SecretsHook(conn_id)


def _configured_connection(name: str) -> str:
    from airflow.providers.common.compat.sdk import conf

    option = {"run_log_store": "run_log_conn_id", "catalog": "catalog_conn_id", "secrets": "secrets_conn_id"}
    return str(conf.get("magnus", option[name], fallback="") or CONNECTIONS[name])


def _embedded(name: str) -> ServiceSettings:
    """The default where there is no connection: folders below AIRFLOW_HOME."""
    return {
        "run_log_store": ServiceSettings("file-system", {"log_folder": str(default_folder() / "run_log")}),
        "catalog": ServiceSettings("file-system", {"catalog_location": str(default_folder() / "catalog")}),
        "secrets": ServiceSettings("do-nothing"),
    }[name]


def default_folder() -> Path:
    """AIRFLOW_HOME/magnus."""
    return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "magnus"


def _with_aws_connection(settings: ServiceSettings, folder: Path) -> ServiceAccess:
    """Settings of a file that may name an Airflow connection by ``aws_conn_id``."""
    aws_conn_id = settings.config.get("aws_conn_id")
    if not aws_conn_id:
        return ServiceAccess(settings, folder)
    from airflow_magnus.hooks.connections import access_of_aws_connection

    service = "secretsmanager" if settings.type == "aws-secrets-manager" else "s3"
    access = access_of_aws_connection(str(aws_conn_id), settings.config, service)
    config = {**access.extra_config, **settings.config}
    return ServiceAccess(ServiceSettings(settings.type, config), folder, access.session)


def _shown(chosen: ServiceAccess) -> dict[str, Any]:
    """A service as the run log records it, without anything secret."""
    hidden = ("access_key", "secret_key", "session_token", "password", "connection_string")
    config = {key: value for key, value in chosen.settings.config.items() if key not in hidden}
    shown: dict[str, Any] = {"type": chosen.settings.type, "config": config}
    if chosen.conn_id:
        shown["conn_id"] = chosen.conn_id
    return shown
