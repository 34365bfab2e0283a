from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from airflow_magnus.secrets_backend import DotenvSecretsBackend


def test_connections_variables_and_settings_are_found(tmp_path: Path) -> None:
    file = tmp_path / "airflow.env"
    file.write_text(
        "AIRFLOW_CONN_LAB=http://user:pw@host:1/\n"
        'AIRFLOW_CONN_SHOP=\'{"conn_type": "http", "host": "shop"}\'\n'
        "AIRFLOW_VAR_COLOUR=red\nMY_CONFIG_SQL=sqlite://\n"
    )
    backend = DotenvSecretsBackend(location=str(file), config_prefix="MY_CONFIG_")
    assert backend.get_connection("lab").port == 1
    assert backend.get_connection("shop").host == "shop"
    assert backend.get_connection("nothing") is None
    assert (backend.get_variable("colour"), backend.get_variable("x")) == ("red", None)
    assert backend.get_config("sql") == "sqlite://"


def test_a_file_that_is_not_there_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    backend = DotenvSecretsBackend(location="not-there.env")
    with caplog.at_level(logging.WARNING):
        assert [backend.get_conn_value("a"), backend.get_variable("b"), backend.get_config("c")] == [None] * 3
    assert len(caplog.records) == 1
    assert os.environ["AIRFLOW_HOME"] in caplog.text
