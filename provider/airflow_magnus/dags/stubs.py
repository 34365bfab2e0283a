"""One DAG file for each pipeline file, for those who prefer Airflow's own import errors to the loader."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.pipeline.identifiers import dag_id_of

_MARK = "# Made by `magnus dags sync`: do not edit, changes are lost."
_STUB = """\
{mark} Airflow finds DAGs in files like this one.
from airflow_magnus import pipeline_dag

dag = pipeline_dag({path!r}, dag_id={dag_id})
"""


def sync(pipelines: Path, dags: Path, exclude: Collection[str] = ()) -> Iterator[str]:
    """Write the DAG files of all pipeline files, and remove those whose pipeline is gone.

    Files that were not made by this command are never touched.

    :param exclude: as of ``load_pipelines``.
    :returns: one line a file: what was done.
    :raises ConfigurationError: when a folder is missing, two pipelines need one file, or a file is somebody's own.
    """
    from airflow_magnus.dags.loader import pipeline_files

    if not pipelines.is_dir():
        raise ConfigurationError(f"{pipelines} is no folder: give the folder of the pipeline files first")
    dags.mkdir(parents=True, exist_ok=True)
    wanted: dict[Path, Path] = {}
    for file in pipeline_files(pipelines, exclude):
        stub = dags / f"{dag_id_of(file.relative_to(pipelines))}.py"
        if stub in wanted:
            raise ConfigurationError(f"{wanted[stub]} and {file} would both be {stub}: rename one")
        wanted[stub] = file
    for stub, file in wanted.items():
        yield _write(stub, file, dag_id_of(file.relative_to(pipelines)))
    for stub in sorted(dags.glob("*.py")):
        if stub not in wanted and _is_ours(stub):
            stub.unlink()
            yield f"removed {stub}: its pipeline is gone"


def _write(stub: Path, file: Path, dag_id: str) -> str:
    if stub.exists() and not _is_ours(stub):
        raise ConfigurationError(f"{stub} was not made by `magnus dags sync`: move it away, or rename {file}")
    path = os.path.relpath(file.resolve(), stub.parent.resolve())
    text = _STUB.format(mark=_MARK, path=path, dag_id=_dag_id_argument(file, dag_id))
    if stub.exists() and stub.read_text(encoding="utf-8") == text:
        return f"kept {stub}"
    stub.write_text(text, encoding="utf-8")
    return f"wrote {stub} for {file}"


def _dag_id_argument(file: Path, dag_id: str) -> str:
    """None where the file gives its own DAG id, or cannot be read: then Airflow shows why."""
    from airflow_magnus.errors import PipelineError
    from airflow_magnus.pipeline.parser import load_pipeline

    try:
        return "None" if load_pipeline(file).airflow.get("dag_id") else repr(dag_id)
    except PipelineError:
        return repr(dag_id)


def _is_ours(stub: Path) -> bool:
    return stub.read_text(encoding="utf-8", errors="replace").startswith(_MARK)
