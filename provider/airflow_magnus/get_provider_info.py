"""What Airflow reads about this provider. Imports nothing heavy: every Airflow process calls it."""

from __future__ import annotations

from typing import Any

from airflow_magnus.connection_forms import connection_types

_SINCE = "0.1.0"


def _option(
    description: str, default: str | None, kind: str = "string", example: str | None = None
) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": _SINCE,
        "type": kind,
        "example": example,
        "default": default,
    }


_OPTIONS = {
    "catalog_conn_id": _option(
        "Connection of the catalog for pipelines that name none."
        " While it is not defined, a folder below Airflow's home is used.\n",
        "magnus_catalog_default",
    ),
    "run_log_conn_id": _option(
        "Connection of the run log for pipelines that name none."
        " While it is not defined, a folder below Airflow's home is used.\n",
        "magnus_run_log_default",
    ),
    "secrets_conn_id": _option(
        "Connection of the secrets for pipelines that name none. While it is not defined, there are no secrets.\n",
        "magnus_secrets_default",
    ),
    "work_folder": _option(
        "Folder on the worker below which each task gets a private working folder."
        " When empty, the system's folder for temporary files.\n",
        "",
        example="/scratch/magnus",
    ),
    "link_working_copy": _option(
        "Fill a task's working folder with links to the pipeline's files instead of copies: faster where the"
        " pipeline's folder is large. Steps must not change those files then.\n",
        "False",
        "boolean",
    ),
    "run_log_url": _option(
        "Where the button *Run log* of a task leads: a URL with {run_id}, {dag_id} and {airflow_run_id}."
        " When empty, the tab Run log of the DAG run.\n",
        "",
        example="https://console.example.com/browser/my-bucket/run-log/{run_id}.json",
    ),
    "catalog_url": _option(
        "Where the button *Catalog folder* of a task leads: a URL with {bucket} and {prefix}, of the browser of your"
        " buckets. When empty, a page that says where the folder is.\n",
        "",
        example="https://console.example.com/buckets/{bucket}?prefix={prefix}",
    ),
    "jupyter_url": _option(
        "URL of a Jupyter server whose contents are airflow_magnus.jupyter.S3ContentsManager's. Tasks have a button"
        " Open in Jupyter then, which leads to the folder of the run; {path} in the URL stands for its path below"
        " the folder of runs. When empty, there is no such button.\n",
        "",
        example="https://jupyter.example.com",
    ),
    "asset_events": _option(
        "How many files of one task, beside those that its put names, become asset events of Airflow. Of a task that"
        " puts more, only those that are named become some. 0: tasks have no assets.\n",
        "100",
        "integer",
    ),
    "cache_plans": _option(
        "Keep checked pipelines in magnus/plans below Airflow's home, readable by Airflow's own user alone, so that a"
        " file that did not change is not checked again whenever it is read.\n",
        "True",
        "boolean",
    ),
    "ui_file_services": _option(
        "Let the pages in Airflow's UI open run logs and catalogs that pipeline files configure by themselves."
        " Their settings come from the DAG in Airflow's database, so whoever writes DAG files chooses what the API"
        " server reads. When False it opens only what connections name, and the folders below Airflow's home.\n",
        "True",
        "boolean",
    ),
    "keep_work_folders": _option(
        "Keep the working folders of tasks that have ended, to look into them.\n", "False", "boolean"
    ),
}


def get_provider_info() -> dict[str, Any]:
    """Give the provider's metadata."""
    return {
        "package-name": "airflow-provider-magnus",
        "name": "Magnus",
        "description": "Write a pipeline once in YAML; run it on a laptop and on Airflow unchanged,"
        " with a run log, a data catalog and secrets.",
        "connection-types": connection_types(),
        "extra-links": [
            "airflow_magnus.operators.links.RunLogLink",
            "airflow_magnus.operators.links.DataLink",
            "airflow_magnus.operators.links.CatalogLink",
            "airflow_magnus.operators.links.JupyterLink",
        ],
        "secrets-backends": ["airflow_magnus.secrets_backend.DotenvSecretsBackend"],
        "cli": ["airflow_magnus.airflow_cli.get_cli_commands"],
        "config": {
            "magnus": {
                "description": "Settings of the Magnus provider: pipelines written in YAML.",
                "options": _OPTIONS,
            }
        },
    }
