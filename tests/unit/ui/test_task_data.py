"""Which run the data of a task are compared with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from airflow_magnus.runlog.summaries import Direction, FileUse, RunSummary
from airflow_magnus.ui.task_data import _run_before


def use(run_id: str, direction: Direction) -> FileUse:
    return FileUse(run_id, "p", "clean", 0, direction, "a.csv", "0" * 64, 1, "")


def before(this: str, uses: dict[str, list[FileUse]]) -> str:
    """The id of the run before, of runs that started in the order of their ids."""
    runs = {
        run_id: RunSummary(run_id=run_id, dag_id="d", pipeline="p", start=f"2026-03-0{n} 10:00:00+00:00")
        for n, run_id in enumerate(sorted(uses), 1)
    }
    view = SimpleNamespace(summaries=dict(reversed(runs.items())), uses_of=lambda run_id: uses[run_id])
    run = SimpleNamespace(header=SimpleNamespace(run_id=this))
    found = _run_before(cast(Any, run), "clean", cast(Any, view))
    return found.run_id if found else ""


def test_a_run_that_took_the_step_over_is_passed_over() -> None:
    uses = {
        "r1": [use("r1", "get"), use("r1", "put")],
        "r2": [use("r2", "restored")],
        "r3": [use("r3", "get")],
    }
    assert before("r3", uses) == "r1"
    assert before("r2", uses) == "r1"
    assert before("r1", uses) == ""
