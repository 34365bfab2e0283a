"""The texts of the index in a run-log store: written beside what they are about, read, put together.

Nothing is right because the index says so: it repeats what documents and marks say, and names their versions.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from secrets import token_hex

from airflow_magnus.errors import MagnusError
from airflow_magnus.runlog import layout
from airflow_magnus.runlog.index_texts import IndexRecord, TornIndexError, records_of_text, text_of_records
from airflow_magnus.stores.parts import IndexableParts, PartStore

log = logging.getLogger(__name__)

OF_A_SEGMENT = 1_000
"""Records in a segment, at most: one with so many is never put together with others again."""


class IndexEntries:
    """Writes and reads the texts of the index. Each has a key of its own and is never written over."""

    def __init__(self, parts: PartStore) -> None:
        self._parts = parts

    def note(self, records: Sequence[IndexRecord], *, level: int = logging.WARNING) -> str:
        """Write records, and give their key; "" when that failed, which readers notice. Cost: 1 request.

        :param level: at which a failure is told.
        """
        if not records:
            return ""
        key = layout.index_key(token_hex(16))
        try:
            self._parts.put(key, text_of_records(records))
        except (MagnusError, ValueError) as error:
            log.log(level, "the index of runs in %s was not told: %s", self._parts.location, error)
            return ""
        return key

    def keys(self) -> list[str]:
        """Keys of all texts. Cost: 1 request for each 1,000."""
        return self._parts.list_keys(layout.INDEX)

    def read(self, keys: Collection[str]) -> dict[str, list[IndexRecord]]:
        """The records by key, none of a text that is torn; what is gone is left out. Cost: 1 request a key."""
        found = {}
        for key, text in self._texts(keys).items():
            try:
                found[key] = records_of_text(text)
            except TornIndexError as error:
                log.warning("%s/%s is not used: %s", self._parts.location, key, error)
                found[key] = []
        return found

    def _texts(self, keys: Collection[str]) -> Mapping[str, str]:
        try:
            return self._parts.read(keys)
        except ValueError:  # one is no text: then they are looked at one by one
            found: dict[str, str] = {}
            for key in keys:
                try:
                    found.update(self._parts.read([key]))
                except ValueError as error:
                    log.warning("not used: %s", error)
                    found[key] = ""
            return found

    def write_segments(self, records: Sequence[IndexRecord]) -> list[str]:
        """Write records as segments, and give their keys. Cost: 1 request for each 1,000 records.

        :raises StoreError: when one cannot be written.
        """
        keys = []
        for start in range(0, len(records), OF_A_SEGMENT):
            text = text_of_records(records[start : start + OF_A_SEGMENT])
            # The same records make the same key: two readers who put together the same texts write one.
            keys.append(layout.index_key(hashlib.sha256(text.encode()).hexdigest(), is_segment=True))
            self._parts.put(keys[-1], text)
        return keys

    def remove(self, keys: Iterable[str]) -> None:
        """Remove texts whose records others hold. Cost: 1 request for each 1,000.

        :raises StoreError: when they cannot be removed.
        """
        if isinstance(self._parts, IndexableParts):
            self._parts.remove(keys)

    @property
    def can_remove(self) -> bool:
        """Whether the store can remove texts."""
        return isinstance(self._parts, IndexableParts)
