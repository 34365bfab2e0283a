"""Addresses by which a browser fetches one object from S3 itself, for some minutes, with the server's own right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.pipeline.model import ServiceSettings
from airflow_magnus.stores.services import s3_url

if TYPE_CHECKING:
    import boto3

SECONDS = 300
"""How long an address holds: who has it needs no right of Airflow's."""
_YES = ("true", "yes", "1")


def allows_presigned(settings: ServiceSettings) -> bool:
    """Whether a catalog's settings let browsers fetch files from it: one in S3 that says ``presigned_downloads``."""
    said = str(settings.config.get("presigned_downloads", "")).strip().lower()
    return settings.type == "s3" and s3_url(settings.config).startswith("s3://") and said in _YES


def presigned_url(
    settings: ServiceSettings, session: boto3.Session | None, key: str, disposition: str
) -> str:
    """The address of an object of the catalog. Nothing is asked of the store.

    :param session: signs it; None: made from the settings.
    :param key: below the catalog's location.
    :param disposition: the ``Content-Disposition`` that the store is to answer with.
    :raises ConfigurationError: when there are no credentials.
    """
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    from airflow_magnus.stores.aws import AwsOptions, boto3_session
    from airflow_magnus.stores.objects import s3_endpoint, split_s3_url

    options = AwsOptions.from_config(settings.config)
    session = session or boto3_session(options)
    bucket, prefix = split_s3_url(s3_url(settings.config))
    endpoint = s3_endpoint(options, session)
    style = options.addressing_style
    if style == "auto":
        style = "path" if endpoint or "." in bucket else "virtual"
    client: Any = session.client(
        "s3",
        region_name=session.region_name or options.region,
        endpoint_url=endpoint or None,
        config=Config(signature_version="s3v4", s3={"addressing_style": style}),  # type: ignore[arg-type]
    )
    wanted: Mapping[str, str] = {
        "Bucket": bucket,
        "Key": f"{prefix}/{key}" if prefix else key,
        "ResponseContentDisposition": disposition,
        "ResponseContentType": "application/octet-stream",
    }
    try:
        return str(client.generate_presigned_url("get_object", Params=wanted, ExpiresIn=SECONDS))
    except BotoCoreError as error:
        raise ConfigurationError(f"no address can be signed for the catalog: {error}") from error
