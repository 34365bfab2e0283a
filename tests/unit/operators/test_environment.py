from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_magnus.operators.environment import (
    PARAMETERS_FILE,
    SHIM,
    child_environment,
    code_path,
    parameter_variables,
    replaced_environment,
    variables_set,
)

COUNT = "import os,sys; sys.stdout.write(str(len(os.environ.get('MAGNUS_PRM_x', ''))))"


def test_parameters_are_json_in_variables() -> None:
    warnings: list[str] = []
    values = {"x": 1, "Name": "ü", "list": [1, {"a": None}], "with space": True}
    made = parameter_variables(values, warnings)
    assert {name: json.loads(text) for name, text in made.items()} == {
        f"MAGNUS_PRM_{name}": value for name, value in values.items()
    }
    assert warnings == []


def test_the_longest_parameter_that_is_given_reaches_a_program() -> None:
    length = 128 * 1024
    warnings: list[str] = []
    while not (made := parameter_variables({"x": "a" * length}, warnings)):
        length -= 1
    assert 128 * 1024 - length < 20
    done = subprocess.run([sys.executable, "-c", COUNT], env=made, capture_output=True, text=True, check=True)
    assert done.stdout == str(length + 2)


def test_a_parameter_too_long_for_a_variable_is_named_and_left_out() -> None:
    warnings: list[str] = []
    made = parameter_variables({"short": 1, "long": "ü" * 70_000}, warnings)
    assert made == {"MAGNUS_PRM_short": "1"}
    assert len(warnings) == 1
    assert "'long'" in warnings[0]
    assert PARAMETERS_FILE in warnings[0]


def test_many_long_parameters_together_still_reach_a_program() -> None:
    warnings: list[str] = []
    made = parameter_variables({f"p{number}": "a" * 100_000 for number in range(60)}, warnings)
    subprocess.run([sys.executable, "-c", COUNT], env=os.environ | made, check=True, capture_output=True)


def test_children_see_nothing_of_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://user:secret@host",
        "AIRFLOW__API_AUTH__JWT_SECRET": "secret",
        "AIRFLOW_CONN_AWS": "secret",
        "AIRFLOW_VAR_TOKEN": "secret",
        "_AIRFLOW_PROCESS_CONTEXT": "secret",
        "MAGNUS_PRM_of_somebody_else": "secret",
    }
    for name, value in {**secret, "MINE": "kept", "AIRFLOW_HOME": "/home"}.items():
        monkeypatch.setenv(name, value)
    made = child_environment({"MAGNUS_PRM_x": "1"})
    assert not set(secret) & set(made)
    assert (made["MINE"], made["AIRFLOW_HOME"], made["MAGNUS_PRM_x"]) == ("kept", "/home", "1")


def test_the_shim_is_behind_the_users_own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/a::/b")
    assert child_environment({})["PYTHONPATH"] == f"/a:/b:{SHIM}"
    monkeypatch.delenv("PYTHONPATH")
    assert child_environment({})["PYTHONPATH"] == str(SHIM)


def test_the_environment_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFORE", "1")
    before = dict(os.environ)

    def run() -> None:
        with replaced_environment({"ONLY": "x"}):
            assert dict(os.environ) == {"ONLY": "x"}
            os.environ["NEW"] = "y"
            raise KeyError

    with pytest.raises(KeyError):
        run()
    assert dict(os.environ) == before


def test_code_is_found_in_its_folder_and_afresh_in_the_next(tmp_path: Path) -> None:
    before, path, folder = set(sys.modules), list(sys.path), Path.cwd()
    for number in (1, 2):
        here = tmp_path / str(number)
        (here / "package_of_user").mkdir(parents=True)
        (here / "module_of_user.py").write_text(f"value = {number}")
        (here / "package_of_user/__init__.py").write_text("")
        (here / "package_of_user/inner.py").write_text(f"value = {number}")
        with code_path(here):
            assert Path.cwd() == here
            import module_of_user
            from package_of_user import inner

            assert (module_of_user.value, inner.value) == (number, number)
            assert sys.path[0] == str(here)
            assert sys.path[-1] == str(SHIM)
    assert (sys.path, Path.cwd()) == (path, folder)
    assert not {n for n in set(sys.modules) - before if n.startswith(("module_of_user", "package_of_user"))}


def test_what_code_sets_in_the_environment_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAGNUS_PRM_same", "1")
    monkeypatch.setenv("MAGNUS_PRM_changed", "1")
    before = dict(os.environ)
    monkeypatch.setenv("MAGNUS_PRM_changed", "2")
    monkeypatch.setenv("MAGNUS_PRM_new", '{"a": [1]}')
    monkeypatch.setenv("MAGNUS_PRM_text", "not json")
    monkeypatch.setenv("OTHER", "x")
    assert variables_set(before, "MAGNUS_PRM_") == {"changed": 2, "new": {"a": [1]}, "text": "not json"}
