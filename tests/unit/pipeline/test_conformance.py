"""Every case that the specification comes with is accepted or refused, with the dag hash of the original."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_magnus.errors import PipelineError
from airflow_magnus.pipeline.parser import load_pipeline
from airflow_magnus.pipeline.services import resolve_services
from airflow_magnus.pipeline.variables import read_variables

FOLDERS = sorted((Path(__file__).parents[2] / "conformance" / "cases").glob("*/"))
REFUSED_BY_PARSER = ("bad_", "unknown_key")


def _load(folder: Path):
    files = {name: folder / name for name in ("vars.yaml", "config.yaml")}
    present = {name: path if path.exists() else None for name, path in files.items()}
    variables = read_variables(present["vars.yaml"], {})
    pipeline = load_pipeline(folder / "pipeline.yaml", variables=variables)
    resolve_services(present["config.yaml"], pipeline.services, folder, variables)
    return pipeline


@pytest.mark.parametrize(
    "folder", [f for f in FOLDERS if f.name.startswith(REFUSED_BY_PARSER)], ids=lambda f: f.name
)
def test_case_is_refused_with_positions_when_pipeline_is_faulty(folder: Path) -> None:
    with pytest.raises(PipelineError) as caught:
        _load(folder)
    assert all(fault.position and fault.path for fault in caught.value.faults)


@pytest.mark.parametrize(
    "folder", [f for f in FOLDERS if not f.name.startswith(REFUSED_BY_PARSER)], ids=lambda f: f.name
)
def test_dag_hash_is_that_of_the_original_when_case_is_accepted(folder: Path) -> None:
    expected = json.loads((folder / "case.json").read_text())["expect"]
    hashes = {run["run_log"]["dag_hash"] for run in expected if "run_log" in run}
    assert hashes <= {_load(folder).dag_hash}
