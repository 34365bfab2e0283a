"""What every secrets store promises."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.errors import SecretNotFoundError
from airflow_magnus.pipeline.model import ServiceSettings
from airflow_magnus.stores.secrets import SecretsStore, open_secrets
from fixtures_s3 import s3_client

SECRETS = {"USER_NAME": "vic", "PASSWORD": "p=ss w#rd", "EMPTY": ""}


@pytest.fixture(params=["dotenv", "env-secrets-manager", "aws-secrets-manager"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SecretsStore:
    make: Callable[..., ServiceSettings] = {
        "dotenv": _dotenv,
        "env-secrets-manager": _environment,
        "aws-secrets-manager": _aws,
    }[request.param]
    return open_secrets(make(request, tmp_path, monkeypatch), folder=tmp_path)


def _dotenv(_request: Any, tmp_path: Path, _monkeypatch: Any) -> ServiceSettings:
    (tmp_path / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in SECRETS.items()))
    return ServiceSettings("dotenv")


def _environment(_request: Any, _tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> ServiceSettings:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return ServiceSettings("env-secrets-manager")


def _aws(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServiceSettings:
    endpoint = request.getfixturevalue("moto_server")
    made = s3_client(endpoint, "secretsmanager").create_secret(
        Name=f"contract{tmp_path}", SecretString=json.dumps(SECRETS)
    )
    monkeypatch.setenv("MY_ID", "a")
    monkeypatch.setenv("MY_KEY", "s")
    return ServiceSettings(
        "aws-secrets-manager",
        {
            "secret_arn": made["ARN"],
            "secret_version_id": made["VersionId"],
            "endpoint_url": endpoint,
            "use_credentials": True,
            "aws_access_key_name": "MY_ID",
            "aws_secret_access_key_name": "MY_KEY",
        },
    )


def test_each_secret_is_given_as_it_is(store: SecretsStore) -> None:
    assert {name: store.get(name) for name in SECRETS} == SECRETS


def test_all_are_given_as_a_copy_or_none_at_all(store: SecretsStore) -> None:
    found = store.all()
    assert found in (SECRETS, {})
    found["PASSWORD"] = "changed"
    assert store.get("PASSWORD") == SECRETS["PASSWORD"]


def test_an_unknown_name_is_refused_without_showing_values(store: SecretsStore) -> None:
    with pytest.raises(SecretNotFoundError, match="'NOT_THERE'") as caught:
        store.get("NOT_THERE")
    assert SECRETS["PASSWORD"] not in str(caught.value)


def test_no_repr_shows_a_value(store: SecretsStore) -> None:
    store.get("PASSWORD")
    assert SECRETS["PASSWORD"] not in f"{store!r} {store}"


def test_an_aws_secret_that_is_no_object_is_refused_without_showing_it(
    moto_server: str, tmp_path: Path
) -> None:
    import boto3

    s3_client(moto_server, "secretsmanager").create_secret(Name="plain", SecretString="only-a-password")
    session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="s", region_name="eu-west-1")
    settings = ServiceSettings("aws-secrets-manager", {"secret_arn": "plain", "endpoint_url": moto_server})
    with pytest.raises(ValueError, match="must be a JSON object") as caught:
        open_secrets(settings, folder=tmp_path, session=session).all()
    assert "only-a-password" not in str(caught.value)
    assert caught.value.__cause__ is None
