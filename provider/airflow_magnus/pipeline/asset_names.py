"""Names of pipelines in schedules, checked against the pipelines that there are.

An asset that nobody makes is no error for Airflow: what waits for it is never run. So a DAG id or a file name where the
pipeline has another name is a fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from airflow_magnus.errors import Fault, PipelineError, Position
from airflow_magnus.pipeline.cursor import nearest
from airflow_magnus.pipeline.model import Pipeline
from airflow_magnus.pipeline.nodes import Keys, dotted
from airflow_magnus.pipeline.text import read_document

_LIKENESS = 0.6


@dataclass(frozen=True)
class WrongName:
    """A schedule waits for files of a pipeline that has another name, or that is not among those that were read.

    :param is_certain: the name is the DAG id or file name of one of them; else the pipeline may be elsewhere.
    """

    fault: Fault
    is_certain: bool


def wrong_names(pipelines: Mapping[str, Pipeline]) -> Iterator[tuple[str, WrongName]]:
    """Every name in a schedule that no pipeline has, with the DAG id of the pipeline that waits.

    :param pipelines: DAG id → pipeline.
    """
    names = {pipeline.name for pipeline in pipelines.values()}
    meant = dict(pipelines)
    for pipeline in pipelines.values():
        meant.setdefault(pipeline.path.stem, pipeline)
    for dag_id, pipeline in pipelines.items():
        for index, name in _waits_for(pipeline):
            if name not in names:
                yield dag_id, _wrong(pipeline, index, name, meant.get(name), names)


def _waits_for(pipeline: Pipeline) -> Iterator[tuple[int, str]]:
    """The pipelines that a schedule names, each with its place in the list."""
    schedule = pipeline.airflow.get("schedule")
    assets = schedule.get("assets", []) if isinstance(schedule, Mapping) else []
    for index, asset in enumerate(assets):
        if isinstance(asset, Mapping):
            yield index, asset["pipeline"]


def _wrong(waits: Pipeline, index: int, name: str, meant: Pipeline | None, names: set[str]) -> WrongName:
    if meant is not None:
        told = (
            f'no pipeline has the name "{name}": {meant.path.name} has the name "{meant.name}" (dag.name); '
            f"write pipeline: {meant.name}"
        )
    else:
        near = nearest(name, names - {waits.name}, _LIKENESS)
        told = (
            f'no pipeline that was read with this one has the name "{name}"'
            + (f'; did you mean "{near}"?' if near else ":")
            + " The name of a pipeline is its dag.name, else its file's name without the ending"
        )
    keys = ("airflow", "schedule", "assets", index, "pipeline")
    return WrongName(Fault(_position(waits, keys), dotted(keys), told), meant is not None)


def _position(pipeline: Pipeline, keys: Keys) -> Position:
    """Where a value stands. The file is read again for it: a pipeline does not keep the places of its values."""
    try:
        return read_document(pipeline.path).position(keys)
    except PipelineError:  # it has changed meanwhile
        return Position(pipeline.path, 1, 1)
