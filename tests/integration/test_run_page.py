"""The tab *Run log*: what it shows of a run, and to whom. On Airflow's database, no server."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from airflow_magnus.dags import embedded
from airflow_magnus.dags.builder import pipeline_dag
from airflow_magnus.pipeline.identifiers import safe_run_id
from airflow_magnus.pipeline.model import ServiceSettings
from airflow_magnus.runlog.records import RunLog
from airflow_magnus.stores.runlogs import RunLogStore
from airflow_magnus.stores.services import open_run_log
from pipelines import function, linear, shell
from ui_stage import Client, words

DAG_ID = "page-of-run"


@pytest.fixture(scope="module")
def store(airflow_home: Path) -> RunLogStore:
    """The embedded default's run log."""
    settings = ServiceSettings("file-system", {"log_folder": str(airflow_home / "magnus" / "run_log")})
    return open_run_log(settings, folder=airflow_home)


@pytest.fixture(scope="module")
def run(store: RunLogStore, tmp_path_factory: pytest.TempPathFactory) -> RunLog:
    """A run with branches, files and parameters, whose last step failed."""
    inner = linear({"one": shell("true"), "two": shell("true")})
    text = "parameters: {x: 1, y: here}\n" + linear(
        {
            "make": shell("mkdir -p data; echo 1 > data/a.txt", catalog={"put": ["*"]}),
            "set": function("lambda: {'x': 7}"),
            "use": shell("echo '<b>oh</b>' >&2; exit 3", catalog={"get": ["a.txt"]}),
        }
    )
    del inner
    return run_once(text, store, tmp_path_factory.mktemp("pipelines"))


def run_once(text: str, store: RunLogStore, folder: Path, dag_id: str = DAG_ID) -> RunLog:
    file = folder / "p.yaml"
    file.write_text(text)
    before = dict(os.environ)
    try:
        embedded._current = dag = pipeline_dag(file, dag_id=dag_id)
        dag_run = dag.test()
    finally:
        embedded._current = None
        os.environ.clear()
        os.environ.update(before)
    return store.find(safe_run_id(f"{dag_id}.{dag_run.run_id}"))


def url(log: RunLog, **query: str) -> str:
    asked = "&".join(f"{key}={quote(value)}" for key, value in query.items())
    return f"/magnus/runs/{log.scheduler['dag_id']}/{quote(log.scheduler['run_id'], safe='')}?{asked}"


def test_page_shows_steps_files_and_parameters(client: Callable[..., Client], run: RunLog) -> None:
    answer = client("admin").get(url(run))
    assert answer.status_code == 200, words(answer.text)
    said = words(answer.text)
    assert "Run log fail" in said
