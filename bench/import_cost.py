"""What importing the package costs beyond Airflow's own, in a process forked from one that has Airflow imported."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from bench.dag_build import has_dag_factory
from bench.measure import interleaved, table

MOST = 50
"""CPU milliseconds."""


def _package() -> None:
    importlib.import_module("airflow_magnus")


def _loader() -> None:
    from airflow_magnus import load_pipelines

    assert load_pipelines


def _steps() -> None:
    from airflow_magnus import StepMixin, StepSettings

    assert StepMixin
    assert StepSettings


def _everything() -> None:
    from airflow_magnus import load_pipelines

    assert load_pipelines
    importlib.import_module("airflow_magnus.operators.commands")


def _dag_factory() -> None:
    importlib.import_module("dagfactory")


def report(repetitions: int) -> str:
    """Measure and give the table as Markdown."""
    actions: dict[str, Callable[[], None]] = {
        "import airflow_magnus": _package,
        "from airflow_magnus import load_pipelines": _loader,
        "from airflow_magnus import StepMixin, StepSettings": _steps,
        "load_pipelines and the operators of task steps": _everything,
    }
    if has_dag_factory():
        actions["import dagfactory"] = _dag_factory
    results = interleaved(actions, repetitions)
    rows = [
        [name, f"{result.cpu:.1f}", f"{result.wall:.1f}", f"{result.spread[0]:.1f}–{result.spread[1]:.1f}"]
        for name, result in results.items()
    ]
    return (
        "## Importing\n\n"
        "Beyond what the DAG processor and most DAG files import: `airflow.dag_processing`, `airflow.sdk`, the bash and "
        f"python operators.\nPromised: at most {MOST} ms of CPU.\n\n"
        + table(("import", "CPU ms", "wall ms", "CPU min–max"), rows)
    )
