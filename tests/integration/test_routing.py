"""Which steps run, and what colour Airflow's tasks and runs have. X → A (on_failure: H) → B → C, H → C."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_magnus.dags import embedded
from airflow_magnus.dags.builder import pipeline_dag
from pipelines import shell

ENDS = {"success": {"type": "success"}, "fail": {"type": "fail"}}
RunFile = Callable[..., Any]


@pytest.fixture
def run_file(project: Path, run_dag: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> RunFile:
    """Runs a graph as a DAG: the run log, the tasks' states, the state of the DAG run."""

    def run(steps: dict[str, Any], start_at: str, name: str = "routing") -> Any:
        file = project / f"{name}.yaml"
        file.write_text(yaml.safe_dump({"dag": {"start_at": start_at, "steps": {**steps, **ENDS}}}))
        dag = pipeline_dag(file)
        states: dict[str, str] = {}
        monkeypatch.setattr(embedded, "_current", dag)
        log, states = run_dag(dag)
        return log, states, dag

    return run


def graph(*failing: str) -> dict[str, Any]:
    def step(name: str, **keys: Any) -> dict[str, Any]:
        return shell("exit 1" if name in failing else "true", **keys)

    return {
        "X": step("X", next="A"),
        "A": step("A", next="B", on_failure="H"),
        "B": step("B", next="C"),
        "H": step("H", next="C"),
        "C": step("C", next="success"),
    }


@pytest.mark.parametrize(
    ("failing", "path", "status"),
    [
        ("", "X A B C success", "SUCCESS"),
        ("X", "X fail", "FAIL"),
        ("A", "X A H C success", "SUCCESS"),
        ("B", "X A B fail", "FAIL"),
        ("C", "X A B C fail", "FAIL"),
        ("AH", "X A H fail", "FAIL"),
        ("AC", "X A H C fail", "FAIL"),
    ],
)
def test_steps_on_the_path_run_and_no_others(run_file: RunFile, failing: str, path: str, status: str) -> None:
    log, states, _ = run_file(graph(*failing), "X", f"routing-{failing or 'none'}")
    assert log.status == status
    assert list(log.steps) == path.split()
    assert [n for n, s in log.steps.items() if s.status == "FAIL"] == [
        n for n in path.split() if n in failing
    ]
    assert log.steps[path.split()[-1]].status == "SUCCESS"
    for name in "XABHC":
        expected = {"failed"} if name in failing and name in path.split() else {"success"}
        assert states[name] in (expected if name in path.split() else {"skipped", "upstream_failed"}), name
    assert states["success"] == "success" if status == "SUCCESS" else states["success"] != "success"
    assert states["fail"] == ("skipped" if status == "SUCCESS" else "failed")


def test_pipeline_fails_when_a_step_that_succeeds_leads_to_fail(run_file: RunFile) -> None:
    log, states, _ = run_file({"a": shell("true", next="fail")}, "a", "next-is-fail")
    assert (log.status, list(log.steps)) == ("FAIL", ["a", "fail"])
    assert states == {"a": "success", "fail": "failed"}


def test_pipeline_succeeds_when_it_starts_at_success(run_file: RunFile) -> None:
    log, states, _ = run_file({}, "success", "starts-at-success")
    assert (log.status, list(log.steps)) == ("SUCCESS", ["success"])
    assert states["success"] == "success"


def test_pipeline_fails_when_it_starts_at_fail(run_file: RunFile) -> None:
    log, states, _ = run_file({}, "fail", "starts-at-fail")
    assert (log.status, list(log.steps), states) == ("FAIL", ["fail"], {"fail": "failed"})


def test_unreachable_step_has_no_task(run_file: RunFile) -> None:
    _, states, dag = run_file(
        {"a": shell("true", next="success"), "lost": shell("true", next="a")}, "a", "lost"
    )
    assert "lost" not in states
    assert "lost" not in dag.task_ids


def test_failure_may_lead_to_success_directly(run_file: RunFile) -> None:
    steps = {"a": shell("exit 1", next="b", on_failure="success"), "b": shell("true", next="success")}
    log, states, _ = run_file(steps, "a", "failure-to-success")
    assert (log.status, list(log.steps)) == ("SUCCESS", ["a", "success"])
    assert states["success"] == "success"
    assert states["a"] == "failed"


def test_success_and_failure_may_lead_to_the_same_step(run_file: RunFile) -> None:
    for command, status in (("true", "SUCCESS"), ("exit 1", "FAIL")):
        steps = {"a": shell(command, next="b", on_failure="b"), "b": shell("true", next="success")}
        log, states, _ = run_file(steps, "a", f"same-{status}")
        assert (log.status, list(log.steps), log.steps["a"].status) == (
            "SUCCESS",
            ["a", "b", "success"],
            status,
        )
        assert states["b"] == "success"


def test_handler_has_a_handler_of_its_own(run_file: RunFile) -> None:
    steps = {
        "a": shell("exit 1", next="success", on_failure="h"),
        "h": shell("exit 1", next="success", on_failure="hh"),
        "hh": shell("true", next="success"),
    }
    log, states, _ = run_file(steps, "a", "handlers")
    assert (log.status, list(log.steps)) == ("SUCCESS", ["a", "h", "hh", "success"])
    assert (states["hh"], states["success"], states["fail"]) == ("success", "success", "skipped")


def test_steps_of_any_name_are_tasks(run_file: RunFile) -> None:
    steps = {
        "schritt eins – ü": shell("true", next="a/b", on_failure="x--on_failure"),
        "a/b": shell("true", next="--"),
        "--": shell("true", next="success"),
        "x--on_failure": shell("true", next="success"),
        "x": shell("true", next="success"),
    }
    log, states, dag = run_file(steps, "schritt eins – ü", "names")
    assert list(log.steps) == ["schritt eins – ü", "a/b", "--", "success"]
    assert {t.task_display_name for t in dag.tasks} >= {"schritt eins – ü", "a/b", "--"}
    assert states["success"] == "success"
