"""Which files of the catalog a source of data names: of this run, of another one, or of one digest."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from airflow_magnus.errors import (
    CatalogEntryNotFoundError,
    CatalogError,
    RunCollectedError,
    RunNotFoundError,
)
from airflow_magnus.pipeline.model import DataSource
from airflow_magnus.runlog import layout
from airflow_magnus.runlog.contents import Held
from airflow_magnus.runlog.records import CatalogEntry
from airflow_magnus.stores.catalog import CatalogStore
from airflow_magnus.stores.contents import contents_of, records_of
from airflow_magnus.stores.do_nothing import DoNothingCatalog
from airflow_magnus.stores.globs import matches
from airflow_magnus.stores.runlogs import RunLogStore

log = logging.getLogger(__name__)

LATEST = "latest"
"""The run of a source that stands for the last one that succeeded."""
_AT_ONCE = 200
"""Documents that are looked through at a time."""


class FileFinder:
    """Finds what sources name, for one step.

    :param run_id: of the run that asks; "" outside all runs.
    :param pipeline: of that run.
    :param entries: what the step sees of its own run, by name.
    :ivar warnings: sentences for the step's message.
    """

    def __init__(
        self,
        run_log: RunLogStore,
        catalog: CatalogStore | DoNothingCatalog,
        *,
        run_id: str = "",
        pipeline: str = "",
        entries: Mapping[str, CatalogEntry] | None = None,
    ) -> None:
        self._run_log = run_log
        self._catalog = catalog
        self._run_id = run_id
        self._pipeline = pipeline
        self._entries = dict(entries or {})
        self.warnings: list[str] = []

    def find(self, bucket: str, source: DataSource) -> dict[str, CatalogEntry]:
        """The files of one input, by name, each with the key where its bytes are now.

        Cost: 1 LIST for this run; for another one also its parts; for the latest one the headers of all runs; for a digest
        the documents of all runs, until one has it.

        :param bucket: what the step calls the input, for messages.
        :param source: not one of a bucket.
        :raises RunNotFoundError: when there is no such run, it still goes on, or none of that pipeline has succeeded.
        :raises RunCollectedError: when its files were removed as old.
        :raises CatalogEntryNotFoundError: when no run has a file of this digest.
        :raises CatalogError: when the files are in another catalog.
        """
        if source.digest:
            return self._of_digest(bucket, source.digest)
        if not source.run and not source.pipeline:
            return self._chosen(bucket, source, self._located(self._run_id, self._entries.values()))
        run_id = self._run_of(bucket, source)
        if not run_id:
            return {}
        self._refuse_running(bucket, run_id)
        held = contents_of(self._run_log, run_id)
        chosen = {
            name: h for name, h in held.items() if any(matches(pattern, name) for pattern in source.files)
        }
        self._refuse_collected(run_id, chosen.values())
        self._refuse_elsewhere(bucket, run_id, chosen.values())
        log.info("s3: bucket %s has files of run %s", bucket, run_id)
        return self._chosen(bucket, source, self._located(run_id, (h.entry for h in chosen.values())))

    def _run_of(self, bucket: str, source: DataSource) -> str:
        """The run that a source names; "" when it is the latest of this very pipeline, which has none yet."""
        if source.run not in ("", LATEST):
            return self._run_log.locate(source.run)
        pipeline = source.pipeline or self._pipeline
        found = next(self._succeeded(pipeline), "")
        if not found and pipeline != self._pipeline:
            raise RunNotFoundError(
                f"s3: bucket {bucket!r} asks for the latest run of pipeline {pipeline!r} that succeeded, and the run log"
                f" at {self._run_log.location} has none: run that pipeline first, or correct its name"
            )
        if not found:
            self.warnings.append(
                f"s3: bucket {bucket!r} is empty: no earlier run of this pipeline has succeeded yet"
            )
        return found

    def _succeeded(self, pipeline: str) -> Iterator[str]:
        for header in reversed(self._run_log.headers()):
            if header.pipeline != pipeline or header.run_id == self._run_id:
                continue
            if self._run_log.read(header.run_id).status == "SUCCESS":
                yield header.run_id

    def _of_digest(self, bucket: str, digest: str) -> dict[str, CatalogEntry]:
        own = [entry for entry in self._entries.values() if entry.data_hash == digest]
        if own:
            return self._located(self._run_id, own[:1])
        removed: RunCollectedError | None = None
        for run_id in self._with_digest(digest):
            held = [h for h in records_of(self._run_log, run_id) if h.entry.data_hash == digest]
            try:
                self._refuse_collected(run_id, held)
            except RunCollectedError as error:
                removed = removed or error
                continue
            if held:
                self._refuse_elsewhere(bucket, run_id, held[:1])
                log.info("s3: bucket %s has a file of run %s", bucket, run_id)
                return self._located(run_id, [held[0].entry])
        if removed is not None:
            raise removed
        raise CatalogEntryNotFoundError(
            f"s3: bucket {bucket!r} asks for the file with the sha256 {digest}, and no run in {self._run_log.location} that"
            " has ended has put one: copy the digest from data_hash of a run log"
        )

    def _with_digest(self, digest: str) -> Iterator[str]:
        """The runs whose documents hold a digest anywhere, the one that started last in front."""
        run_ids = (header.run_id for header in reversed(self._run_log.headers()))
        while some := list(islice(run_ids, _AT_ONCE)):
            keys = {run_id: layout.document_key(run_id) for run_id in some}
            texts = self._run_log.texts(keys.values())
            yield from (run_id for run_id in some if digest in texts.get(keys[run_id], ""))

    def _refuse_collected(self, run_id: str, held: Iterable[Held]) -> None:
        mark = self._run_log.marks.collection(run_id)
        if mark is not None and any(mark.covers(one.recorded) for one in held):
            raise RunCollectedError(f"s3: {mark.told}: name another run")

    def _refuse_running(self, bucket: str, run_id: str) -> None:
        """The files of a run that goes on may take other places."""
        if self._run_log.read(run_id).status == "PROCESSING":
            raise RunNotFoundError(
                f"s3: bucket {bucket!r} asks for the files of run {run_id!r}, which has not ended: wait for its end, or name"
                " another run"
            )

    def _refuse_elsewhere(self, bucket: str, run_id: str, held: Iterable[Held]) -> None:
        places = {one.entry.catalog_handler_location for one in held} - {self._catalog.location}
        if places:
            raise CatalogError(
                f"s3: bucket {bucket!r} asks for files of run {run_id!r}, which are in the catalog {min(places)}, and this step"
                f" uses {self._catalog.location}: give it the same catalog, or the files by bucket and prefix"
            )

    def _located(self, run_id: str, entries: Iterable[CatalogEntry]) -> dict[str, CatalogEntry]:
        return {entry.name: entry for entry in self._catalog.located(run_id, entries)}

    def _chosen(
        self, bucket: str, source: DataSource, entries: Mapping[str, CatalogEntry]
    ) -> dict[str, CatalogEntry]:
        chosen: dict[str, CatalogEntry] = {}
        for pattern in source.files:
            found = {name: entry for name, entry in entries.items() if matches(pattern, name)}
            if not found:
                self.warnings.append(f"s3: {pattern!r} of bucket {bucket!r} matches nothing")
            chosen |= found
        return chosen
