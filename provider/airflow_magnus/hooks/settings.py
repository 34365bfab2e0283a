"""What a connection says, as settings of a service. Secrets never land in the settings: a run log records those."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import unquote, urlsplit

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.pipeline.model import ServiceSettings
from airflow_magnus.stores.aws import AwsOptions
from airflow_magnus.stores.objects import split_s3_url

ServiceKind = Literal["catalog", "run_log", "secrets"]

_HIDDEN = ("access_key", "secret_key", "session_token")
AWS_KEYS = tuple(item.name for item in fields(AwsOptions) if item.name not in _HIDDEN)
_STORE_KEYS = (*AWS_KEYS, "aws_conn_id", "session_token", "url", "s3_bucket", "prefix", "max_concurrency")
KNOWN_KEYS: Mapping[ServiceKind, frozenset[str]] = {
    "catalog": frozenset((*_STORE_KEYS, "compute_data_folder", "presigned_downloads")),
    "run_log": frozenset(_STORE_KEYS),
    "secrets": frozenset(
        (*AWS_KEYS, "aws_conn_id", "session_token", "type", "location", "secret_arn", "secret_version_id")
    ),
}
"""Keys that a connection's extra may have."""

_FOLDER_KEY = {"catalog": "catalog_location", "run_log": "log_folder"}
_WHERE = {
    "catalog": "s3://bucket/prefix or file:///absolute/folder",
    "run_log": "s3://bucket/prefix, file:///absolute/folder, or a SQLAlchemy URL of a database",
}


class AirflowConnection(Protocol):
    """What is read of an Airflow connection."""

    conn_id: str
    login: str | None
    password: str | None

    @property
    def extra_dejson(self) -> dict[str, Any]: ...


def settings_from_connection(conn: AirflowConnection, kind: ServiceKind) -> ServiceSettings:
    """Give the settings of the service that a connection stands for.

    They hold no key and no password, but for the ``connection_string`` of a database.

    :raises ConfigurationError: when the connection does not say where, or says it in a way that is not understood.
    """
    given = {key: value for key, value in conn.extra_dejson.items() if value not in (None, "")}
    if kind == "secrets":
        return _secrets_settings(conn, given)
    url = str(getattr(conn, "host", None) or given.get("url") or "").strip()
    if not url and not given.get("s3_bucket"):
        raise ConfigurationError(
            f"connection {conn.conn_id!r} does not say where: give url ({_WHERE[kind]}), or s3_bucket and prefix"
        )
    common: dict[str, Any] = {
        key: given[key]
        for key in ("compute_data_folder", "max_concurrency", "presigned_downloads")
        if key in given
    }
    if not url or url.startswith("s3://"):
        return ServiceSettings("s3", {**_place(url, given), **common, **_aws(given)})
    if "://" not in url or url.startswith("file://"):
        return ServiceSettings("file-system", {_FOLDER_KEY[kind]: _folder(conn, url), **common})
    if kind == "run_log":
        return ServiceSettings("db", {"connection_string": _database_url(conn, url)})
    raise ConfigurationError(
        f"connection {conn.conn_id!r}: a catalog cannot be at a {urlsplit(url).scheme}:// URL;"
        f" allowed are {_WHERE[kind]}"
    )


def aws_options(conn: AirflowConnection) -> AwsOptions:
    """Give the AWS options of a connection, with the keys that it holds itself (login, password, session_token)."""
    given = conn.extra_dejson
    return replace(
        AwsOptions.from_config({key: given.get(key) for key in AWS_KEYS}),
        access_key=conn.login or "",
        secret_key=conn.password or "",
        session_token=str(given.get("session_token") or ""),
    )


def unknown_keys(conn: AirflowConnection, kind: ServiceKind) -> list[str]:
    """Give the keys of the connection's extra that mean nothing here, sorted."""
    return sorted(set(conn.extra_dejson) - KNOWN_KEYS[kind])


def _secrets_settings(conn: AirflowConnection, given: Mapping[str, Any]) -> ServiceSettings:
    kind = str(given.get("type") or ("aws-secrets-manager" if given.get("secret_arn") else "dotenv"))
    config = {key: str(given[key]) for key in ("location", "secret_arn", "secret_version_id") if key in given}
    if kind != "dotenv":
        config.pop("location", None)
    if kind == "aws-secrets-manager":
        if "secret_arn" not in config:
            raise ConfigurationError(
                f"connection {conn.conn_id!r}: type aws-secrets-manager needs secret_arn, the ARN or name of the secret"
            )
        return ServiceSettings(kind, {**config, **_aws(given)})
    return ServiceSettings(kind, {"location": config["location"]} if "location" in config else {})


def _aws(given: Mapping[str, Any]) -> dict[str, Any]:
    AwsOptions.from_config(given)  # refuses what cannot be understood, here where the connection is at hand
    return {key: given[key] for key in (*AWS_KEYS, "aws_conn_id") if key in given}


def _place(url: str, given: Mapping[str, Any]) -> dict[str, str]:
    if url:
        bucket, prefix = split_s3_url(url)
    else:
        bucket, prefix = str(given["s3_bucket"]), str(given.get("prefix") or "").strip("/")
    return {"s3_bucket": bucket, "prefix": prefix}


def _folder(conn: AirflowConnection, url: str) -> str:
    parts = urlsplit(url) if "://" in url else None
    path = Path(unquote(parts.path) if parts else url).expanduser()
    if not path.is_absolute() or (parts and parts.netloc not in ("", "localhost")):
        raise ConfigurationError(
            f"connection {conn.conn_id!r}: {url!r} is not an absolute folder, and workers have no common current"
            " folder: write file:///absolute/folder"
        )
    return str(path)


def _database_url(conn: AirflowConnection, url: str) -> str:
    import sqlalchemy as sa

    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise ConfigurationError(
            f"connection {conn.conn_id!r}: url is neither {_WHERE['run_log']};"
            " such as postgresql+psycopg2://host/database with user and password as login and password"
        ) from None
    if conn.login and not parsed.username:
        parsed = parsed.set(username=conn.login, password=conn.password or None)
    return parsed.render_as_string(hide_password=False)
