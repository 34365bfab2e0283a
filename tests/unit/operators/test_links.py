"""Where the buttons on a task's page lead."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_magnus.operators.links import RerunLink

KEY = SimpleNamespace(dag_id="a.b", run_id="manual__2026-01-01T00:00:00+00:00", task_id="fail")
RUN = SimpleNamespace(magnus_run_id="a.b.manual")


def test_link_to_the_rerun_knows_the_run() -> None:
    assert RerunLink().get_link(RUN, ti_key=KEY) == (
        "/magnus/rerun/a.b/manual__2026-01-01T00%3A00%3A00%2B00%3A00?run=a.b.manual"
    )


def test_link_to_the_rerun_lies_below_airflows_own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.org/team/airflow/")
    assert RerunLink().get_link(RUN, ti_key=KEY).startswith("/team/airflow/magnus/rerun/a.b/")


def test_there_is_no_link_to_a_rerun_when_the_task_opened_no_run_log() -> None:
    assert RerunLink().get_link(SimpleNamespace(), ti_key=KEY) == ""
