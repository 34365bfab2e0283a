from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_magnus.errors import ConfigurationError, SecretNotFoundError
from airflow_magnus.pipeline.model import ServiceSettings
from airflow_magnus.stores.secrets import DotenvSecrets, EnvSecrets, open_secrets


def test_do_nothing_knows_every_name_as_empty(tmp_path: Path) -> None:
    store = open_secrets(ServiceSettings("do-nothing"), folder=tmp_path)
    assert store.get("anything") == ""
    assert store.all() == {}


def test_dotenv_has_the_usual_syntax_and_no_interpolation(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "# comment\n\nexport A=1\nB=a=b\nC='x # y'\nD=\"two\\nlines\"\nE=${A}\nF=ünï # said\nEMPTY=\nBARE\n",
        encoding="utf-8",
    )
    assert open_secrets(ServiceSettings("dotenv"), folder=tmp_path).all() == {
        "A": "1",
        "B": "a=b",
        "C": "x # y",
        "D": "two\nlines",
        "E": "${A}",
        "F": "ünï",
        "EMPTY": "",
    }


def test_dotenv_location_is_relative_to_the_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/my.env").write_text("A=1\n")
    settings = ServiceSettings("dotenv", {"location": "sub/my.env"})
    assert open_secrets(settings, folder=tmp_path).get("A") == "1"


def test_dotenv_is_read_again_only_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dotenv

    reads = []
    real = dotenv.dotenv_values
    monkeypatch.setattr(dotenv, "dotenv_values", lambda *a, **k: reads.append(1) or real(*a, **k))
    file = tmp_path / ".env"
    file.write_text("A=1\n")
    store = DotenvSecrets(file)
    assert (store.get("A"), store.get("A"), len(reads)) == ("1", "1", 1)
    file.write_text("A=22\n")
    os.utime(file, ns=(1, 1))
    assert (store.get("A"), len(reads)) == ("22", 2)


def test_a_dotenv_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing\.env is not there"):
        DotenvSecrets(tmp_path / "nothing.env").all()
    (tmp_path / "binary").write_bytes(b"A=\xff\xfe")
    with pytest.raises(ConfigurationError, match="cannot be read as UTF-8"):
        DotenvSecrets(tmp_path / "binary").all()


def test_environment_gives_one_by_one_and_never_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", "value")
    assert EnvSecrets().get("MY_SECRET") == "value"
    assert EnvSecrets().all() == {}
    with pytest.raises(SecretNotFoundError, match="environment variable"):
        EnvSecrets().get("NOT_THERE")


def test_an_unknown_type_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"'vault'; known are: aws-secrets-manager, do-nothing, dotenv"
    ):
        open_secrets(ServiceSettings("vault"), folder=tmp_path)


def test_another_package_can_add_a_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint, EntryPoints

    from airflow_magnus.stores import secrets

    point = EntryPoint("mine", "airflow_magnus.stores.secrets:DoNothingSecrets", secrets.ENTRY_POINTS)
    monkeypatch.setattr(secrets, "entry_points", lambda group: EntryPoints([point]))
    assert open_secrets(ServiceSettings("mine"), folder=tmp_path).all() == {}


def test_aws_needs_an_arn(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="needs secret_arn"):
        open_secrets(ServiceSettings("aws-secrets-manager"), folder=tmp_path)
