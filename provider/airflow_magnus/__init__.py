"""Pipelines written once in YAML, run anywhere, as an Apache Airflow provider.

Public names are loaded on first use, so that importing the package costs nothing where a DAG file is parsed.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "load_pipelines": "airflow_magnus.dags.loader",
    "pipeline_dag": "airflow_magnus.dags.builder",
    "PipelineTaskGroup": "airflow_magnus.dags.builder",
    "StepMixin": "airflow_magnus.operators.step",
    "StepSettings": "airflow_magnus.operators.settings",
    "EndOfRun": "airflow_magnus.operators.terminal",
    "file_asset": "airflow_magnus.operators.assets",
    "s3_endpoint": "airflow_magnus.operators.s3_endpoint",
    "mounted_buckets": "airflow_magnus.operators.s3_endpoint",
    "get_from_catalog": "airflow_magnus.api",
    "get_object": "airflow_magnus.api",
    "get_parameter": "airflow_magnus.api",
    "get_run_id": "airflow_magnus.api",
    "get_secret": "airflow_magnus.api",
    "get_tag": "airflow_magnus.api",
    "put_in_catalog": "airflow_magnus.api",
    "put_object": "airflow_magnus.api",
    "set_parameter": "airflow_magnus.api",
    "store_parameter": "airflow_magnus.api",
    "track_this": "airflow_magnus.api",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    module = _PUBLIC.get(name)
    if module is None:
        raise AttributeError(f"module 'airflow_magnus' has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
