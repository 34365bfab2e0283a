"""How runs end on a real scheduler: the DAG run, its tasks and the run log say the same, also when people interfere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from servers.airflow import AirflowServer, wait_for
from system.scenarios import BY_HAND, BY_THEMSELVES, CONF, PIPELINES, SUB, Clear, Mark, Row

pytestmark = pytest.mark.external

ROWS = BY_THEMSELVES + BY_HAND
LOADER = """\
# airflow dag
from airflow_magnus import pipeline_dag

dag = pipeline_dag("states/{name}.yaml")
"""
SIGNS = {"success": "+", "failed": "-", "SUCCESS": "+", "FAIL": "-"}
_MAPS = ("m", "k")
_ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")


def dag_id_of(pipeline: str) -> str:
    """The DAG of a pipeline of the rows, and the name of its files."""
    return re.sub(r"\W+", "-", f"states {pipeline}")


@dataclass
class Scenario:
    """A row while it goes on.

    :param mended: the file that lets bad steps do well.
    """

    row: Row
    airflow: AirflowServer
    mended: Path
    run_id: str = ""
    todo: list[Mark | Clear] = field(default_factory=list)
    error: str = ""

    @property
    def dag_id(self) -> str:
        return dag_id_of(self.row.pipeline)

    def start(self) -> None:
        given = {**CONF.get(re.split(r"\W", self.row.pipeline)[0], {}), **self.row.conf}
        conf = {name: value for name, value in given.items() if value is not None}
        conf |= {"bad": self.row.bad.split(), "mended": str(self.mended)}
        self.run_id = self.airflow.trigger(self.dag_id, conf)
        self.todo = list(self.row.then)

    def go_on(self) -> None:
        """The next change by hand."""
        self.mended.touch()
        change = self.todo.pop(0)
        names = [self._named(task) for task in change.tasks.split(" & ")] if isinstance(change, Clear) else []
        if isinstance(change, Clear):
            self.airflow.clear(
                self.dag_id,
                self.run_id,
                *names,
                downstream=change.downstream,
                only_failed=change.only_failed,
                on_latest=change.on_latest,
            )
        else:
            self.airflow.mark(
                self.dag_id, self.run_id, self._named(change.task), change.state, change.downstream
            )

    def _named(self, task: str) -> str | tuple[str, int]:
        task_id, _, label = task.partition("[")
        if not label:
            return task_id
        found = [
            ti for ti in self.tasks() if ti["task_id"] == task_id and ti["rendered_map_index"] == label[:-1]
        ]
        return task_id, found[0]["map_index"]

    def tasks(self) -> list[dict[str, Any]]:
        return self.airflow.task_instances(self.dag_id, self.run_id)

    @property
    def state(self) -> str:
        return self.airflow.run_state(self.dag_id, self.run_id)


@pytest.fixture(scope="module")
def scenarios(
    request: pytest.FixtureRequest, airflow: AirflowServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Scenario]:
    """The runs of all rows that were asked for, after their ends. All go at the same time."""
    folder = airflow.dags / "states"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "pair.yaml").write_text(json.dumps({"dag": SUB}))
    for name, graph in PIPELINES.items():
        settings = {"dag_id": dag_id_of(name), "max_active_tasks": 64, "max_active_runs": 64}
        text = {
            "airflow": settings,
            "parameters": {"bad": [], "mended": ""},
            # Named here, no task has to ask Airflow for connections.
            "run_log_store": {"type": "file-system", "config": {"log_folder": str(airflow.run_logs)}},
            "catalog": {"type": "do-nothing"},
            "secrets": {"type": "do-nothing"},
            "dag": graph,
        }
        (folder / f"{dag_id_of(name)}.yaml").write_text(json.dumps(text))
        (airflow.dags / f"{dag_id_of(name)}.py").write_text(LOADER.format(name=dag_id_of(name)))
    files = tmp_path_factory.mktemp("mended")
    asked = {item.name for item in request.session.items}
    rows = [row for row in ROWS if any(f"[{row.name}]" in name for name in asked)]
    found = {row.name: Scenario(row, airflow, files / str(number)) for number, row in enumerate(rows)}
    going = list(found.values())
    for scenario in going:
        scenario.start()

    def is_done() -> bool:
        ended = {run["dag_run_id"] for run in _runs(airflow) if run["state"] in ("success", "failed")}
        for scenario in [scenario for scenario in going if scenario.run_id in ended]:
            try:
                while scenario.todo and scenario.state in ("success", "failed"):
                    scenario.go_on()
                is_over = scenario.state in ("success", "failed")
            except Exception as error:
                scenario.error, is_over = repr(error), True
            if is_over:
                going.remove(scenario)
        return not going

    wait_for(is_done, lambda: f"the end of {[scenario.row.name for scenario in going]}", 1200)
    return found


def _runs(airflow: AirflowServer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        answer = airflow.call("GET", f"/api/v2/dags/~/dagRuns?limit=100&offset={len(found)}&order_by=id")
        found += answer["dag_runs"]
        if not answer["dag_runs"] or len(found) >= answer["total_entries"]:
            return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_run_tasks_and_run_log_agree(scenarios: dict[str, Scenario], row: Row) -> None:
    scenario = scenarios[row.name]
    assert not scenario.error
    tasks = scenario.tasks()
    assert not [task["task_id"] for task in tasks if task["state"] not in _ENDED]
    if row.repaired:
        subprocess.run(
            [sys.executable, "-m", "airflow_magnus", "runlog", "repair", "--airflow", scenario.run_id],
            check=True,
        )
    log = scenario.airflow.run_log(scenario.run_id)
    by_log, by_tasks = dict(steps_of(log)), dict(steps_by(tasks))
    said = {**{name: "*" for name, sign in by_tasks.items() if sign == "+"}, **by_log}
    differing = {
        name: (sign, by_log[name]) for name, sign in by_tasks.items() if by_log.get(name, sign)[0] != sign
    }
    assert (scenario.state, log["status"], told(said), differing) == (
        row.ends,
        {"success": "SUCCESS", "failed": "FAIL"}[row.ends],
        told(dict(re.findall(r"(\S+?)([-+*]\d*)(?:\s|$)", row.steps))),
        {},
    )
    assert not {name for name in by_log if name not in by_tasks}


def told(steps: dict[str, str]) -> str:
    """Steps as the rows tell them, by name."""
    return " ".join(name + sign for name, sign in sorted(steps.items()))


def steps_of(log: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and sign of every step of a run log, or of a branch in it."""
    for name, step in log["steps"].items():
        if step["step_type"] in ("success", "fail"):
            continue
        count = len(step["attempts"]) if step["step_type"] == "task" else 1
        yield name, SIGNS.get(step["status"], step["status"]) + ("" if count == 1 else str(count))
        for branch in step["branches"].values():
            yield from steps_of(branch)


def steps_by(tasks: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Name and sign of every step that ran, by the states of the tasks."""
    for task in tasks:
        name = step_of(task["task_id"], task["rendered_map_index"])
        if name and task["state"] in SIGNS:
            yield name, SIGNS[task["state"]]


def step_of(task_id: str, label: str | None) -> str:
    """What the run log calls the step whose state a task has; "" when it has no step's."""
    items = label.split(" / ") if label else []
    segments = [part for part in task_id.split(".") if not re.fullmatch(r"each(-\d+)?", part)]
    if segments[-1] in ("start", "success", "fail") or segments[-1].endswith(("--next", "--on_failure")):
        return ""
    if segments[-1] == "end":
        segments.pop()
    found: list[str] = []
    for number, part in enumerate(segments):
        found.append(part)
        if part in _MAPS and number + 1 < len(segments):
            if not items:
                return ""  # the end of an inner map, for all items of the map around
            found.append(items.pop(0))
    return ".".join(found)
