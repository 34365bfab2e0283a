"""The run log of runs: claims of their ids, and how they are found."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

from airflow_magnus.errors import (
    ConfigurationError,
    RecordError,
    RunIdTakenError,
    RunNotFoundError,
    StoreError,
)
from airflow_magnus.runlog import layout
from airflow_magnus.runlog.document import run_log
from airflow_magnus.runlog.records import RunHeader, RunLog
from airflow_magnus.runlog.texts import text_of
from airflow_magnus.stores.documents import DocumentStore
from airflow_magnus.stores.marks import RunMarks
from airflow_magnus.stores.owners import goes_on, is_same_run

log = logging.getLogger(__name__)
T = TypeVar("T")
LATEST = re.compile(r"latest(?:~(\d{1,9}))?")
"""How a run is asked for by how many came after it: ``latest``, ``latest~1`` …"""
_MOST_RUNS_OF_ONE_NAME = 10_000


class RunLogStore(DocumentStore):
    """Reads and writes run logs. A write costs the same however many steps the run has."""

    @property
    def marks(self) -> RunMarks:
        """Which runs are pinned, and whose files were collected."""
        return RunMarks(self._parts)

    @property
    def is_conditional(self) -> bool:
        """Whether the store honours create-only writes."""
        return getattr(self._parts, "is_conditional", True)

    @is_conditional.setter
    def is_conditional(self, value: bool) -> None:
        if hasattr(self._parts, "is_conditional"):
            self._parts.is_conditional = value

    def find_out_conditional(self) -> bool:
        """Ask the store whether it honours create-only writes. Cost: a few requests."""
        find_out = getattr(self._parts, "find_out_conditional", None)
        return bool(find_out()) if find_out else True

    # runs

    def claim(self, header: RunHeader) -> None:
        """Take the header's run id for this run, before anything of it runs. Cost: 3 requests.

        :raises RunIdTakenError: when another run has this id.
        :raises ConfigurationError: when no run can have it.
        """
        if not layout.is_run_id(header.run_id):
            raise ConfigurationError(
                f"{header.run_id[:300]!a} cannot be the id of a run: its folder is called so"
            )
        # A document without a header is a run of another tool, or one whose parts were removed: keep it.
        has_document = bool(self._parts.read([layout.document_key(header.run_id)]))
        text = text_of(header, f"run {header.run_id}")
        if has_document or not self._parts.create(layout.header_key(header.run_id), text):
            raise RunIdTakenError(
                f"run id {header.run_id!r} is taken by an earlier run in {self.location}: give another --run-id, "
                "or leave it out and one is made"
            )
        self._tell_index(run_log(header, {}), "", header)

    def claim_for(self, header: RunHeader, complete: Callable[[RunHeader], RunHeader]) -> RunHeader:
        """The header of an Airflow run: the one it claimed before, or a new claim of the next free id.

        Runs of one Airflow id (deleted and made again, another deployment) get ``.2``, ``.3`` …

        :param complete: gives the header in full, called before a new claim.
        """
        wanted, mine = header.run_id, None
        for number in range(1, _MOST_RUNS_OF_ONE_NAME):
            run_id = wanted if number == 1 else f"{wanted}.{number}"
            try:
                there = self.header(run_id)
            except RunNotFoundError:
                if mine is not None:
                    return mine
                candidate = complete(header.model_copy(update={"run_id": run_id}))
                try:
                    self.claim(candidate)
                except RunIdTakenError:
                    try:
                        there = self.header(run_id)
                    except RunNotFoundError:  # the document of another tool's run
                        continue
                else:
                    return candidate
            if is_same_run(there, header):
                mine = there
                if header.scheduler.get("clear_number", 0) == 0:
                    return mine
        raise StoreError(f"{_MOST_RUNS_OF_ONE_NAME} runs are called {wanted!r} in {self.location}")

    def run_ids(self) -> list[str]:
        """All runs, sorted. Cost: 1 request for each 1,000 runs."""
        return [name for name in self._parts.list_runs() if not name.startswith(".")]

    def texts(self, keys: Iterable[str]) -> Mapping[str, str]:
        """The parts of these keys that exist, as they are. Cost: 1 read a key, many at a time."""
        return self._parts.read(keys)

    def keys_of_parts(self, run_id: str) -> list[str]:
        """Keys of all parts of a run's steps, sorted. Cost: 1 request for each 1,000."""
        return self._parts.list_keys(layout.steps_prefix(run_id))

    def headers(self) -> list[RunHeader]:
        """The headers of all runs, the one that started first in front. Cost: 1 LIST and 1 read a run.

        One that cannot be read is left out, with a warning that names it.
        """
        keys = {layout.header_key(run_id): run_id for run_id in self.run_ids()}
        texts = self._texts_of_many(keys)
        found = [
            self._told(self._header_of, keys[key], text) for key, text in texts.items() if text is not None
        ]
        return sorted(filter(None, found), key=lambda header: (header.started, header.run_id))

    def _texts_of_many(self, keys: Collection[str]) -> Mapping[str, str | None]:
        """The texts of those keys that exist; None, and a warning, of what is no text."""
        try:
            return self._parts.read(keys)
        except RecordError:
            texts: dict[str, str | None] = {}
            for key in keys:
                found = self._told(self._parts.read, [key])
                texts.update({key: None} if found is None else found)
            return texts

    def find(self, wanted: str, pipeline: str | None = None) -> RunLog:
        """The run log of a run, asked for by its id or by Airflow's own run id.

        :param pipeline: of runs with the same id of Airflow's those of this pipeline are meant.

        :raises RunNotFoundError: when there is no such run, or Airflow's id stands for several.
        """
        try:
            return self._ended_if_abandoned(self.read(wanted))
        except RunNotFoundError as error:
            return self._ended_if_abandoned(self.read(self._with_airflow_id(wanted, pipeline, error)))

    def locate(self, wanted: str) -> str:
        """The id of a run, asked for as of :meth:`find` or as ``latest~1``; nothing is written. Cost: 2 requests.

        :raises RunNotFoundError: when there is no such run, or Airflow's id stands for several.
        """
        if back := LATEST.fullmatch(wanted):
            return self.latest(int(back[1] or 0))
        keys = [layout.header_key(wanted), layout.document_key(wanted)]
        if layout.is_run_id(wanted) and self._parts.read(keys):
            return wanted
        return self._with_airflow_id(wanted, None, self._missing(wanted))

    def _with_airflow_id(self, wanted: str, pipeline: str | None, missing: RunNotFoundError) -> str:
        found = [h for h in self.headers() if h.scheduler.get("run_id") == wanted]
        same = [h.run_id for h in found if h.pipeline == pipeline] or [h.run_id for h in found]
        if not same:
            raise missing
        if len(same) > 1:
            raise RunNotFoundError(f"{wanted!r} stands for several runs, ask for one of: {', '.join(same)}")
        return same[0]

    def latest(self, back: int = 0, pipeline: str | None = None) -> str:
        """The run id of the run that started last, or ``back`` runs before it. Cost: as of :meth:`headers`.

        :param pipeline: look at the runs of this pipeline only.
        :raises RunNotFoundError: when there are not so many runs.
        """
        found = [h.run_id for h in self.headers() if pipeline is None or h.pipeline == pipeline]
        if back >= len(found):
            of = f" of pipeline {pipeline!r}" if pipeline is not None else ""
            wanted = f"latest~{back}" if back else "latest"
            raise RunNotFoundError(
                f"no run {wanted!r}: {len(found)} run(s){of} are in the run log store at {self.location}"
            )
        return found[-1 - back]

    def _ended_if_abandoned(self, log: RunLog) -> RunLog:
        """The run log of a command line's run whose process is gone, ended as FAIL and kept so; else the log itself."""
        if log.status != "PROCESSING" or goes_on(self.header(log.run_id)):
            return log
        for histories in self.graphs(log.run_id).values():
            for history in histories.values():
                if history.latest.closed is None:
                    self.close_left_open(log.run_id, history.latest.opened)
        ended = self.assemble(log.run_id).model_copy(update={"status": "FAIL"})
        self.keep_document(ended)
        return ended

    def summaries(self) -> list[RunLog]:
        """All runs without their steps, the one that started first in front. Cost: 1 LIST and 2 reads a run.

        What cannot be read is left out, with a warning that names it.
        """
        headers = self.headers()
        keys = {layout.document_key(header.run_id): header for header in headers}
        texts = self._texts_of_many(keys)
        found = [
            self._told(self._summary, header, texts.get(key))
            for key, header in keys.items()
            if key not in texts or texts[key] is not None
        ]
        return list(filter(None, found))

    def _summary(self, header: RunHeader, document: str | None) -> RunLog:
        found = self._document_of(header.run_id, document) if document is not None else run_log(header, {})
        if found.status == "PROCESSING" and not goes_on(header):
            found.status = "FAIL"  # its process is gone
        return found.model_copy(update={"steps": {}, "pipeline": header.pipeline})
