"""The run-log store that the command line reads."""

from __future__ import annotations

import os
from pathlib import Path

from airflow_magnus.pipeline.services import resolve_services
from airflow_magnus.pipeline.variables import read_variables
from airflow_magnus.stores.runlogs import RunLogStore
from airflow_magnus.stores.secrets import open_secrets
from airflow_magnus.stores.services import DEFAULTS, open_run_log


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
