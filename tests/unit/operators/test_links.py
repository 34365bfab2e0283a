"""Where the buttons on a task's page lead."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_magnus.operators.links import CatalogLink, DataLink, JupyterLink, RunLogLink, links_of_steps

RUN_ID = "manual__2026-01-01T00:00:00+00:00"
QUOTED = "manual__2026-01-01T00%3A00%3A00%2B00%3A00"
KEY = SimpleNamespace(dag_id="a.b", run_id=RUN_ID, task_id="fit.model", map_index=-1)
RUN = SimpleNamespace(magnus_run_id="a.b.manual")


def names(*, by_plugin: bool) -> list[str]:
    return [link.name for link in links_of_steps(by_plugin=by_plugin)]


def test_run_log_and_data_are_tabs_of_airflows_ui() -> None:
    assert RunLogLink().get_link(RUN, ti_key=KEY) == f"/dags/a.b/runs/{QUOTED}/plugin/magnus-run-log"
    task = f"/dags/a.b/runs/{QUOTED}/tasks/fit.model"
    assert DataLink().get_link(RUN, ti_key=KEY) == f"{task}/plugin/magnus-data"
    mapped = SimpleNamespace(**{**vars(KEY), "map_index": 3})
    assert DataLink().get_link(RUN, ti_key=mapped) == f"{task}/mapped/3/plugin/magnus-data"


def test_run_log_leads_where_the_setting_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIRFLOW__MAGNUS__RUN_LOG_URL", "https://b.example/{run_id}.json?{dag_id}&{airflow_run_id}"
    )
    assert RunLogLink().get_link(RUN, ti_key=KEY) == f"https://b.example/a.b.manual.json?a.b&{QUOTED}"
    assert names(by_plugin=True) == ["Run log"]  # its task alone knows the run log's id


def test_links_lie_below_airflows_own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.org/team/airflow/")
    assert CatalogLink().get_link(RUN, ti_key=KEY) == f"/team/airflow/magnus/catalog/a.b/{QUOTED}"
    assert RunLogLink().get_link(RUN, ti_key=KEY).startswith("/team/airflow/dags/a.b/")
    assert DataLink().get_link(RUN, ti_key=KEY).startswith("/team/airflow/dags/a.b/")


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
    assert names(by_plugin=True) == ["Open in Jupyter"]


def test_tasks_make_no_link_that_the_plugin_brings() -> None:
    assert JupyterLink().get_link(RUN, ti_key=KEY) == ""
    assert names(by_plugin=True) == []
    assert names(by_plugin=False) == ["Run log", "Data", "Catalog folder"]
