"""A folder of pipeline files as DAGs: ``load_pipelines("pipelines/", globals())`` in one file of the dags folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_magnus.dags.builder import beside_caller, dag_of, loaded, plan_of
from airflow_magnus.dags.invalid import invalid_dag
from airflow_magnus.errors import ConfigurationError, Fault, PipelineError, Position
from airflow_magnus.hooks.services import ServiceSources
from airflow_magnus.pipeline.asset_names import wrong_names
from airflow_magnus.pipeline.identifiers import dag_id_of
from airflow_magnus.pipeline.model import Pipeline

log = logging.getLogger(__name__)

ENDINGS = (".yaml", ".yml")
_NOT_PIPELINES = ("magnus-config.yaml",)
_HAS_DAG = "dag:"


@dataclass(frozen=True)
class Found:
    """One pipeline file and the DAG that was made of it.

    :param dag: the pipeline's, or one tagged ``invalid`` that shows the faults.
    """

    path: Path
    dag: Any
    faults: tuple[Fault, ...] = ()


def load_pipelines(
    folder: str | os.PathLike[str],
    namespace: MutableMapping[str, Any],
    *,
    config_file: str | os.PathLike[str] | None = None,
    variables: Mapping[str, str] | None = None,
    catalog_conn_id: str | None = None,
    run_log_conn_id: str | None = None,
    secrets_conn_id: str | None = None,
    exclude: Collection[str] = (),
) -> dict[str, Any]:
    """Make a DAG of every pipeline file below a folder and put it where Airflow finds it.

    A file with faults hides no other: it becomes a DAG tagged ``invalid`` whose page shows each fault with its place,
    and which cannot be triggered. Files without a ``dag`` section (parameters, variables, configurations), hidden ones
    and those named ``*.sub.yaml`` are passed over. A sub-pipeline whose file has another name becomes a DAG of its own,
    unless ``exclude`` names it.

    :param folder: a relative one is looked for beside the file that calls this.
    :param namespace: ``globals()`` of the calling file.
    :param config_file: services for all files, as of ``magnus execute -c``; likewise the other arguments.
    :param exclude: patterns of files that become no DAGs, relative to the folder: ``parts/*``, ``**/check.yaml``.
    :returns: DAG id → DAG.
    """
    connections = {"catalog": catalog_conn_id, "run_log": run_log_conn_id, "secrets": secrets_conn_id}
    root = beside_caller(folder)
    config = beside_caller(config_file) if config_file else None
    if not root.is_dir():
        fault = Fault(
            None, str(root), "there is no such folder: give load_pipelines a folder of pipeline files"
        )
        found = [Found(root, invalid_dag(dag_id_of(Path(root.name)), root, [fault]), (fault,))]
    else:
        files = pipeline_files(root, exclude)
        found = _made([_read(path, root, config, variables, connections) for path in files])
    dags = {each.dag.dag_id: each.dag for each in _without_clashes(found, root)}
    namespace.update({f"magnus_dag_{index}": dag for index, dag in enumerate(dags.values())})
    return dags


def pipeline_files(folder: Path, exclude: Collection[str] = ()) -> Iterator[Path]:
    """The pipeline files below a folder, sorted; without those that match a pattern of ``exclude``."""
    passed = {path for pattern in _patterns(exclude) for path in folder.glob(pattern)}
    for path in sorted(folder.rglob("*")):
        if not passed.isdisjoint((path, *path.parents)):
            continue
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix in ENDINGS and not hidden and path.name not in _NOT_PIPELINES and _is_pipeline(path):
            yield path


def _patterns(exclude: Collection[str]) -> Collection[str]:
    """Patterns that can be looked for; a text alone is one.

    :raises ConfigurationError: when one cannot.
    """
    patterns = [exclude] if isinstance(exclude, str) else exclude
    for pattern in patterns:
        if not pattern or pattern.startswith("/"):
            raise ConfigurationError(
                f"exclude: {pattern!r} is no pattern of files below the folder: write one such as parts/*.yaml"
            )
    return patterns


def _is_pipeline(path: Path) -> bool:
    """Whether a file means to be a pipeline; one that cannot be read does, so that its fault is seen."""
    if path.stem.endswith(".sub") or not path.is_file():
        return False
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return True
    return any(line.replace('"', "").replace("'", "").startswith(_HAS_DAG) for line in lines)


@dataclass(frozen=True)
class _Read:
    """One pipeline file before there is a DAG of it.

    :param loaded: the pipeline and its services; None where there are faults.
    """

    path: Path
    dag_id: str
    loaded: tuple[Pipeline, ServiceSources] | None
    faults: tuple[Fault, ...] = ()


def _read(
    path: Path,
    root: Path,
    config_file: Path | None,
    variables: Mapping[str, str] | None,
    connections: Mapping[str, str | None],
) -> _Read:
    dag_id = dag_id_of(path.relative_to(root))
    try:
        found = loaded(path, config_file, variables, connections)
        return _Read(path, found[0].airflow.get("dag_id") or dag_id, found)
    except Exception as error:  # noqa: BLE001 — told in the UI
        return _Read(path, dag_id, None, _faults_of(error, path))


def _made(read: list[_Read]) -> list[Found]:
    """The DAGs of files that were all read: only then is it known whether the pipelines have the names that others wait for."""
    wrong: dict[str, list[Fault]] = {}
    for dag_id, name in wrong_names({one.dag_id: one.loaded[0] for one in read if one.loaded}):
        if name.is_certain:
            wrong.setdefault(dag_id, []).append(name.fault)
    return [_load(one, (*one.faults, *(wrong.get(one.dag_id, ()) if one.loaded else ()))) for one in read]


def _load(read: _Read, faults: tuple[Fault, ...]) -> Found:
    if read.loaded is not None and not faults:
        try:
            pipeline, services = read.loaded
            return Found(read.path, dag_of(pipeline, plan_of(pipeline, services), dag_id=read.dag_id))
        except Exception as error:  # noqa: BLE001
            faults = _faults_of(error, read.path)
    return Found(read.path, invalid_dag(read.dag_id, read.path, faults), faults)


def _faults_of(error: Exception, path: Path) -> tuple[Fault, ...]:
    """What is wrong with a file. One file must not hide the others; it is shown in the UI."""
    if isinstance(error, PipelineError):
        return error.faults
    log.error("%s cannot be made a DAG", path, exc_info=error)
    return (Fault(Position(path, 1, 1), "", f"cannot be made a DAG: {type(error).__name__}: {error}"),)


def _without_clashes(found: list[Found], root: Path) -> Iterator[Found]:
    """Files that would make one DAG id become one invalid DAG that names them all."""
    by_id: dict[str, list[Found]] = {}
    for each in found:
        by_id.setdefault(each.dag.dag_id, []).append(each)
    for dag_id, clashing in by_id.items():
        if len(clashing) == 1:
            yield clashing[0]
            continue
        paths = " and ".join(str(each.path.relative_to(root)) for each in clashing)
        message = f"{paths} make the same DAG id {dag_id!r}: rename one, or give it airflow.dag_id"
        faults = tuple(Fault(Position(each.path, 1, 1), "", message) for each in clashing)
        yield Found(clashing[0].path, invalid_dag(dag_id, root, faults), faults)
