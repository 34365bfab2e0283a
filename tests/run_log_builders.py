"""Histories of steps for tests, told in few words."""

from __future__ import annotations

from typing import Any

from airflow_magnus.runlog.history import StepHistory, histories_of
from airflow_magnus.runlog.records import AttemptClosed, AttemptOpened, CatalogEntry, StepIdentity


def step(name: str, kind: str = "task", graph: str = "", position: int = 0) -> StepIdentity:
    internal = f"{graph}.{name}" if graph else name
    return StepIdentity(
        name=name, internal_name=internal, graph_name=graph, step_type=kind, position=position
    )


def opened(of: StepIdentity, number: int = 0, **fields: Any) -> AttemptOpened:
    return AttemptOpened(step=of, number=number, attempt_id=f"{of.internal_name}-{number}", **fields)


def closed(of: StepIdentity, number: int = 0, status: str = "SUCCESS", **fields: Any) -> AttemptClosed:
    start = fields.pop("start_time", opened(of).start_time)
    return AttemptClosed(
        step=of,
        number=number,
        attempt_id=f"{of.internal_name}-{number}",
        start_time=start,
        status=status,  # type: ignore[arg-type]
        **fields,
    )


def entry(name: str, by: str = "x") -> CatalogEntry:
    return CatalogEntry(
        name=name,
        data_hash=by.ljust(64, "0"),
        catalog_relative_path=f"run/{name}",
        catalog_handler_location=".catalog",
        stage="put",
    )


def graphs(*parts: AttemptOpened | AttemptClosed) -> dict[str, dict[str, StepHistory]]:
    """Graph name → name of a step → its history."""
    return histories_of(
        [part for part in parts if not isinstance(part, AttemptClosed)],
        [part for part in parts if isinstance(part, AttemptClosed)],
    )


def history(*parts: AttemptOpened | AttemptClosed) -> dict[str, StepHistory]:
    """Histories of the pipeline's own graph, by name of the step."""
    return graphs(*parts).get("", {})
