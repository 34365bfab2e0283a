"""The pages of runs: the tab *Run log*, the list, the comparison. On Airflow's database, no server."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
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
Clients = Callable[..., Client]
MAP = """type: map
iterate_on: regions
iterate_as: region
next: use
branch:
  start_at: clean
  steps:
    clean: {type: task, command_type: shell, command: "true", next: success}
    success: {type: success}
    fail: {type: fail}
"""
PIPELINE = f"""
parameters: {{x: 1, regions: [eu, us]}}
dag:
  description: Orders & their <regions>
  start_at: make
  steps:
    make:
      type: task
      command_type: shell
      command: mkdir -p data; printf 'one\\ntwo\\n%s\\n' $MAGNUS_PRM_x > data/a.txt
      catalog: {{put: ["*"]}}
      next: each
    each:
{"".join("      " + line + chr(10) for line in MAP.splitlines())}
    use:
      type: task
      command_type: shell
      command: echo '<b>oh</b>' >&2; test $MAGNUS_PRM_x = 1
      catalog: {{get: [a.txt]}}
      on_failure: clean up
      next: ways
    clean up: {{type: task, command_type: shell, command: "true", next: fail}}
    ways:
      type: parallel
      next: success
      branches:
        left:
          start_at: one
          steps: {{one: {{type: as-is, next: success}}, success: {{type: success}}, fail: {{type: fail}}}}
        right:
          start_at: two
          steps: {{two: {{type: as-is, next: success}}, success: {{type: success}}, fail: {{type: fail}}}}
    success: {{type: success}}
    fail: {{type: fail}}
"""


@pytest.fixture(scope="module")
def store(airflow_home: Path) -> RunLogStore:
    """The embedded default's run log."""
    settings = ServiceSettings("file-system", {"log_folder": str(airflow_home / "magnus" / "run_log")})
    return open_run_log(settings, folder=airflow_home)


@pytest.fixture(scope="module")
def runs(store: RunLogStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunLog, RunLog]:
    """A run that succeeded and, with another parameter, one whose last step failed."""
    folder = tmp_path_factory.mktemp("pipelines")
    good = run_once(PIPELINE, store, folder, {"x": 1, "tag": "good"})
    bad = run_once(PIPELINE, store, folder, {"x": 2, "tag": "<i>bad</i>"})
    assert (good.status, bad.status) == ("SUCCESS", "FAIL")
    return good, bad


def run_once(
    text: str, store: RunLogStore, folder: Path, conf: dict[str, Any], dag_id: str = DAG_ID
) -> RunLog:
    file = folder / "p.yaml"
    file.write_text(text)
    before = dict(os.environ)
    try:
        embedded._current = dag = pipeline_dag(file, dag_id=dag_id)
        dag_run = dag.test(run_conf=conf)
    finally:
        embedded._current = None
        os.environ.clear()
        os.environ.update(before)
    return store.find(safe_run_id(f"{dag_id}.{dag_run.run_id}"))


def place(log: RunLog) -> str:
    return f"{log.scheduler['dag_id']}/{quote(log.scheduler['run_id'], safe='')}"


def url(log: RunLog, **query: str) -> str:
    asked = "&".join(f"{key}={quote(value)}" for key, value in query.items())
    return f"/magnus/runs/{place(log)}?{asked}"


def test_page_shows_steps_files_and_parameters(client: Clients, runs: tuple[RunLog, RunLog]) -> None:
    answer = client("admin").get(url(runs[1]))
    assert answer.status_code == 200, words(answer.text)
    Path("/tmp/ui-page.html").write_text(answer.text)
    Path("/tmp/ui-runs.html").write_text(client("admin").get("/magnus/runs").text)
    Path("/tmp/ui-compare.html").write_text(client("admin").get(f"/magnus/compare/{place(runs[0])}/{quote(runs[1].scheduler['run_id'], safe='')}?step=make&file=a.txt").text)
    Path("/tmp/ui-choice.html").write_text(client("admin").get(f"/magnus/compare/{place(runs[0])}").text)
    Path("/tmp/ui-pipeline.html").write_text(client("admin").get(f"/magnus/pipelines/{DAG_ID}").text)
