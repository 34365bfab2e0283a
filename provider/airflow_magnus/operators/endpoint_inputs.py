"""What lies in the buckets of a step's S3 endpoint, and what the run log says of each object that passed."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import TYPE_CHECKING

from airflow_magnus.gateway.ledger import Passed
from airflow_magnus.gateway.views import Folder, View
from airflow_magnus.hooks.buckets import CatalogPlace, bucket_view, catalog_place, told_of
from airflow_magnus.hooks.services import ServiceSources
from airflow_magnus.pipeline.model import EndpointRequest
from airflow_magnus.runlog.records import CatalogEntry, ObjectAccess
from airflow_magnus.stores.sources import FileFinder

if TYPE_CHECKING:
    from airflow_magnus.operators.session import StepSession


class EndpointInputs:
    """The inputs of one attempt, found when they are made.

    :ivar views: name of a bucket to what it holds.
    :ivar entries: name of a bucket of files of the catalog → name → entry, with the key where its bytes are now.
    :raises MagnusError: when an input is not there.
    """

    def __init__(self, request: EndpointRequest, sources: ServiceSources, session: StepSession) -> None:
        self._sources = sources
        self._has_bucket = any(source.bucket for source in request.inputs.values())
        self.views: dict[str, View] = {}
        self.entries: dict[str, dict[str, CatalogEntry]] = {}
        finder = FileFinder(
            session.services.run_log,
            session.services.catalog,
            run_id=session.header.run_id,
            pipeline=session.header.pipeline,
            entries=session.entries,
        )
        for name, source in request.inputs.items():
            if source.bucket:
                self.views[name] = bucket_view(name, source, sources, session.warnings)
            else:
                with told_of(name):
                    self.entries[name] = finder.find(name, source)
                    self.views[name] = self.place.view(self.entries[name])
        session.warnings += finder.warnings

    @cached_property
    def place(self) -> CatalogPlace:
        """Where the catalog is.

        :raises ConfigurationError: when it keeps nothing, or no gateway can serve it.
        """
        return catalog_place(self._sources)

    @property
    def digests(self) -> list[tuple[str, str, str]] | None:
        """Bucket, name and digest of all that the step is given; None when a bucket is among it: it may change."""
        if self._has_bucket:
            return None
        given = self.entries.items()
        return sorted((bucket, name, e.data_hash) for bucket, found in given for name, e in found.items())

    def access(self, passed: Passed) -> ObjectAccess:
        """An object that passed, as the run log has it."""
        entry = self.entries.get(passed.bucket, {}).get(passed.key)
        return ObjectAccess(
            bucket=passed.bucket,
            key=passed.key,
            action="write" if passed.action == "write" else "read",
            source=self._source(passed, entry),
            size=passed.size,
            etag=passed.etag,
            data_hash=passed.sha256 or (entry.data_hash if entry is not None else ""),
            ranges=list(passed.ranges),
            times=passed.times,
        )

    def _source(self, passed: Passed, entry: CatalogEntry | None) -> str:
        if entry is not None:
            return f"{entry.catalog_handler_location}/{entry.catalog_relative_path}"
        view = self.views.get(passed.bucket)
        if view is None or isinstance(view, Folder):
            return ""
        return f"s3://{view.origin.bucket}/{view.prefix}{passed.key}"

    def read(self, accesses: Collection[ObjectAccess]) -> list[CatalogEntry]:
        """The files of the catalog that were read, as inputs of the step."""
        found: dict[tuple[str, str], CatalogEntry] = {}
        for access in accesses:
            entry = self.entries.get(access.bucket, {}).get(access.key)
            if access.action == "read" and entry is not None:
                found[access.bucket, access.key] = entry.model_copy(update={"stage": "get"})
        return list(found.values())
