"""What OpenLineage is told of an attempt."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_magnus.operators.lineage import lineage_of
from airflow_magnus.runlog.records import (
    AttemptClosed,
    CatalogEntry,
    CodeIdentity,
    ObjectAccess,
    RunHeader,
    StepIdentity,
)

TI = SimpleNamespace(dag_id="d", run_id="manual__1")
HEADER = RunHeader(
    run_id="d.manual__1", token="t", pipeline="order s", tag="nightly", original_run_id="d.manual__0"
)


def entry(name: str, stage: Any, location: str = "s3://lake/cat/") -> CatalogEntry:
    key = f"d.manual__1/{name}"
    return CatalogEntry(
        name=name,
        data_hash="ab" * 32,
        catalog_relative_path=key,
        catalog_handler_location=location,
        stage=stage,
        size=7,
    )


def closed(status: Any = "SUCCESS", **fields: Any) -> AttemptClosed:
    step = StepIdentity(name="fit", internal_name="all.a.fit", step_type="task")
    return AttemptClosed(step=step, number=2, attempt_id="x", status=status, **fields)


def test_files_are_datasets_of_their_pipeline_with_digest_and_place() -> None:
    record = closed(
        data_catalog=[entry("raw/a.csv", "get"), entry("out/ü.csv", "put")],
        code_identities=[CodeIdentity(code_identifier="c0ffee", code_identifier_type="git")],
    )
    [got], [put], facets = lineage_of(HEADER, record, TI)
    assert (got.namespace, got.name) == ("x-magnus://order%20s", "raw/a.csv")
    assert (put.namespace, put.name) == ("x-magnus://order%20s", "out/ü.csv")
    assert put.facets["version"].datasetVersion == "ab" * 32
    assert put.facets["magnus_file"].digest == "ab" * 32
    assert put.facets["magnus_file"].provenance == "/magnus/provenance/d/manual__1/out/%C3%BC.csv"
    [place] = put.facets["symlinks"].identifiers
    assert (place.namespace, place.name) == ("s3://lake", "cat/d.manual__1/out/ü.csv")
    assert put.outputFacets["outputStatistics"].size == got.inputFacets["inputStatistics"].size == 7
    run = facets["magnus_run"]
    assert (run.runId, run.step, run.attempt, run.tag) == ("d.manual__1", "all.a.fit", 2, "nightly")
    assert (run.code, run.originalRunId, run.isReused) == (["git:c0ffee"], "d.manual__0", False)


def test_attempt_that_failed_has_read_and_not_written() -> None:
    record = closed("FAIL", data_catalog=[entry("a", "get", "/srv/catalog"), entry("b", "put")])
    [got], puts, facets = lineage_of(HEADER, record, TI)
    assert puts == []
    [place] = got.facets["symlinks"].identifiers
    assert (place.namespace, place.name) == ("file", "/srv/catalog/d.manual__1/a")
    assert (facets["magnus_run"].status, facets["magnus_run"].filesWritten) == ("FAIL", 0)


def test_objects_of_a_bucket_are_inputs_and_files_of_the_catalog_are_named_once() -> None:
    objects = [
        ObjectAccess(bucket="lab", key="x", action="read", source="s3://lab/2026/x", etag="e"),
        ObjectAccess(bucket="in", key="a", action="read", source="s3://lake/cat/d.manual__1/a", size=7),
        ObjectAccess(bucket="out", key="b", action="write", source="s3://lake/cat/d.manual__1/b"),
    ]
    inputs, _, facets = lineage_of(HEADER, closed(data_catalog=[entry("a", "get")], objects=objects), TI)
    assert [(i.namespace, i.name) for i in inputs] == [("x-magnus://order%20s", "a"), ("s3://lab", "2026/x")]
    assert "version" not in inputs[1].facets  # its digest is not known
    assert facets["magnus_run"].filesRead == 2


@pytest.mark.parametrize("stage", ["get", "put"])
def test_event_stays_small_however_many_files_there_are(stage: str) -> None:
    record = closed(data_catalog=[entry(f"{i}", stage) for i in range(2000)])
    inputs, outputs, facets = lineage_of(HEADER, record, TI)
    assert len(inputs) + len(outputs) == 500
    assert facets["magnus_run"].filesRead + facets["magnus_run"].filesWritten == 2000
