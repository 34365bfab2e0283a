"""The index of the runs of a store, as a reader has it: read once, then kept up by what is new, and put right.

What is new is found by one LIST of the index. Now and then, and at first, everything is compared with the documents
themselves: a writer that was killed between the document and the index, a run log that was removed or brought back,
a torn text: the index says then what the documents say.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain

from airflow_magnus.errors import MagnusError
from airflow_magnus.runlog import layout
from airflow_magnus.runlog.index_texts import IndexRecord, Kind, newest
from airflow_magnus.runlog.index_view import IndexView
from airflow_magnus.runlog.summaries import RunSummary
from airflow_magnus.stores.index_entries import OF_A_SEGMENT, IndexEntries
from airflow_magnus.stores.index_sources import SourceReader, Sources, sources_of
from airflow_magnus.stores.owners import is_gone
from airflow_magnus.stores.runlogs import RunLogStore

log = logging.getLogger(__name__)

YOUNG = 1.0
"""Seconds for which nothing new is looked for."""
COMPARED = 30.0
"""Seconds after which everything is compared with the documents; more where that takes long."""
MOST_READ = 1_000
"""Runs without an entry that a reader reads at once, and enters; `magnus runlog reindex` reads all."""
COMPACTED_FROM = 200
"""Texts outside segments from which on a reader puts them together."""
_TRIES = 4


@dataclass
class IndexMemory:
    """What is known of the index of one store, from one reading to the next. Made empty; only this module fills it.

    :param texts: key of each text that was read → its records.
    :param unwritten: what was read of runs without entries and could not be entered: this reader may only read.
    :param dead: what the store no longer has.
    :param passed_over: what could not be read, with the version that it had; ``absent``: those that are not there.
    """

    texts: dict[str, list[IndexRecord]] = field(default_factory=dict)
    unwritten: dict[tuple[Kind, str], IndexRecord] = field(default_factory=dict)
    dead: set[tuple[Kind, str]] = field(default_factory=set)
    passed_over: dict[tuple[Kind, str], str] = field(default_factory=dict)
    absent: set[tuple[Kind, str]] = field(default_factory=set)
    view: IndexView | None = None
    unread: int = 0
    looked_at: float = 0.0
    compared_at: float = 0.0
    compared_in: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def size(self) -> int:
        """Characters that it holds, about as many bytes."""
        return sum(len(one.files) + 500 for records in list(self.texts.values()) for one in records)


class RunIndex:
    """The index of a run-log store.

    :param memory: of earlier readings of this store.
    """

    def __init__(self, run_log: RunLogStore, memory: IndexMemory | None = None) -> None:
        self._parts = run_log.parts
        self._entries = IndexEntries(run_log.parts)
        self._memory = memory or IndexMemory()

    def view(self, *, is_compared: bool = False, most_read: int = MOST_READ) -> IndexView:
        """The index as it is now.

        Cost: none within a second; else 1 LIST and 1 read for each text that is new. Now and then also 3 LISTs of
        1,000 entries a request, and 2 reads for each run of which the index says nothing, or something old.

        :param is_compared: compare with the documents however lately that was done.
        :param most_read: runs to read for that.
        :raises StoreError: when the store cannot be read.
        """
        memory = self._memory
        with memory.lock:
            now = time.monotonic()
            if memory.view is not None and now - memory.looked_at < YOUNG and not is_compared:
                return memory.view
            is_due = now - memory.compared_at > max(COMPARED, 20 * memory.compared_in)
            is_first = memory.view is None
            if is_compared or is_first or is_due:
                has_changed = self._read_and_compare(most_read)
            else:
                has_changed = self._read_new()
            if has_changed or memory.view is None:
                memory.view = self._made()
            self._compact()
            memory.looked_at = time.monotonic()
            return memory.view

    def _read_and_compare(self, most_read: int) -> bool:
        """Read what is new while what there is is listed; whether anything was new or wrong.

        A run that is in the list of the index is in a list of what there is that was begun later.
        """
        began = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            listings: list[Future[Sources]] = []
            has_changed = self._read_new(lambda: listings.append(pool.submit(sources_of, self._parts)))
            has_changed |= self._compare(listings[-1].result(), most_read)
        self._memory.compared_at = time.monotonic()
        self._memory.compared_in = self._memory.compared_at - began
        return has_changed

    def _read_new(self, listed: Callable[[], None] = lambda: None) -> bool:
        """Read the texts that are new, and forget those that are gone; whether there were any.

        :param listed: called whenever the index was listed.
        """
        memory = self._memory
        has_changed = False
        for _ in range(_TRIES):
            keys = set(self._entries.keys())
            listed()
            has_changed |= bool(keys ^ memory.texts.keys())
            found = self._entries.read(sorted(keys - memory.texts.keys()))
            missing = keys - memory.texts.keys() - found.keys()
            # What went was put together with others first: it is forgotten when these were read.
            kept = {key: records for key, records in memory.texts.items() if key in keys or missing}
            memory.texts = {**kept, **found}
            if not missing:
                break
        return has_changed

    def _made(self) -> IndexView:
        living = (one for one in self._records() if one.about not in self._memory.dead)
        return IndexView(living, self._memory.unread, as_seen_here)

    def _records(self) -> Iterator[IndexRecord]:
        yield from chain(*self._memory.texts.values(), self._memory.unwritten.values())

    def _compare(self, sources: Sources, most_read: int) -> bool:
        """Bring what is known in line with the documents and marks themselves; whether anything was not."""
        memory = self._memory
        known = newest(self._records())
        before = memory.dead, memory.unread
        passed_over = memory.passed_over.items()
        memory.passed_over = {about: v for about, v in passed_over if sources.versions.get(about) == v}
        stale = [about for about in sources.stale(known) if about not in memory.passed_over]
        reader = SourceReader(self._parts)
        found = []
        for records in reader.records(stale[:most_read], sources):
            found += [_after(known.get(one.about), one) for one in records]
        read = {one.about for one in found}
        memory.passed_over |= {
            about: sources.versions[about] for about in stale[:most_read] if about not in read
        }
        memory.absent = (memory.absent & memory.passed_over.keys()) | reader.absent
        memory.dead = (known.keys() - sources.versions.keys()) | memory.absent
        memory.unread = len({run_id for kind, run_id in stale[most_read:] if kind == "run"})
        key = self._entries.note(found, level=logging.INFO)
        if key:
            memory.texts[key] = found
        else:
            memory.unwritten |= {one.about: one for one in found}
        return bool(found) or before != (memory.dead, memory.unread)

    def _compact(self) -> None:
        """Put what lies outside segments together, when there is much of it. Killed at any moment, nothing is lost."""
        memory = self._memory
        new = [key for key in memory.texts if key.startswith(f"{layout.NEW_IN_INDEX}/")]
        if len(new) < COMPACTED_FROM or not self._entries.can_remove:
            return
        small = [
            key
            for key, records in memory.texts.items()
            if key not in new and len(records) < OF_A_SEGMENT and key.startswith(f"{layout.INDEX}/segments/")
        ]
        inputs = [*new, *small]
        records = sorted_by_start(
            newest(one for key in inputs for one in memory.texts[key] if one.about not in memory.dead)
        )
        try:
            keys = self._entries.write_segments(records)
            self._entries.remove(key for key in inputs if key not in keys)
        except MagnusError as error:
            log.info("the index of runs could not be put together: %s", error)
            memory.looked_at = 0.0
            return
        memory.texts = {key: found for key, found in memory.texts.items() if key not in inputs}
        for number, key in enumerate(keys):
            memory.texts[key] = records[number * OF_A_SEGMENT : (number + 1) * OF_A_SEGMENT]


def sorted_by_start(records: Mapping[tuple[Kind, str], IndexRecord]) -> list[IndexRecord]:
    """Records in the order in which their runs started; marks come first."""

    def place(one: IndexRecord) -> tuple[str, str, str]:
        start = one.value.get("start", "") if isinstance(one.value, dict) else ""
        return start, one.run_id, one.kind

    return sorted(records.values(), key=place)


def as_seen_here(run: RunSummary) -> RunSummary:
    """A run as this machine knows it: one that goes on in a process that is gone has failed."""
    if run.status != "PROCESSING" or run.scheduler.get("type") != "command" or not is_gone(run.scheduler):
        return run
    return run.model_copy(update={"status": "FAIL"})


def _after(before: IndexRecord | None, record: IndexRecord) -> IndexRecord:
    """A record that counts instead of the one before, whatever the clock of whoever wrote that one said."""
    if before is None or record.rank > before.rank:
        return record
    return IndexRecord(**{**vars(record), "written": f"{before.written}+"})
