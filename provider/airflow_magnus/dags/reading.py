"""The stores that the command line reads: a run log, and with it a catalog."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_magnus.pipeline.services import resolve_services
from airflow_magnus.pipeline.variables import read_variables
from airflow_magnus.stores.runlogs import RunLogStore
from airflow_magnus.stores.secrets import open_secrets
from airflow_magnus.stores.services import DEFAULTS, CatalogObjects, open_run_log

if TYPE_CHECKING:
    from airflow_magnus.hooks.services import OpenServices


def run_log_store(
    folder: Path, config_file: Path | None, conn_id: str | None, *, of_airflow: bool = False
) -> RunLogStore:
    """The store of an Airflow connection, else of the configuration files, else the command line's default.

    :param folder: where ``magnus-config.yaml`` is looked for and relative paths begin.
    :param of_airflow: read Airflow's default: the connection ``magnus_run_log_default``, else a folder below AIRFLOW_HOME.
    :raises PipelineError: when a configuration file has faults.
    """
    if of_airflow:
        from airflow_magnus.hooks.services import ServiceSources, open_services

        return open_services(ServiceSources()).run_log
    if conn_id:
        from airflow_magnus.hooks.services import ServiceSources, open_services

        return open_services(ServiceSources({}, {"run_log_store": conn_id}, folder)).run_log
    services = {**DEFAULTS, **resolve_services(config_file, {}, folder, read_variables(None, os.environ))}
    settings = services["run_log_store"]
    if settings.config.get("aws_conn_id"):
        from airflow_magnus.hooks.services import ServiceSources, open_services

        return open_services(ServiceSources(services, {}, folder)).run_log
    secrets = open_secrets(services["secrets"], folder=folder)
    return open_run_log(settings, folder=folder, secrets=secrets)


def services_and_objects(
    folder: Path,
    config_file: Path | None,
    run_log_conn_id: str | None,
    catalog_conn_id: str | None,
    *,
    of_airflow: bool = False,
) -> tuple[OpenServices, CatalogObjects | None]:
    """The services, run log and catalog found as of :func:`run_log_store`, and the catalog's objects for its upkeep."""
    from airflow_magnus.hooks.services import ServiceSources, open_catalog_objects, open_services

    named = {"run_log_store": run_log_conn_id, "catalog": catalog_conn_id}
    connections = {service: conn_id for service, conn_id in named.items() if conn_id}
    if of_airflow:
        sources = ServiceSources({}, connections)
    else:
        found = {**DEFAULTS, **resolve_services(config_file, {}, folder, read_variables(None, os.environ))}
        settings = {service: given for service, given in found.items() if service not in connections}
        sources = ServiceSources(settings, connections, folder)
    return open_services(sources), open_catalog_objects(sources)
