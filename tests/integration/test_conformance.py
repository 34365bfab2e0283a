"""The cases of the original system's behaviour, through the command line, in this process; a handful as real commands."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
from contextlib import redirect_stderr
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from airflow_magnus import cli

HERE = Path(__file__).resolve().parents[1] / "conformance"
CASES = {path.name: path for path in sorted((HERE / "cases").iterdir())}
RECORDS_EVERY_PATTERN = "catalog_put_get"
"""Its expected record is the original's defect 18 (only the last pattern's files), where contract 15 says: every one."""


def _conform() -> ModuleType:
    spec = importlib.util.spec_from_file_location("conform", HERE / "conform.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def conform(
    airflow_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> ModuleType:
    """conform.py, with the command run in this process."""
    module = _conform()
    run = subprocess.run

    def in_process(argv: list[str], **kwargs: object) -> object:
        if not isinstance(argv, list) or argv[0] != "magnus":
            return run(argv, **kwargs)  # type: ignore[call-overload]
        before, folder = dict(os.environ), os.getcwd()
        capfd.readouterr()
        errors = io.StringIO()
        try:
            os.environ.update(kwargs["env"])  # type: ignore[call-overload]
            os.chdir(kwargs["cwd"])  # type: ignore[arg-type]
            with redirect_stderr(errors):
                code = cli.main(argv[1:])
        finally:
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(before)
        out, err = capfd.readouterr()
        return SimpleNamespace(returncode=code, stdout=out, stderr=errors.getvalue() + err)

    monkeypatch.setattr(module.subprocess, "run", in_process)
    return module


@pytest.mark.filterwarnings("ignore:unclosed file")  # of the cases' own code
@pytest.mark.parametrize("name", CASES)
def test_outcome_is_as_recorded_when_case_is_run(conform: ModuleType, name: str) -> None:
    problems = conform.run_case(CASES[name], ["magnus"])
    if name == RECORDS_EVERY_PATTERN:
        assert len(problems) == 1
        assert "('put', 'a.txt'" in problems[0].split("got")[1]
        assert "('put', 'b.csv'" in problems[0].split("got")[1]
    else:
        assert problems == []


@pytest.mark.parametrize(
    "name", ["getting_started", "retry_succeeds_third", "on_failure_rejoins", "bad_cycle", "notebook"]
)
def test_outcome_is_as_recorded_when_case_is_run_by_command(name: str) -> None:
    command = [sys.executable, "-m", "airflow_magnus"]
    assert _conform().run_case(CASES[name], command) == []
