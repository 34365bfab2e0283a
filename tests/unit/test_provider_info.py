from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.get_provider_info import get_provider_info
from airflow_magnus.hooks.settings import KNOWN_KEYS

KINDS = {"magnus_catalog": "catalog", "magnus_run_log": "run_log", "magnus_secrets": "secrets"}
FORMS = {entry["connection-type"]: entry for entry in get_provider_info()["connection-types"]}


def test_metadata_follows_airflows_schema() -> None:
    import airflow
    import jsonschema

    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)
    distribution(get_provider_info()["package-name"])


def test_metadata_imports_nothing_heavy() -> None:
    code = (
        "import sys; from airflow_magnus.get_provider_info import get_provider_info as g; g();"
        "print([n for n in ('airflow','boto3','obstore','sqlalchemy','pydantic','yaml') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", KINDS)
def test_every_field_of_a_form_is_read_and_optional(name: str) -> None:
    fields: dict[str, Any] = FORMS[name]["conn-fields"]
    assert set(fields) <= KNOWN_KEYS[KINDS[name]]  # type: ignore[index]
    for field in fields.values():
        assert "null" in field["schema"]["type"]
        assert field["label"]
        assert field["description"]


def test_every_option_of_seed_000_is_in_the_catalogs_form() -> None:
    assert {
        "aws_profile",
        "use_credentials",
        "region",
        "aws_credentials_file",
        "aws_access_key_name",
        "aws_secret_access_key_name",
        "aws_session_key_name",
        "role_arn",
        "session_duration_in_seconds",
        "compute_data_folder",
        "s3_bucket",
        "prefix",
    } <= set(FORMS["magnus_catalog"]["conn-fields"])


def test_airflow_finds_everything() -> None:
    from airflow.providers_manager import ProvidersManager
    from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

    manager = ProvidersManager()
    assert manager.providers["airflow-provider-magnus"].version
    for name in KINDS:
        hook = ProvidersManagerTaskRuntime().hooks[name]
        assert hook is not None
        assert hook.connection_type == name
        assert f"extra__{name}__region" in manager.connection_form_widgets
        assert "port" in manager.field_behaviours[name]["hidden_fields"]
    assert manager.field_behaviours["magnus_catalog"]["relabeling"]["host"] == "URL"
    assert "airflow_magnus.secrets_backend.DotenvSecretsBackend" in manager.secrets_backend_class_names
    assert any(
        function.__module__ == "airflow_magnus.airflow_cli" for function in manager.cli_command_functions
    )


def test_settings_have_defaults() -> None:
    from airflow.providers.common.compat.sdk import conf

    assert conf.get("magnus", "catalog_conn_id") == "magnus_catalog_default"
    assert conf.get("magnus", "work_folder") == ""
    assert conf.getboolean("magnus", "link_working_copy") is False
    assert conf.getboolean("magnus", "keep_work_folders") is False


def test_airflow_magnus_hands_over_all_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.cli.cli_parser import get_parser

    from airflow_magnus import airflow_cli

    given: list[list[str]] = []
    monkeypatch.setattr(airflow_cli.os, "execv", lambda _, argv: given.append(argv[1:]))
    for line in (["magnus", "execute", "--file", "x.yaml", "--x", "3", "--help"], ["magnus"]):
        args = get_parser().parse_args(line)
        args.func(args)
    assert given == [
        ["-m", "airflow_magnus", "execute", "--file", "x.yaml", "--x", "3", "--help"],
        ["-m", "airflow_magnus", "--help"],
    ]
