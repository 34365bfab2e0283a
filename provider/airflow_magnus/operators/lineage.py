"""What an attempt has read and written, as OpenLineage says it; imported only where its provider asks.

A file of a pipeline is the dataset that has the name of its asset (``pipeline/assets.py``), the same for every run; which bytes it
had is its version, the sha256. Where they lie is a symlink of it. An object that a step has read of a bucket is known by its URL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from attrs import define, field
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    DatasetFacet,
    RunFacet,
    dataset_version_dataset,
    input_statistics_input_dataset,
    output_statistics_output_dataset,
    symlinks_dataset,
)

from airflow_magnus.operators.links import airflow_url, page_path
from airflow_magnus.pipeline.assets import pipeline_uri
from airflow_magnus.runlog.records import AttemptClosed, CatalogEntry, ObjectAccess, RunHeader

_MOST = 500
"""Datasets of each side of an event; the facet of the run says how many there were."""
D = TypeVar("D", InputDataset, OutputDataset)


@define
class MagnusFileFacet(DatasetFacet):
    """A file as the run log has it: facet ``magnus_file``.

    :param digest: sha256 hex; "" when it is not known.
    :param size: bytes.
    """

    digest: str = ""
    size: int | None = None
    provenance: str = ""


@define
class MagnusRunFacet(RunFacet):
    """An attempt as the run log has it: facet ``magnus_run``.

    :param runId: in the run log.
    :param isReused: the step was not run; what it wrote is what an earlier run's has written.
    """

    runId: str = ""  # noqa: N815 - OpenLineage writes names so
    pipeline: str = ""
    step: str = ""
    attempt: int = 0
    status: str = ""
    tag: str | None = None
    isReused: bool = False  # noqa: N815
    originalRunId: str = ""  # noqa: N815
    code: list[str] = field(factory=list)
    filesRead: int = 0  # noqa: N815
    filesWritten: int = 0  # noqa: N815


def lineage_of(
    header: RunHeader, closed: AttemptClosed, ti: Any
) -> tuple[list[InputDataset], list[OutputDataset], dict[str, RunFacet]]:
    """Inputs, outputs and facets of the run of one attempt.

    :param ti: the task instance.
    """
    got = [entry for entry in closed.data_catalog if entry.stage == "get"]
    puts = closed.puts()
    of_catalog = {_place(entry) for entry in got}
    read = [a for a in closed.objects if a.action == "read" and a.source and a.source not in of_catalog]

    def file(kind: Callable[..., D], entry: CatalogEntry, **statistics: Any) -> D:
        path = page_path("provenance", ti.dag_id, ti.run_id, *entry.name.split("/"))
        symlink = symlinks_dataset.Identifier(*_named(_place(entry)), "LOCATION")
        facets = _facets(entry.data_hash, entry.size, airflow_url() + path)
        facets["symlinks"] = symlinks_dataset.SymlinksDatasetFacet([symlink])
        return kind(pipeline_uri(header.pipeline), entry.name, facets=facets, **statistics)

    inputs = [file(InputDataset, entry, inputFacets=_input_size(entry.size)) for entry in got[:_MOST]]
    inputs += [_object(access) for access in read[: _MOST - len(inputs)]]
    outputs = [file(OutputDataset, entry, outputFacets=_output_size(entry.size)) for entry in puts[:_MOST]]
    run = MagnusRunFacet(
        runId=header.run_id,
        pipeline=header.pipeline,
        step=closed.step.internal_name,
        attempt=closed.number,
        status=closed.status,
        tag=header.tag,
        isReused=closed.mock,
        originalRunId=header.original_run_id,
        code=_codes(closed),
        filesRead=len(got) + len(read),
        filesWritten=len(puts),
    )
    return inputs, outputs, {"magnus_run": run}


def _object(access: ObjectAccess) -> InputDataset:
    facets = _facets(access.data_hash, access.size)
    return InputDataset(*_named(access.source), facets=facets, inputFacets=_input_size(access.size))


def _facets(digest: str, size: int | None, provenance: str = "") -> dict[str, DatasetFacet]:
    facets: dict[str, DatasetFacet] = {"magnus_file": MagnusFileFacet(digest, size, provenance)}
    if digest:
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(digest)
    return facets


def _input_size(size: int | None) -> dict[str, Any]:
    if size is None:
        return {}
    return {"inputStatistics": input_statistics_input_dataset.InputStatisticsInputDatasetFacet(size=size)}


def _output_size(size: int | None) -> dict[str, Any]:
    if size is None:
        return {}
    return {
        "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(size=size)
    }


def _place(entry: CatalogEntry) -> str:
    """Where the bytes of a file lie: a URL or a path."""
    return f"{entry.catalog_handler_location.rstrip('/')}/{entry.catalog_relative_path}"


def _named(place: str) -> tuple[str, str]:
    """Namespace and name of what lies at a URL or a path. Source: OpenLineage's naming of datasets."""
    url = urlsplit(place) if "://" in place else None
    if url is None or url.scheme == "file":
        return "file", place.removeprefix("file://")
    bucket = f"{url.scheme}://{url.netloc}"
    return bucket, place.removeprefix(bucket).lstrip("/")


def _codes(closed: AttemptClosed) -> list[str]:
    return [
        f"{code.code_identifier_type}:{code.code_identifier}"
        for code in closed.code_identities
        if code.code_identifier
    ]
