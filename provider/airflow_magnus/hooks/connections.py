"""The boto3 session of a connection: its own keys, or those of an Airflow connection of type ``aws``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.hooks.settings import AirflowConnection, aws_options
from airflow_magnus.stores.aws import AwsOptions, boto3_session

if TYPE_CHECKING:
    import boto3


@dataclass(frozen=True)
class AwsAccess:
    """A session, and what the ``aws`` connection behind it adds to a service's config."""

    session: boto3.Session
    extra_config: Mapping[str, Any]


def aws_access(conn: AirflowConnection, service: str) -> AwsAccess:
    """Sign in as a connection says; credentials of an assumed role stay renewable.

    :param service: boto3's name, ``s3`` or ``secretsmanager``: the ``aws`` connection may give it an endpoint.
    :raises ConfigurationError: when the connection that ``aws_conn_id`` names is not there.
    """
    options = aws_options(conn)
    aws_conn_id = str(conn.extra_dejson.get("aws_conn_id") or "")
    if not aws_conn_id:
        return AwsAccess(boto3_session(options), {})
    if options.access_key:
        raise ConfigurationError(
            f"connection {conn.conn_id!r} has both aws_conn_id {aws_conn_id!r} and keys of its own"
            " (login, password): remove one of the two"
        )
    return access_of_aws_connection(aws_conn_id, conn.extra_dejson, service)


def access_of_aws_connection(aws_conn_id: str, config: Mapping[str, Any], service: str = "s3") -> AwsAccess:
    """Sign in with an Airflow connection of type ``aws``, and assume the role that ``config`` names, if any.

    :param config: of a service; its region wins over the connection's.
    :raises ConfigurationError: when there is no such connection.
    """
    hook = _aws_hook(aws_conn_id, str(config.get("region") or "") or None, service)
    found = {
        "endpoint_url": hook.conn_config.get_service_endpoint_url(service),
        "verify": hook.verify,
        "addressing_style": _addressing_style(hook),
        "region": hook.region_name,
    }
    session = boto3_session(AwsOptions.from_config(config), base=hook.get_session())
    return AwsAccess(session, {key: value for key, value in found.items() if value is not None})


def _aws_hook(aws_conn_id: str, region: str | None, service: str) -> Any:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

    try:
        BaseHook.get_connection(aws_conn_id)  # AwsBaseHook itself would take other credentials in silence
    except AirflowNotFoundException as error:
        raise ConfigurationError(
            f"aws_conn_id names the connection {aws_conn_id!r}, which is not defined;"
            " make it, of type Amazon Web Services, or correct the id"
        ) from error
    return AwsBaseHook(aws_conn_id=aws_conn_id, client_type=service, region_name=region)


def _addressing_style(hook: Any) -> str | None:
    settings = getattr(hook.conn_config.botocore_config, "s3", None) or {}
    style: str | None = settings.get("addressing_style")
    return style
