"""The way through a run's own graph, from the ``dag`` section that its header keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_magnus.runlog.history import Edges, StepHistory, walked_path
from airflow_magnus.runlog.records import RunHeader


def recorded_path(header: RunHeader, top: Mapping[str, StepHistory]) -> list[str] | None:
    """The steps of the pipeline's own graph that count; None when the run has no graph (a hand-written DAG)."""
    start = header.definition.get("start_at")
    if not start:
        return None
    return walked_path(
        start, edges_of(header.definition), {name: history.status for name, history in top.items()}
    )


def edges_of(definition: Mapping[str, Any]) -> Edges:
    """The edges of the pipeline's own graph, from its ``dag`` section."""
    steps: Mapping[str, Any] = definition["steps"]
    fail = next(name for name, step in steps.items() if step["type"] == "fail")

    def edges(name: str) -> tuple[str, str]:
        step = steps.get(name, {})
        if "next" not in step:
            return "", ""
        return step["next"], step.get("on_failure") or fail

    return edges
