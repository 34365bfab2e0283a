"""The index of one store as it was read, and what is asked of it. Everything is in memory; nothing is written."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from airflow_magnus.runlog.index_texts import IndexRecord, Kind, TornIndexError, marked, newest, unpacked
from airflow_magnus.runlog.run_query import IsVisible, RunPage, RunQuery, everything, page_of, with_unread
from airflow_magnus.runlog.summaries import FileUse, RunSummary

log = logging.getLogger(__name__)

SHORTEST_DIGEST = 6
"""Characters of a digest that are enough to ask for a file by it."""
_DIGITS = frozenset("0123456789abcdef")
_DIGEST = 64


@dataclass(frozen=True)
class FilePage:
    """Some uses of files, those of the run that started last in front.

    :param is_cut: more were found.
    """

    uses: tuple[FileUse, ...] = ()
    is_cut: bool = False


class IndexView:
    """What the index of one store says.

    :param records: several of one thing may be among them: the one that counts is taken.
    :param unread: runs of the store that are in none of the records.
    :param seen: what whoever reads knows better of a run.
    """

    def __init__(
        self,
        records: Iterable[IndexRecord],
        unread: int = 0,
        seen: Callable[[RunSummary], RunSummary] = lambda run: run,
    ) -> None:
        self.records: Mapping[tuple[Kind, str], IndexRecord] = newest(records)
        self.unread = unread
        self._seen = seen

    @cached_property
    def summaries(self) -> dict[str, RunSummary]:
        """The runs by id, the one that started last in front."""
        found = [
            self._seen(marked(RunSummary.model_validate(one.value), self.records))
            for one in self.records.values()
            if one.kind == "run"
        ]
        found.sort(key=lambda run: run.place, reverse=True)
        return {run.run_id: run for run in found}

    def runs(self, query: RunQuery, is_visible: IsVisible = everything) -> RunPage:
        """The page of runs that a query asks for."""
        return with_unread(page_of(self.summaries.values(), query, is_visible), self.unread)

    def uses_of(self, run_id: str) -> list[FileUse]:
        """The files that a run read and made, in the order of its steps; [] of a run that is not known."""
        record, run = self.records.get(("run", run_id)), self.summaries.get(run_id)
        return _uses(run, record.files) if record is not None and run is not None else []

    def find_files(self, text: str, *, limit: int = 200, is_visible: IsVisible = everything) -> FilePage:
        """Uses of the files that a text asks for.

        :param text: the beginning of a digest, at least six characters, or part of a file's name; upper and lower case
            are one.
        """
        wanted = text.strip().casefold()
        found: list[FileUse] = []
        for use in self._uses_with(wanted, is_visible) if wanted else ():
            if wanted in use.name.casefold() or (is_digest(wanted) and use.sha256.startswith(wanted)):
                if len(found) == limit:
                    return FilePage(tuple(found), is_cut=True)
                found.append(use)
        return FilePage(tuple(found))

    def with_digest(self, sha256: str, *, is_visible: IsVisible = everything) -> Iterator[FileUse]:
        """All uses of the files with a digest, those of the run that started last in front.

        :param sha256: all 64 characters.
        """
        if len(sha256) == _DIGEST:
            yield from (
                use for use in self._uses_with(sha256.lower(), is_visible) if use.sha256 == sha256.lower()
            )

    def _uses_with(self, wanted: str, is_visible: IsVisible) -> Iterator[FileUse]:
        """The uses of all runs whose packed files have a text somewhere."""
        needle = (
            json.dumps(wanted)[1:-1].lower() if wanted.isascii() else ""
        )  # others have no one lower case in ASCII
        for run_id, run in self.summaries.items():
            files = self.records["run", run_id].files
            if needle in files.lower() and is_visible(run):
                yield from _uses(run, files)


def is_digest(text: str) -> bool:
    """Whether a text may be the beginning of a digest."""
    return SHORTEST_DIGEST <= len(text) <= _DIGEST and set(text.lower()) <= _DIGITS


def _uses(run: RunSummary, files: str) -> list[FileUse]:
    try:
        return unpacked(run, files)
    except TornIndexError as error:
        log.warning("left out of the search: %s; `magnus runlog reindex` makes the index anew", error)
        return []
