"""Where the buttons on a task's page lead."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_magnus.operators.links import JupyterLink, RerunLink, links_of_steps

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


@pytest.mark.parametrize(
    ("setting", "notebook", "expected"),
    [
        ("https://j.example/", "", "https://j.example/lab/tree/runs/p%C3%A4/2026-01-02/a.b.manual"),
        ("https://j.example", "x/o ut.ipynb", "https://j.example/lab/tree/runs/p%C3%A4/2026-01-02/a.b.manual/x/o%20ut.ipynb"),
        ("https://j.example/tree/old/{path}?x", "", "https://j.example/tree/old/p%C3%A4/2026-01-02/a.b.manual?x"),
    ],
)  # fmt: skip
def test_link_to_jupyter_leads_to_the_run_or_its_executed_notebook(
    monkeypatch: pytest.MonkeyPatch, setting: str, notebook: str, expected: str
) -> None:
    monkeypatch.setenv("AIRFLOW__MAGNUS__JUPYTER_URL", setting)
    step = SimpleNamespace(magnus_run_place=("pä", "2026-01-02", "a.b.manual"), magnus_notebook=notebook)
    assert JupyterLink().get_link(step, ti_key=KEY) == expected
    assert [link.name for link in links_of_steps()] == ["Run log", "Open in Jupyter"]


def test_there_is_no_button_to_jupyter_when_none_is_configured() -> None:
    assert JupyterLink().get_link(RUN, ti_key=KEY) == ""
    assert [link.name for link in links_of_steps()] == ["Run log"]
