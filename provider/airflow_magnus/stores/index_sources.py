"""What the index is made of: the headers, documents and marks of a run-log store, and where the index does not say that."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from airflow_magnus.errors import MagnusError, RecordError
from airflow_magnus.runlog import layout
from airflow_magnus.runlog.document import run_log as run_log_of
from airflow_magnus.runlog.index_texts import UNKNOWN, IndexRecord, Kind, mark_record, run_record
from airflow_magnus.runlog.marks import Collection, Pin
from airflow_magnus.runlog.records import RunHeader, RunLog
from airflow_magnus.runlog.summaries import facts_of
from airflow_magnus.runlog.texts import record_of
from airflow_magnus.stores.attempts import AttemptStore
from airflow_magnus.stores.parts import IndexableParts, PartStore

log = logging.getLogger(__name__)

_MARKS: Mapping[str, tuple[Kind, type[Pin] | type[Collection]]] = {
    layout.PINS: ("pin", Pin),
    layout.COLLECTIONS: ("collection", Collection),
}
_ENDED = ("SUCCESS", "FAIL")
AT_ONCE = 200
"""Runs whose documents are held in memory together."""


@dataclass(frozen=True)
class Sources:
    """What there is to know of the runs of a store: (kind, run) → version of what says it; "" of a run without a document."""

    versions: Mapping[tuple[Kind, str], str] = field(default_factory=dict)

    def stale(self, records: Mapping[tuple[Kind, str], IndexRecord]) -> list[tuple[Kind, str]]:
        """What the records do not say, or say of another version."""
        found = []
        for about, version in self.versions.items():
            record = records.get(about)
            if version == UNKNOWN:
                is_stale = record is None or (
                    about[0] == "run" and record.value.get("status", "") not in _ENDED
                )
            else:
                is_stale = record is None or record.version != version
            if is_stale:
                found.append(about)
        return found


def sources_of(parts: PartStore) -> Sources:
    """What a store has. Cost: 3 LISTs, each 1 request for 1,000 entries; a run is two of them."""
    versions: dict[tuple[Kind, str], str] = {}
    if not isinstance(parts, IndexableParts):
        versions |= {("run", run_id): UNKNOWN for run_id in parts.list_runs() if layout.is_run_id(run_id)}
        for folder, (kind, _) in _MARKS.items():
            versions |= {(kind, layout.run_of(key)): UNKNOWN for key in parts.list_keys(folder)}
        return Sources(versions)
    top = parts.listing()
    versions |= {("run", run_id): "" for run_id in top.folders if layout.is_run_id(run_id)}
    for key, version in top.versions.items():
        if key.endswith(".json") and layout.is_run_id(layout.run_of(key)):
            versions["run", layout.run_of(key)] = version
    for folder, (kind, _) in _MARKS.items():
        listed = parts.listing(folder).versions
        versions |= {(kind, layout.run_of(key)): version for key, version in listed.items()}
    return Sources(versions)


class SourceReader:
    """Reads what the index is to say.

    :ivar unreadable: runs whose records cannot be read, each with the reason.
    :ivar absent: runs of which there is neither a header nor a document: an empty folder.
    """

    def __init__(self, parts: PartStore) -> None:
        self.absent: set[tuple[Kind, str]] = set()
        self._parts = parts
        self._attempts = AttemptStore(parts)
        self.unreadable: dict[str, str] = {}

    def records(
        self, wanted: Iterable[tuple[Kind, str]], sources: Sources, *, written: str = ""
    ) -> Iterator[list[IndexRecord]]:
        """The records of what is asked for, some at a time; none of runs that cannot be read, or have no header.

        Cost: 2 reads a run, of a re-run also its parts; 1 read a mark.

        :param written: as of the records; now, unless told.
        """
        asked = list(wanted)
        for start in range(0, len(asked), AT_ONCE):
            some = asked[start : start + AT_ONCE]
            runs = [run_id for kind, run_id in some if kind == "run"]
            found = self._runs(runs, sources, written)
            for folder, (kind, _) in _MARKS.items():
                marked = [run_id for other, run_id in some if other == kind]
                found += self._marks(folder, marked, sources, written)
            yield found

    def _runs(self, run_ids: Sequence[str], sources: Sources, written: str) -> list[IndexRecord]:
        headers = self._texts({layout.header_key(run_id): run_id for run_id in run_ids})
        documents = self._texts({layout.document_key(run_id): run_id for run_id in run_ids})
        found = []
        for run_id in run_ids:
            if run_id in self.unreadable:
                continue
            try:
                header = self._header(run_id, headers.get(layout.header_key(run_id)))
                document = documents.get(layout.document_key(run_id))
                if header is None and document is None:
                    self.absent.add(("run", run_id))
                    continue
                log_of_run = self._log(run_id, header, document)
                # A re-run's document does not name what it has restored.
                graphs = self._attempts.graphs(run_id) if header and header.use_cached and document else None
                facts = facts_of(header, log_of_run, graphs)
            except (MagnusError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
                self._left_out(run_id, error)
                continue
            version = sources.versions.get(("run", run_id), "")
            found.append(run_record(facts, "" if document is None else version, written=written))
        return found

    def _header(self, run_id: str, text: str | None) -> RunHeader | None:
        if text is None:
            return None
        header = record_of(RunHeader, text, self._place(layout.header_key(run_id)))
        if header.run_id != run_id:
            raise RecordError(f"it has the header of run {header.run_id[:300]!r}")
        return header

    def _log(self, run_id: str, header: RunHeader | None, document: str | None) -> RunLog:
        if document is None:
            assert header is not None
            return run_log_of(header, {})
        found = record_of(RunLog, document, self._place(layout.document_key(run_id)))
        if found.run_id != run_id:
            raise RecordError(f"it has the document of run {found.run_id[:300]!r}")
        return found

    def _marks(
        self, folder: str, run_ids: Sequence[str], sources: Sources, written: str
    ) -> list[IndexRecord]:
        kind, model = _MARKS[folder]
        texts = self._texts({f"{folder}/{run_id}.json": run_id for run_id in run_ids})
        found = []
        for key, text in texts.items():
            run_id = layout.run_of(key)
            try:
                mark = model.model_validate_json(text)
            except ValueError as error:
                self._left_out(run_id, error)
                continue
            is_set = mark.is_pinned if isinstance(mark, Pin) else mark.state != "withdrawn"
            found.append(
                mark_record(kind, run_id, is_set, sources.versions.get((kind, run_id), ""), written=written)
            )
        return found

    def _texts(self, keys: Mapping[str, str]) -> Mapping[str, str]:
        """Texts by key; what is no text makes its run unreadable, not all of them."""
        try:
            return self._parts.read(keys)
        except ValueError:
            found: dict[str, str] = {}
            for key, run_id in keys.items():
                try:
                    found.update(self._parts.read([key]))
                except ValueError as error:
                    self._left_out(run_id, error)
            return found

    def _left_out(self, run_id: str, error: Exception) -> None:
        self.unreadable[run_id] = " ".join(str(error).split())[:300]
        log.warning("left out of the index of runs: run %s: %s", run_id, self.unreadable[run_id])

    def _place(self, key: str) -> str:
        return f"{self._parts.location}/{key}"
