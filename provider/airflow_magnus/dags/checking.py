"""Pipeline files checked without running them: each for itself, then the names that their schedules wait for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from airflow_magnus.dags.kinds import unsupported
from airflow_magnus.dags.loader import pipeline_files
from airflow_magnus.errors import Fault
from airflow_magnus.pipeline.asset_names import WrongName, wrong_names
from airflow_magnus.pipeline.identifiers import dag_id_of
from airflow_magnus.pipeline.model import Pipeline
from airflow_magnus.pipeline.parser import check_pipeline, load_pipeline


@dataclass(frozen=True)
class Checked:
    """A file with what is wrong in it, and what is accepted but looks like a mistake.

    :param pipeline: None of a file with faults.
    """

    file: Path
    dag_id: str
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]
    pipeline: Pipeline | None


def check_files(paths: Sequence[Path], variables: Mapping[str, str], base: Path) -> list[Checked]:
    """Check pipeline files, in the order that they are given.

    :param paths: of files, and of folders of them, which are read as ``load_pipelines`` does.
    :param base: where sub-pipelines are looked for that do not lie beside the file that names them.
    """
    checked = [_check(file, dag_id, variables, base) for path in paths for file, dag_id in _files(path)]
    if len(checked) == 1:
        return checked  # nothing is known of the others
    found = list(wrong_names({one.dag_id: one.pipeline for one in checked if one.pipeline}))
    return [_with_names(one, found) for one in checked]


def _files(path: Path) -> Iterator[tuple[Path, str]]:
    """Files, each with the id that its DAG would have."""
    if not path.is_dir():
        yield path, dag_id_of(Path(path.name))
        return
    for file in pipeline_files(path):
        yield file, dag_id_of(file.relative_to(path))


def _check(file: Path, dag_id: str, variables: Mapping[str, str], base: Path) -> Checked:
    faults, warnings = check_pipeline(file, variables=variables, base=base)
    if faults:
        return Checked(file, dag_id, faults, warnings, None)
    pipeline = load_pipeline(file, variables=variables, base=base)
    named = pipeline.airflow.get("dag_id") or dag_id
    return Checked(file, named, tuple(unsupported(pipeline.graph)), warnings, pipeline)


def _with_names(one: Checked, found: Sequence[tuple[str, WrongName]]) -> Checked:
    own = [name for dag_id, name in found if dag_id == one.dag_id and one.pipeline]
    return replace(
        one,
        faults=(*one.faults, *(name.fault for name in own if name.is_certain)),
        warnings=(*one.warnings, *(name.fault for name in own if not name.is_certain)),
    )
