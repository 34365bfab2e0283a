"""From a pipeline file to a checked pipeline. Nothing is imported, run or connected to."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow_magnus.errors import Fault, PipelineError, Position
from airflow_magnus.pipeline.airflow_section import airflow_settings, connection_ids
from airflow_magnus.pipeline.graphs import GraphReader
from airflow_magnus.pipeline.hashing import dag_hash, texts_digest
from airflow_magnus.pipeline.library import Library
from airflow_magnus.pipeline.model import CompositeStep, Graph, Pipeline
from airflow_magnus.pipeline.parameters import declared_parameters
from airflow_magnus.pipeline.services import DEFAULTS_FILE, MISTAKES, SERVICE_KEYS, anchors, read_services

_SECTIONS = ("dag", "parameters", "airflow", "connections", *SERVICE_KEYS)
_BELOW_DAG = "belongs below dag: dag: {start_at: …, steps: {…}}"
_REFUSED = {
    **MISTAKES,
    "defaults": f"belongs into {DEFAULTS_FILE}; here write the services at the top level",
    "extensions": "are not imported: packages add services by entry points; install the package and remove this",
    **dict.fromkeys(("start_at", "steps", "description", "name", "max_time"), _BELOW_DAG),
}


def load_pipeline(
    path: Path, *, variables: Mapping[str, str] | None = None, base: Path | None = None
) -> Pipeline:
    """Read and check a pipeline file with the files of its sub-pipelines.

    :param variables: substituted in text values.
    :param base: where ``dag_definition`` files are looked for that do not lie beside the file that names them; None:
        nowhere else.
    :returns: the pipeline; ``warnings`` holds what is accepted but looks like a mistake.
    :raises PipelineError: with every fault of all the files.
    """
    return load_with_files(path, variables=variables, base=base)[0]


def load_with_files(
    path: Path, *, variables: Mapping[str, str] | None = None, base: Path | None = None
) -> tuple[Pipeline, tuple[Path, ...]]:
    """Give a pipeline as :func:`load_pipeline` does, and the files whose texts its digest is of, in that order."""
    library = Library(variables or {}, base)
    with _no_collection():
        pipeline = _read(path, library)
    if pipeline is None:
        raise PipelineError(library.report.faults)
    return pipeline, library.files()


def check_pipeline(
    path: Path, *, variables: Mapping[str, str] | None = None, base: Path | None = None
) -> tuple[tuple[Fault, ...], tuple[Fault, ...]]:
    """Give the faults of a pipeline file and its warnings, without raising; parameters as :func:`load_pipeline`."""
    library = Library(variables or {}, base)
    with _no_collection():
        _read(path, library)
    return tuple(library.report.faults), tuple(library.report.warnings)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Let Python not look for garbage meanwhile: there is none, and of a large file it takes three quarters of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _read(path: Path, library: Library) -> Pipeline | None:
    graph = _graph(path, library)
    top = library.open(path)
    if top is None:
        return None
    top.check_keys(_SECTIONS, refused=_REFUSED, ignored=anchors(top))
    services = read_services(top)
    connections = connection_ids(top.at("connections"))
    parameters = declared_parameters(top.at("parameters"))
    airflow = airflow_settings(top.at("airflow"))
    report = library.report
    report.sort(first=path)
    if report.faults or graph is None:
        return None
    return Pipeline(
        path=path,
        graph=graph,
        dag_hash=dag_hash(top.at("dag").value),
        digest=texts_digest(library.texts()),
        services=services,
        definition=top.at("dag").value,
        sub_definitions=_sub_definitions(graph, library),
        connections=connections,
        parameters=parameters,
        airflow=airflow,
        warnings=tuple(report.warnings),
    )


def _sub_definitions(graph: Graph, library: Library) -> dict[str, Mapping[str, Any]]:
    files = {
        step.internal_name: step.dag_definition
        for step in graph.walk()
        if isinstance(step, CompositeStep) and step.dag_definition is not None
    }
    tops = {file: library.open(file) for file in dict.fromkeys(files.values())}
    return {name: top.at("dag").value for name, file in files.items() if (top := tops[file]) is not None}


def _graph(path: Path, library: Library) -> Graph | None:
    try:
        return GraphReader(library).definition(path)
    except RecursionError:
        library.report.add(
            Fault(Position(path, 1, 1), "dag", "branches or sub-pipelines are nested too deeply")
        )
        return None
