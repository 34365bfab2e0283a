"""Marks on runs over a part store: which are pinned, and whose files were collected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from airflow_magnus.errors import StoreError
from airflow_magnus.runlog import layout
from airflow_magnus.runlog.index_texts import IndexRecord, mark_record
from airflow_magnus.runlog.marks import Collection, Pin
from airflow_magnus.runlog.records import Record
from airflow_magnus.stores.index_entries import IndexEntries
from airflow_magnus.stores.parts import PartStore

M = TypeVar("M", bound=Record)


class RunMarks:
    """Reads and writes the marks of runs. Nothing is removed: a mark that no longer holds says so."""

    def __init__(self, parts: PartStore) -> None:
        self._parts = parts

    def pin(self, run_id: str, is_pinned: bool = True) -> None:
        """Let the files of a run be kept whatever its age, or no longer. Cost: 2 requests."""
        mark = Pin(run_id=run_id, is_pinned=is_pinned)
        version = self._parts.put(layout.pin_key(run_id), mark.model_dump_json())
        self._tell_index(mark_record("pin", run_id, is_pinned, version or ""))

    def pinned(self) -> list[str]:
        """Ids of the runs that are pinned, sorted. Cost: 1 LIST and 1 read a run that ever was."""
        pins = self._read(Pin, self._parts.list_keys(layout.PINS))
        return sorted(pin.run_id for pin in pins.values() if pin.is_pinned)

    def set_collection(self, mark: Collection) -> None:
        """Say how far the removal of a run's files has come. Cost: 2 requests."""
        version = self._parts.put(layout.collection_key(mark.run_id), mark.model_dump_json())
        is_set = mark.state != "withdrawn"
        self._tell_index(mark_record("collection", mark.run_id, is_set, version or ""))

    def _tell_index(self, record: IndexRecord) -> None:
        IndexEntries(self._parts).note([record])

    def collection(self, run_id: str) -> Collection | None:
        """What says that the files of a run were removed, or are being; None when they were not. Cost: 1 request."""
        found = self._read(Collection, [layout.collection_key(run_id)])
        return next((mark for mark in found.values() if mark.state != "withdrawn"), None)

    def collections(self) -> dict[str, Collection]:
        """Whose files were removed, or are being: by run. Cost: 1 LIST and 1 read a run that ever was."""
        marks = self._read(Collection, self._parts.list_keys(layout.COLLECTIONS))
        return {mark.run_id: mark for mark in marks.values() if mark.state != "withdrawn"}

    def _read(self, kind: type[M], keys: Iterable[str]) -> Mapping[str, M]:
        found: dict[str, M] = {}
        for key, text in self._parts.read(keys).items():
            try:
                found[key] = kind.model_validate_json(text)
            except ValueError as error:
                raise StoreError(
                    f"{self._parts.location}/{key} cannot be read: {error}; remove it if nobody knows what it should say"
                ) from error
        return found
