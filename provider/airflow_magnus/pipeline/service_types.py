"""The types of services and their settings. Source: spec 2.1, 10, 11, 13, 16 and contract 4."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ServiceType:
    """One type of a service.

    :param keys: keys of its ``config`` to the kind of their values; None: anything.
    :param required: groups of keys; of each group one must be there.
    """

    keys: Mapping[str, str] | None = field(default_factory=dict)
    required: tuple[tuple[str, ...], ...] = ()


_AWS = {
    "aws_profile": "any text",
    "use_credentials": "flag",
    "region": "text",
    "aws_credentials_file": "text",
    "aws_access_key_name": "text",
    "aws_secret_access_key_name": "text",
    "aws_session_key_name": "text",
    "role_arn": "any text",
    "session_duration_in_seconds": "positive",
    "endpoint_url": "text",
    "sts_endpoint_url": "text",
    "verify": "any text",
    "aws_conn_id": "text",
}
_S3 = {
    **_AWS,
    "s3_bucket": "text",
    "prefix": "any text",
    "url": "text",
    "max_concurrency": "positive",
    "addressing_style": "style",
}
_FOLDER = {"compute_data_folder": "folder"}
_LOG_FOLDER = ServiceType({"log_folder": "text"})
_S3_LOG = ServiceType(_S3, required=(("s3_bucket", "url"),))
_PARALLEL = {"enable_parallel": "flag"}
_DOCKER = {
    "docker_image": "text",
    "environment": "text mapping",
    "optional_docker_args": "mapping",
}
_POD = {
    "docker_image": "text",
    "environment": "text mapping",
    "namespace": "text",
    "service_account_name": "text",
    "persistent_volume_claim": "text",
    "mount_path": "text",
    "pod_template_file": "text",
    "kubernetes_conn_id": "text",
    "in_cluster": "flag",
    "cluster_context": "text",
    "config_file": "text",
    "image_pull_policy": "text",
    "image_pull_secrets": "texts",
    "labels": "text mapping",
    "annotations": "text mapping",
    "node_selector": "text mapping",
    "container_resources": "mapping",
    "security_context": "mapping",
    "container_security_context": "mapping",
    "priority_class_name": "text",
    "startup_timeout_seconds": "positive",
    "active_deadline_seconds": "positive",
}

CONTAINER_KEYS: Mapping[str, Mapping[str, str]] = {
    "local-container": {**_DOCKER, "run_in_local": "flag"},
    "k8s-job": {**_POD, "run_in_local": "flag"},
}
"""Executor type to the settings that one step may have of its own, and the kind of their values."""

SERVICE_TYPES: Mapping[str, Mapping[str, ServiceType]] = {
    "executor": {
        "local": ServiceType(_PARALLEL),
        "local-container": ServiceType({**_PARALLEL, **_DOCKER}, required=(("docker_image",),)),
        "k8s-job": ServiceType({**_PARALLEL, **_POD}, required=(("docker_image", "pod_template_file"),)),
        "mocked": ServiceType({"patches": "patches"}),
    },
    "run_log_store": {
        "buffered": ServiceType(),
        "file-system": _LOG_FOLDER,
        "chunked-fs": _LOG_FOLDER,
        "s3": _S3_LOG,
        "chunked-s3": _S3_LOG,
        "db": ServiceType({"connection_string": "text"}, required=(("connection_string",),)),
    },
    "catalog": {
        "do-nothing": ServiceType(_FOLDER),
        "file-system": ServiceType({**_FOLDER, "catalog_location": "text"}),
        "s3": ServiceType(
            {**_S3, **_FOLDER, "presigned_downloads": "flag"}, required=(("s3_bucket", "url"),)
        ),
    },
    "secrets": {
        "do-nothing": ServiceType(),
        "dotenv": ServiceType({"location": "text"}),
        "env-secrets-manager": ServiceType(),
        "aws-secrets-manager": ServiceType(
            {**_AWS, "secret_arn": "text", "secret_version_id": "any text"}, required=(("secret_arn",),)
        ),
    },
    "experiment_tracker": {"do-nothing": ServiceType(None)},
}
"""Service to its types."""

_NO_TRANSLATION = (
    "is not supported: write local and run the pipeline on Airflow itself, which needs no translation"
)
_NO_PVC = "is not supported: write {} and point its folder at the path where the volume is mounted"

REPLACED: Mapping[str, Mapping[str, str]] = {
    "executor": {
        **dict.fromkeys(("argo", "kfp", "aws-step-functions", "demo-renderer"), _NO_TRANSLATION),
        **dict.fromkeys(
            ("slurm", "slurm-job"),
            "is not supported: write local and let an Airflow queue (executor_config.airflow.queue) choose the machine",
        ),
        "airflow": "is not needed: write local, which means where Airflow runs the task",
    },
    "run_log_store": {
        "k8s-pvc": _NO_PVC.format("file-system"),
        "chunked-k8s-pvc": _NO_PVC.format("chunked-fs"),
    },
    "catalog": {"k8s-pvc": _NO_PVC.format("file-system")},
    "experiment_tracker": {
        "mlflow": "is not supported: write do-nothing; metrics that a step tracks are kept in the run log"
    },
}
"""Types of the original that are refused, and what to use instead."""

EXECUTOR_TYPES = frozenset({"airflow", *SERVICE_TYPES["executor"], *REPLACED["executor"]})
"""Every executor type for which a step may hold settings; those of an executor that is not in use mean nothing."""
