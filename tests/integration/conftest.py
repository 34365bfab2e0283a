"""Pipelines and DAGs run in this process, on one Airflow for all tests."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus import cli
from airflow_magnus.dags import embedded
from airflow_magnus.pipeline.identifiers import safe_run_id
from airflow_magnus.pipeline.model import ServiceSettings
from airflow_magnus.runlog.records import RunLog
from airflow_magnus.stores.runlogs import RunLogStore
from airflow_magnus.stores.services import open_run_log


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow_home: Path) -> Path:
    """An empty folder, made the current one."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def magnus(project: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process: (exit status, standard output, standard error)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = cli.main(list(arguments))
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def execute(magnus: Callable[..., tuple[int, str, str]], project: Path) -> Callable[..., RunLog]:
    """Runs a pipeline's text to its end and gives its run log."""

    def run(text: str, *arguments: str) -> RunLog:
        (project / "pipeline.yaml").write_text(text)
        code, out, err = magnus("execute", "-f", "pipeline.yaml", *arguments)
        assert code in (0, 1), err
        log = RunLog.model_validate(json.loads(out))
        assert code == (0 if log.status == "SUCCESS" else 1)
        return log

    return run


@pytest.fixture
def run_dag(airflow_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., RunLog]]:
    """Runs a hand-written DAG to its end and gives the run log of its DAG run, and the states of its tasks."""
    before = dict(os.environ)

    def run(dag: Any, conf: Mapping[str, Any] | None = None) -> tuple[RunLog, dict[str, str]]:
        monkeypatch.setattr(embedded, "_current", dag)
        dag_run = dag.test(run_conf=dict(conf or {}))
        states = {ti.task_id: str(ti.state) for ti in dag_run.get_task_instances()}
        return run_log_store(airflow_home).find(safe_run_id(f"{dag.dag_id}.{dag_run.run_id}")), states

    yield run
    os.environ.clear()
    os.environ.update(before)


def run_log_store(home: Path) -> RunLogStore:
    """The embedded default's run log."""
    settings = ServiceSettings("file-system", {"log_folder": str(home / "magnus" / "run_log")})
    return open_run_log(settings, folder=home)
