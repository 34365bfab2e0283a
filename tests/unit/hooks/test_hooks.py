from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_magnus.errors import SecretNotFoundError
from airflow_magnus.hooks.catalog import CatalogHook
from airflow_magnus.hooks.run_log import RunLogHook
from airflow_magnus.hooks.secrets import SecretsHook


def define(monkeypatch: pytest.MonkeyPatch, conn_id: str, **connection: object) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))


def test_a_folder_works_as_catalog_and_run_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import obstore

    define(monkeypatch, "c", conn_type="magnus_catalog", extra={"url": f"file://{tmp_path}/c"})
    define(monkeypatch, "r", conn_type="magnus_run_log", extra={"url": f"{tmp_path}/r"})
    for hook in (CatalogHook("c"), RunLogHook("r")):
        is_ok, message = hook.test_connection()
        assert is_ok, message
        assert str(tmp_path) in message
        assert hook.get_session() is None
        obstore.put(hook.get_conn(), "a", b"x")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("a")) == ["c/a", "r/a"]


def test_a_connection_given_as_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_C", "magnus-catalog://AAA:SSS@/?url=s3%3A%2F%2Fb%2Fp")
    hook = CatalogHook("c")
    assert hook.get_settings().config == {"s3_bucket": "b", "prefix": "p"}
    session = hook.get_session()
    assert session is not None
    assert session.get_credentials().access_key == "AAA"


def test_a_database_is_connected_and_its_table_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    define(monkeypatch, "r", conn_type="magnus_run_log", extra={"url": f"sqlite:///{tmp_path}/x.db"})
    is_ok, message = RunLogHook("r").test_connection()
    assert is_ok, message
    assert "magnus_run_log is there" in message


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:////nowhere/at/all/x.db", "unable to open database file"),
        ("nonsense+driver://u:hidden-password@h/d", "does not know"),
    ],
)
def test_a_database_that_cannot_be_reached(url: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    define(monkeypatch, "r", conn_type="magnus_run_log", extra={"url": url})
    is_ok, said = RunLogHook("r").test_connection()
    assert not is_ok
    assert message in said
    assert "hidden-password" not in said


def test_an_undefined_connection_is_said_so() -> None:
    is_ok, message = CatalogHook("nothing_here").test_connection()
    assert not is_ok
    assert "nothing_here" in message


def test_keys_that_mean_nothing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    define(monkeypatch, "c", conn_type="magnus_catalog", extra={"url": str(tmp_path), "bucket": "x"})
    assert "Ignored, as it means nothing here: bucket" in CatalogHook("c").test_connection()[1]


def test_secrets_are_counted_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my.env").write_text("ONE=first-value\nTWO=second-value\n")
    define(monkeypatch, "s", conn_type="magnus_secrets", extra={"type": "dotenv", "location": "my.env"})
    hook = SecretsHook("s", folder=tmp_path)
    is_ok, message = hook.test_connection()
    assert (is_ok, message) == (True, "read 2 secrets from dotenv")


def test_a_secret_is_masked_before_it_is_handed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_magnus.hooks import secrets

    masked: list[str] = []
    monkeypatch.setattr(secrets, "mask_secret", masked.append)
    (tmp_path / ".env").write_text("ONE=first-value\nTWO=second-value\n")
    define(monkeypatch, "s", conn_type="magnus_secrets", extra={})
    store = SecretsHook("s", folder=tmp_path).get_conn()
    store.get("ONE")
    assert masked == ["first-value"]
    store.all()
    assert masked == ["first-value", "first-value", "second-value"]
    with pytest.raises(SecretNotFoundError):
        store.get("THREE")


def test_passwords_of_a_connection_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_magnus.hooks import base

    masked: list[str] = []
    monkeypatch.setattr(base, "mask_secret", masked.append)
    define(
        monkeypatch,
        "c",
        conn_type="magnus_catalog",
        login="AAA",
        password="secret-key-value",
        extra={"url": "s3://b", "session_token": "token-value"},
    )
    CatalogHook("c").get_settings()
    assert masked == ["secret-key-value", "token-value"]
    define(
        monkeypatch, "r", conn_type="magnus_run_log", extra={"url": "postgresql+psycopg2://u:db-password@h/d"}
    )
    RunLogHook("r").get_settings()
    assert masked[2:] == ["db-password"]


@pytest.mark.parametrize(
    ("extra", "login", "message"),
    [
        ({"aws_conn_id": "not_defined"}, None, r"'not_defined', which is not defined"),
        ({"aws_conn_id": "not_defined"}, "AAA", "both aws_conn_id"),
        ({}, "AAA", "secret key (password) is missing"),
        ({"use_credentials": True}, None, "'AWS_ACCESS_KEY_ID' is not set"),
    ],
)
def test_credentials_that_are_not_there_are_named(
    extra: dict[str, object], login: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    define(monkeypatch, "c", conn_type="magnus_catalog", login=login, extra={"url": "s3://b/p", **extra})
    is_ok, said = CatalogHook("c").test_connection()
    assert not is_ok
    assert message in said


def test_url_is_the_field_host_when_connection_is_made_in_the_form(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    define(monkeypatch, "c", conn_type="magnus_catalog", host=f"file://{tmp_path}/c")
    assert CatalogHook("c").get_settings().config["catalog_location"] == f"{tmp_path}/c"
