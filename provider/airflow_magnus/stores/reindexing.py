"""Make the index of the runs anew, from their documents alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_magnus.runlog.index_texts import IndexRecord, newest
from airflow_magnus.runlog.records import timestamp
from airflow_magnus.stores.index_entries import OF_A_SEGMENT, IndexEntries
from airflow_magnus.stores.index_sources import AT_ONCE, SourceReader, sources_of
from airflow_magnus.stores.run_index import sorted_by_start
from airflow_magnus.stores.runlogs import RunLogStore


@dataclass
class Reindexed:
    """What was done.

    :param files: uses of files that were entered.
    :param texts: that hold the index now; ``removed``: that held it before.
    :param unreadable: runs that are not in it, each with the reason.
    """

    runs: int = 0
    files: int = 0
    texts: int = 0
    removed: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)


def reindex(run_log: RunLogStore, progress: Callable[[int, int], None] = lambda done, of: None) -> Reindexed:
    """Make the index anew. Runs may begin and end meanwhile: what they tell it stays. Killed, it may be started again.

    Cost: 4 LISTs, 2 reads a run, of a re-run also its parts; 1 write for each 1,000 runs.

    :param progress: told how many runs and marks were read, and of how many.
    :raises StoreError: when the store cannot be read or written.
    """
    parts, entries = run_log.parts, IndexEntries(run_log.parts)
    before, began = (
        entries.keys(),
        timestamp(),
    )  # what comes later says more than the documents that are read now
    sources, reader, done = sources_of(parts), SourceReader(parts), Reindexed()
    keys: list[str] = []
    held: list[IndexRecord] = []
    for number, found in enumerate(reader.records(sources.versions, sources, written=began), start=1):
        held += found
        done.runs += sum(one.kind == "run" for one in found)
        done.files += sum(one.file_count for one in found)
        if len(held) >= OF_A_SEGMENT:
            keys += entries.write_segments(held[:OF_A_SEGMENT])
            del held[:OF_A_SEGMENT]
        progress(min(number * AT_ONCE, len(sources.versions)), len(sources.versions))
    keys += entries.write_segments(sorted_by_start(newest(held)))
    old = [key for key in before if key not in keys]
    entries.remove(old)
    done.texts, done.removed = len(keys), len(old) if entries.can_remove else 0
    done.unreadable = reader.unreadable
    return done
