"""The buttons on the pages of tasks, as Airflow's API server finds them for a DAG that it has read from its database."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.dags import embedded
from airflow_magnus.dags.builder import pipeline_dag
from pipelines import linear, shell

NAMES = {"Catalog folder", "Data", "Re-run from failure", "Run log"}
Links = Callable[[Any, str], dict[str, str]]


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> Links:
    """Name → link of one task of a finished DAG run."""
    from airflow import plugins_manager
    from airflow.models.serialized_dag import DagSerialization

    from airflow_magnus.ui.task_links import links as of_plugin

    monkeypatch.setattr(plugins_manager, "get_operator_extra_links", of_plugin)

    def find(run: Any, task_id: str) -> dict[str, str]:
        dag = DagSerialization.from_dict(DagSerialization.to_dict(embedded._current))
        task = dag.get_task(task_id)
        ti = next(ti for ti in run.get_task_instances() if ti.task_id == task_id)
        return {name: task.get_extra_links(ti, name) for name in task.extra_links}

    return find


@pytest.mark.parametrize("command", ["true", "exit 3"])
def test_every_task_has_its_links_without_having_stored_any(
    airflow_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: Links, command: str
) -> None:
    file = tmp_path / "links.yaml"
    file.write_text(linear({"one step": shell(command)}))
    monkeypatch.setattr(embedded, "_current", pipeline_dag(file, dag_id=f"links-{len(command)}"))
    run = embedded._current.test()
    path = f"/dags/{run.dag_id}/runs/"
    for task_id in ("one-step", "success", "fail"):
        found = links(run, task_id)
        assert set(found) == (NAMES if task_id == "one-step" else NAMES - {"Data"})
        assert found["Run log"].startswith(path)
        assert found["Catalog folder"].startswith(f"/magnus/catalog/{run.dag_id}/")
        is_rerun = found["Re-run from failure"].startswith(f"/magnus/rerun/{run.dag_id}/")
        assert is_rerun == (command != "true")
    assert _stored(run) == []


def test_run_of_a_dag_without_a_pipeline_file_offers_no_rerun(
    airflow_home: Path, monkeypatch: pytest.MonkeyPatch, links: Links
) -> None:
    from airflow.sdk import DAG

    from airflow_magnus.operators.commands import ShellStep

    with DAG("links-by-hand", schedule=None) as dag:
        ShellStep(task_id="alone", command="exit 1")
    monkeypatch.setattr(embedded, "_current", dag)
    found = links(dag.test(), "alone")
    assert set(found) == NAMES
    assert found["Re-run from failure"] == ""


def test_plugin_names_every_operator_of_ours() -> None:
    from airflow.providers.common.compat.sdk import BaseOperator

    from airflow_magnus import dags, operators
    from airflow_magnus.ui.task_links import OTHERS, STEPS

    named = {(module, name) for table in (STEPS, OTHERS) for module, names in table.items() for name in names}
    found = set()
    for package in (operators, dags):
        for module in pkgutil.iter_modules(package.__path__):
            loaded = importlib.import_module(f"{package.__name__}.{module.name}")
            found |= {
                (module.name, c.__name__)
                for c in vars(loaded).values()
                if isinstance(c, type) and issubclass(c, BaseOperator) and c.__module__ == loaded.__name__
            }
    bases = {("record_task", "RecordTask"), ("terminal", "TerminalNode"), ("invalid", "FileFault"),
             ("mapping", "MapTask"), ("composite", "CompositeTask"), ("composite", "StartTask")}  # fmt: skip
    assert found - bases == named


def _stored(run: Any) -> list[str]:
    """Keys of the links that tasks have stored."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session(scoped=False) as session:
        keys = session.scalars(select(XComModel.key).where(XComModel.run_id == run.run_id))
        return [key for key in keys if key.startswith("_link_")]
