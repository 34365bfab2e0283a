from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.hooks.settings import (
    aws_options,
    settings_from_connection,
    unknown_keys,
)
from airflow_magnus.pipeline.model import ServiceSettings


@dataclass
class Connection:
    extra_dejson: dict[str, Any] = field(default_factory=dict)
    login: str | None = None
    password: str | None = None
    conn_id: str = "c"


@pytest.mark.parametrize(
    ("kind", "extra", "expected"),
    [
        (
            "catalog",
            {"url": "s3://b/p/q/", "region": "us-east-1", "role_arn": None, "compute_data_folder": "d"},
            ServiceSettings(
                "s3", {"s3_bucket": "b", "prefix": "p/q", "compute_data_folder": "d", "region": "us-east-1"}
            ),
        ),
        (
            "run_log",
            {"s3_bucket": "b", "prefix": "/p/", "aws_conn_id": "a"},
            ServiceSettings("s3", {"s3_bucket": "b", "prefix": "p", "aws_conn_id": "a"}),
        ),
        (
            "catalog",
            {"url": "file:///data/my%20catalog", "addressing_style": "auto"},
            ServiceSettings("file-system", {"catalog_location": "/data/my catalog"}),
        ),
        ("run_log", {"url": "/data/log"}, ServiceSettings("file-system", {"log_folder": "/data/log"})),
        (
            "run_log",
            {"url": "sqlite:////data/x.db"},
            ServiceSettings("db", {"connection_string": "sqlite:////data/x.db"}),
        ),
        ("secrets", {}, ServiceSettings("dotenv")),
        (
            "secrets",
            {"type": "dotenv", "location": "x.env", "use_credentials": False},
            ServiceSettings("dotenv", {"location": "x.env"}),
        ),
        (
            "secrets",
            {"type": "env-secrets-manager", "location": "x"},
            ServiceSettings("env-secrets-manager"),
        ),
        (
            "secrets",
            {"secret_arn": "arn", "secret_version_id": "v", "aws_profile": "lab"},
            ServiceSettings(
                "aws-secrets-manager", {"secret_arn": "arn", "secret_version_id": "v", "aws_profile": "lab"}
            ),
        ),
    ],
)
def test_settings(kind: Any, extra: dict[str, Any], expected: ServiceSettings) -> None:
    assert settings_from_connection(Connection(extra), kind) == expected


@pytest.mark.parametrize(
    ("kind", "extra", "message"),
    [
        ("catalog", {}, r"'c' does not say where: give url \(s3://bucket/prefix"),
        ("catalog", {"url": "postgresql://h/d"}, "a catalog cannot be at a postgresql://"),
        ("catalog", {"url": "data/catalog"}, "not an absolute folder"),
        ("catalog", {"url": "file://host/x"}, "not an absolute folder"),
        ("catalog", {"url": "s3:///p"}, "names no bucket"),
        ("catalog", {"url": "s3://b", "session_duration_in_seconds": 5}, "from 900 to 43200"),
        ("secrets", {"type": "aws-secrets-manager"}, "needs secret_arn"),
    ],
)
def test_a_connection_that_cannot_be_used_is_refused(kind: Any, extra: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        settings_from_connection(Connection(extra), kind)


def test_login_and_password_go_into_a_database_url() -> None:
    conn = Connection({"url": "postgresql+psycopg2://h/d"}, login="u", password="p@ss")
    settings = settings_from_connection(conn, "run_log")
    assert settings.config["connection_string"] == "postgresql+psycopg2://u:p%40ss@h/d"


def test_keys_are_options_and_never_settings() -> None:
    conn = Connection({"url": "s3://b", "session_token": "TTT"}, login="AAA", password="SSS")
    shown = repr(settings_from_connection(conn, "catalog"))
    assert not any(secret in shown for secret in ("TTT", "AAA", "SSS"))
    options = aws_options(conn)
    assert (options.access_key, options.secret_key, options.session_token) == ("AAA", "SSS", "TTT")


def test_unknown_keys_are_found() -> None:
    assert unknown_keys(Connection({"url": "s3://b", "bucket": "x"}), "catalog") == ["bucket"]
