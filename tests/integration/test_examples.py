"""Every pipeline of dags_examples runs by the command line, as its first lines say."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_magnus.runlog.records import RunLog

EXAMPLES = Path(__file__).resolve().parents[2] / "dags_examples" / "pipelines"
ARGUMENTS = {"getting-started": ["--x", "3"], "rerun": ["--day", "2026-03-01"]}
ELSEWHERE = {"container", "mount"}
"""Examples that need more than Python; the second runs in ``test_climate.py``."""
NAMES = sorted(
    {file.stem for file in EXAMPLES.glob("*.yaml") if not file.name.endswith(".sub.yaml")} - ELSEWHERE
)

Run = Callable[..., RunLog]


@pytest.fixture
def run(magnus: Callable[..., tuple[int, str, str]], project: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs an example in a copy of the folder, with the programs of the tests' own environment, such as ``aws``."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    shutil.copytree(EXAMPLES, project, dirs_exist_ok=True)

    def execute(name: str, *arguments: str) -> RunLog:
        _, out, err = magnus("execute", "--isolate", "--file", f"{name}.yaml", *arguments)
        assert out, err
        return RunLog.model_validate_json(out)

    return execute


def put_by(log: RunLog) -> list[str]:
    """Names of the files of all steps of the pipeline's own graph and of its branches."""
    todo, found = [log.steps], []
    while todo:
        for step in todo.pop().values():
            found += [entry.name for entry in step.data_catalog if entry.stage == "put"]
            todo += [branch.steps for branch in step.branches.values()]
    return sorted(found)


@pytest.mark.parametrize("name", NAMES)
def test_example_succeeds(run: Run, name: str) -> None:
    log = run(name, *ARGUMENTS.get(name, []))
    assert log.status == "SUCCESS", json.dumps(json.loads(log.to_json())["steps"], indent=1)


def test_each_item_has_files_of_its_own_when_maps_are_nested(run: Run) -> None:
    assert [name for name in put_by(run("nested-map")) if name.startswith("invoices")] == [
        "invoices/east/6.csv",
        "invoices/north/1.csv",
        "invoices/north/3.csv",
        "invoices/south/5.csv",
    ]


@pytest.mark.parametrize(("minimum", "branch"), [(0, "default"), (200, "one"), (500, "none")])
def test_branch_is_chosen_by_number_of_orders(run: Run, minimum: int, branch: str) -> None:
    log = run("conditional", "--minimum", str(minimum))
    assert (log.status, list(log.steps["report"].branches)) == ("SUCCESS", [f"report.{branch}"])


def test_loop_ends_with_the_last_page(run: Run) -> None:
    log = run("loop", "--page_size", "4")
    assert (log.parameters["pages"], log.parameters["orders"]) == (2, 8)


def test_sub_pipeline_that_fails_is_handled(run: Run, project: Path) -> None:
    (project / "inputs" / "orders.csv").write_text("order,region,amount\n1,north,0\n")
    log = run("sub-pipeline")
    assert (log.status, log.steps["check what came"].status) == ("SUCCESS", "FAIL")
    assert log.steps["take yesterday's"].status == "SUCCESS"


def test_only_the_late_region_runs_when_run_is_taken_up(run: Run, project: Path) -> None:
    assert run("rerun", "--run-id", "first").status == "FAIL"
    inputs = project / "inputs"
    shutil.copy(inputs / "2026-03-01" / "south.csv", inputs / "2026-03-02")
    log = run("rerun", "--use-cached", "first")
    assert (log.status, log.parameters["all_regions"]) == ("SUCCESS", 431.2)
    mocked = {
        name: all(step.mock for step in branch.steps.values() if step.step_type == "task")
        for name, branch in log.steps["each region"].branches.items()
    }
    assert mocked == {"each region.north": True, "each region.south": False, "each region.east": True}
