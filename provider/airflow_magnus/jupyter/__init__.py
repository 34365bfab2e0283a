"""Notebooks, checkpoints and the data of pipelines in one bucket of S3, for Jupyter. Imports neither Airflow nor boto3."""

from __future__ import annotations

from airflow_magnus.errors import MissingExtraError

try:
    from airflow_magnus.jupyter.authentication import (
        Datetime,
        JupyterS3AirflowAuthentication,
        JupyterS3Authentication,
        JupyterS3DefaultAuthentication,
        JupyterS3EC2RoleAuthentication,
        JupyterS3ECSRoleAuthentication,
        JupyterS3SecretAccessKeyAuthentication,
    )
    from airflow_magnus.jupyter.checkpoints import S3Checkpoints
    from airflow_magnus.jupyter.contents import JupyterS3, S3ContentsManager
    from airflow_magnus.jupyter.credentials import AwsCreds
except ModuleNotFoundError as error:
    raise MissingExtraError("airflow_magnus.jupyter", "jupyter") from error

__all__ = [
    "AwsCreds",
    "Datetime",
    "JupyterS3",
    "JupyterS3AirflowAuthentication",
    "JupyterS3Authentication",
    "JupyterS3DefaultAuthentication",
    "JupyterS3EC2RoleAuthentication",
    "JupyterS3ECSRoleAuthentication",
    "JupyterS3SecretAccessKeyAuthentication",
    "S3Checkpoints",
    "S3ContentsManager",
]
