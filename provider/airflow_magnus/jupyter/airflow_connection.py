"""The credentials of an Airflow connection. The one module of this folder that imports Airflow, when it is called."""

from __future__ import annotations

from typing import Any


def credentials_of(conn_id: str) -> Any:
    """Credentials of botocore that renew themselves, of a connection of type ``aws`` or ``magnus_catalog``; None: it has none.

    :raises ConfigurationError: when there is no such connection, or it opens no buckets.
    """
    from airflow_magnus.hooks.buckets import bucket_access
    from airflow_magnus.stores.aws import boto3_session

    options, session = bucket_access(conn_id)
    return (session or boto3_session(options)).get_credentials()
