"""The forms of the three connection types, as Airflow's UI reads them (3.2 and later). Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_Fields = dict[str, dict[str, Any]]


def _text(label: str, description: str, **schema: Any) -> dict[str, Any]:
    # "string" alone would make the field required.
    return {"label": label, "description": description, "schema": {"type": ["string", "null"], **schema}}


def _whole_number(label: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["integer", "null"], **schema}}


def _flag(label: str, description: str) -> dict[str, Any]:
    return {
        "label": label,
        "description": description,
        "schema": {"type": ["boolean", "null"], "default": False},
    }


_CREDENTIALS: _Fields = {
    "aws_conn_id": _text(
        "AWS connection id",
        "An Airflow connection of type Amazon Web Services whose credentials, region and endpoint are used."
        " Leave login and password empty then.",
    ),
    "region": _text("Region", "AWS region; eu-west-1 when empty."),
    "endpoint_url": _text(
        "Endpoint URL", "For servers other than AWS, such as https://minio.example.com:9000."
    ),
    "role_arn": _text("Role ARN", "A role to assume with the credentials found; renewed as long as needed."),
    "session_duration_in_seconds": _whole_number(
        "Role session in seconds",
        "How long an assumed role lasts before it is renewed; 900 when empty.",
        minimum=900,
        maximum=43200,
    ),
    "aws_profile": _text("AWS profile", "A profile of the credentials file where the task runs."),
    "aws_credentials_file": _text(
        "AWS credentials file", "Where the task runs; ~/.aws/credentials when empty."
    ),
    "use_credentials": _flag(
        "Credentials from the environment",
        "Read the keys from the environment variables named below, where the task runs.",
    ),
    "aws_access_key_name": _text(
        "Variable of the access key", "Name of an environment variable; AWS_ACCESS_KEY_ID when empty."
    ),
    "aws_secret_access_key_name": _text(
        "Variable of the secret key", "Name of an environment variable; AWS_SECRET_ACCESS_KEY when empty."
    ),
    "aws_session_key_name": _text(
        "Variable of the session token", "Name of an environment variable; AWS_SESSION_TOKEN when empty."
    ),
    "session_token": _text(
        "Session token", "Belongs to login and password when those are temporary keys.", format="password"
    ),
    "sts_endpoint_url": _text("STS endpoint URL", "Where the role is assumed; AWS when empty."),
    "verify": _text(
        "Trust in certificates",
        "A PEM file of certificates to trust where the task runs, or false to trust every certificate.",
    ),
}


_BUCKET: _Fields = {
    "s3_bucket": _text("S3 bucket", "Only when no URL is given above."),
    "prefix": _text("Prefix", "The path inside the bucket; only when no URL is given above."),
}

_ADDRESSING: _Fields = {
    "addressing_style": _text(
        "Addressing style",
        "path: https://host/bucket, virtual: https://bucket.host; auto chooses path where an endpoint URL is given.",
        enum=["auto", "path", "virtual"],
        default="auto",
    )
}


def _connection_type(
    name: str,
    title: str,
    hook: str,
    conn_fields: Mapping[str, Any],
    relabeling: Mapping[str, str],
    hidden: Sequence[str] = ("port", "schema", "extra"),
    placeholders: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    return {
        "connection-type": name,
        "hook-name": title,
        "hook-class-name": f"airflow_magnus.hooks.{hook}",
        "ui-field-behaviour": {
            "hidden-fields": list(hidden),
            "relabeling": dict(relabeling),
            "placeholders": dict(placeholders or {}),
        },
        "conn-fields": dict(conn_fields),
    }


def connection_types() -> list[dict[str, Any]]:
    """Give the entries of ``connection-types`` in the provider's metadata."""
    keys = {"login": "Access key", "password": "Secret key"}
    catalog = {
        **_BUCKET,
        "compute_data_folder": _text(
            "Compute data folder",
            "Where a step finds and leaves its files, unless it says otherwise; data when empty.",
        ),
        "presigned_downloads": _flag(
            "Downloads from the bucket",
            "Lets browsers fetch files of the catalog from the bucket itself, by addresses that hold for 5 minutes."
            " Else Airflow's API server passes them on.",
        ),
        **_CREDENTIALS,
        **_ADDRESSING,
    }
    run_log = {**_BUCKET, **_CREDENTIALS, **_ADDRESSING}
    secrets = {
        "type": _text(
            "Type",
            "Where secrets are: a dotenv file, environment variables of the worker, or AWS Secrets Manager.",
            enum=["dotenv", "env-secrets-manager", "aws-secrets-manager", "do-nothing"],
            default="dotenv",
        ),
        "location": _text(
            "Dotenv file",
            "Where the task runs; .env when empty, relative paths are relative to AIRFLOW_HOME/magnus.",
        ),
        "secret_arn": _text(
            "Secret ARN", "AWS Secrets Manager: ARN or name of a secret that is a JSON object."
        ),
        "secret_version_id": _text("Secret version", "AWS Secrets Manager: the current version when empty."),
        **_CREDENTIALS,
    }
    # The URL is the field *host*: it stands first in the form, where the fields of our own are folded away.
    place = {"host": "URL"}
    database = {"login": "Access key, or database user", "password": "Secret key, or database password"}
    folder = "s3://bucket/prefix, or file:///folder for a folder that all workers share"
    anywhere = "s3://bucket/prefix, file:///folder, or postgresql+psycopg2://host/database"
    return [
        _connection_type(
            "magnus_catalog", "Magnus catalog", "catalog.CatalogHook", catalog, place | keys, placeholders={"host": folder}
        ),
        _connection_type(
            "magnus_run_log", "Magnus run log", "run_log.RunLogHook", run_log, place | database,
            placeholders={"host": anywhere},
        ),
        _connection_type(
            "magnus_secrets", "Magnus secrets", "secrets.SecretsHook", secrets, keys,
            hidden=("host", "port", "schema", "extra"),
        ),
    ]  # fmt: skip
