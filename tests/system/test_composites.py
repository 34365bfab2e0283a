"""Composite steps on a real scheduler: one task for each step and item at any depth, long maps, and how they look."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from servers.airflow import AirflowServer
from system.pictures import signed_in, take

pytestmark = pytest.mark.external

PIPELINES = Path(__file__).parent / "pipelines"
EXAMPLES = Path(__file__).parents[2] / "dags_examples" / "pipelines"
MANY = int(os.environ.get("TEST_MAP_ITEMS", "300"))
"""Items of the long map. A scheduler and its tasks on two cores do two or three of them a second."""
LONG = """\
dag:
  start_at: make
  steps:
    make: {type: task, command_type: python-lambda, command: "lambda count: {'items': list(range(count))}", next: each}
    each:
      type: map
      iterate_on: items
      iterate_as: item
      next: success
      branch:
        start_at: square
        steps:
          square: {type: task, command_type: python-lambda, command: "lambda item: {'square': item * item}", next: success}
          success: {type: success}
          fail: {type: fail}
    success: {type: success}
    fail: {type: fail}
"""
LOADER = """\
# airflow dag
from airflow_magnus import pipeline_dag

dag = pipeline_dag("composites/{name}.yaml")
"""


@pytest.fixture(scope="module")
def composites(airflow: AirflowServer) -> AirflowServer:
    """Airflow with the pipelines of this module."""
    folder = airflow.dags / "composites"
    shutil.copytree(EXAMPLES, folder, ignore=lambda _, names: [n for n in names if n.endswith(".yaml")])
    for file in (PIPELINES / "nested.yaml", PIPELINES / "count.yaml", EXAMPLES / "nested-map.yaml"):
        shutil.copy(file, folder)
    (folder / "long.yaml").write_text(LONG)
    for name in ("nested", "nested-map", "long"):
        (airflow.dags / f"composites_{name}.py").write_text(LOADER.format(name=name))
    return airflow


@pytest.fixture(scope="module")
def nested(composites: AirflowServer) -> str:
    """Airflow's id of a run that has ended."""
    run_id = composites.trigger("nested")
    assert composites.wait_for_run("nested", run_id, 300) == "success"
    return run_id


CITIES = ["rome", "oslo", "bonn"]
DAYS = [f"{city} / {day}" for city in ("rome", "bonn") for day in (1, 2)]
HOURS = [f"{day} / {hour}" for day in DAYS for hour in (1, 2)]
MEASURE = "each-city.both.weather.each-day.each-hour.each.measure"


def test_every_step_has_a_task_for_each_item_when_maps_are_three_deep(
    composites: AirflowServer, nested: str
) -> None:
    labels: dict[str, list[str]] = {}
    for task in composites.task_instances("nested", nested):
        if task["map_index"] >= 0:
            assert task["state"] == "success"
            labels.setdefault(task["task_id"], []).append(task["rendered_map_index"])
    in_city, in_day = "each-city.each", "each-city.both.weather.each-day.each"
    behind = "each-city.each-2.both.weather"
    assert labels == {
        f"{in_city}.list": CITIES,
        f"{in_city}.both.start": CITIES,
        f"{in_city}.both.people.count.start": CITIES,
        f"{in_city}.both.people.count.dag.ask": CITIES,
        f"{in_city}.both.people.count.end": CITIES,
        f"{in_day}.read": DAYS,
        f"{in_day}.show": DAYS,
        MEASURE: HOURS,
        f"{in_day}-2.each-hour": DAYS,
        f"{behind}.each-day": CITIES,
        f"{behind}.after": CITIES,
        "each-city.each-2.both.end": CITIES,
        "each-city.each-2.sum": CITIES,
    }


def test_run_log_is_that_of_magnus_execute(composites: AirflowServer, nested: str, tmp_path: Path) -> None:
    shutil.copytree(PIPELINES, tmp_path, dirs_exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    command = [sys.executable, "-m", "airflow_magnus", "execute", "--file", "nested.yaml", "--run-id", "here"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    here = json.loads((tmp_path / ".run_log_store" / "here.json").read_text())
    assert lasting(composites.run_log(nested)) == lasting(here)


def lasting(log: Any) -> Any:
    """A run log without what differs from run to run."""
    passing = ("run_id", "start_time", "end_time", "duration", "scheduler", "code_identities", "run_config")
    if isinstance(log, dict):
        return {name: lasting(value) for name, value in log.items() if name not in passing}
    return [lasting(value) for value in log] if isinstance(log, list) else log


@pytest.mark.parametrize("count", [0, 1, MANY])
def test_map_has_as_many_tasks_as_items(composites: AirflowServer, count: int) -> None:
    run_id = composites.trigger("long", {"count": count})
    assert composites.wait_for_run("long", run_id, 120 + 2 * count) == "success"
    tasks = [t for t in composites.task_instances("long", run_id) if t["task_id"] == "each.each.square"]
    assert [task["map_index"] for task in tasks if task["state"] == "success"] == list(range(count))
    log = composites.run_log(run_id)
    assert log["status"] == "SUCCESS"
    assert list(log["steps"]["each"]["branches"]) == [f"each.{item}" for item in range(count)]
    assert log["parameters"].get("square", 0) == max(count - 1, 0) ** 2


def test_map_is_refused_with_the_setting_when_airflow_allows_fewer_items(composites: AirflowServer) -> None:
    run_id = composites.trigger("long", {"count": 5000})
    assert composites.wait_for_run("long", run_id) == "failed"
    log = composites.run_log(run_id)
    assert log["steps"]["each"]["status"] == "FAIL"
    message = log["steps"]["each"]["message"]
    assert "the map has 5000 items, and this Airflow allows 1024" in message
    assert "[core] max_map_length (AIRFLOW__CORE__MAX_MAP_LENGTH)" in message


def test_ui_shows_groups_and_items(composites: AirflowServer, nested: str, tmp_path: Path) -> None:
    example = composites.trigger("nested-map")
    assert composites.wait_for_run("nested-map", example) == "success"
    with signed_in(composites.base_url, "admin", "admin") as page:
        for dag_id, run_id in (("nested", nested), ("nested-map", example)):
            page.set_viewport_size({"width": 1600, "height": 900})
            page.goto(f"{composites.base_url}/dags/{dag_id}/runs/{quote(run_id)}")
            page.get_by_label("Show Grid").click()
            page.get_by_label("Expand all task groups").click()
            page.wait_for_timeout(2000)
            page.screenshot(path=str(tmp_path / f"{dag_id}-grid.png"))
            page.get_by_label("Show Graph").click()
            page.get_by_label("Collapse Details Panel").click()
            page.wait_for_timeout(2000)
            page.set_viewport_size({"width": 1600, "height": 560})
            page.get_by_label("Fit View").click()
            page.wait_for_timeout(2000)
            page.screenshot(path=str(tmp_path / f"{dag_id}-graph.png"))
            for text in (
                "success",
                "fail",
                f"start of {'each order' if dag_id == 'nested-map' else 'each hour'}",
            ):
                assert page.get_by_text(text, exact=True).count(), text
        page.set_viewport_size({"width": 1600, "height": 900})
        task = f"{composites.base_url}/dags/nested/runs/{quote(nested)}/tasks/{MEASURE}/mapped"
        take(page, task, tmp_path / "items.png", wait_for="rome / 1 / 2")
        for label in HOURS:
            assert page.get_by_text(label, exact=True).count(), label
    kept = os.environ.get("TEST_PICTURES")
    if kept:
        shutil.copytree(tmp_path, kept, dirs_exist_ok=True)
