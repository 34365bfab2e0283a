"""The run log of runs: claims and documents over a part store."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from airflow_magnus.errors import (
    ConfigurationError,
    RecordError,
    RunIdTakenError,
    RunNotFoundError,
    StoreError,
)
from airflow_magnus.runlog import layout
from airflow_magnus.runlog.document import run_log
from airflow_magnus.runlog.history import Graphs
from airflow_magnus.runlog.index_texts import run_record
from airflow_magnus.runlog.records import RunHeader, RunLog, StepIdentity
from airflow_magnus.runlog.summaries import facts_of
from airflow_magnus.runlog.texts import record_of, text_of, unreadable
from airflow_magnus.stores.attempts import AttemptStore
from airflow_magnus.stores.index_entries import IndexEntries
from airflow_magnus.stores.marks import RunMarks
from airflow_magnus.stores.owners import goes_on, is_same_run
from airflow_magnus.stores.parts import PartStore

log = logging.getLogger(__name__)
T = TypeVar("T")
LATEST = re.compile(r"latest(?:~(\d{1,9}))?")
"""How a run is asked for by how many came after it: ``latest``, ``latest~1`` …"""
_MOST_RUNS_OF_ONE_NAME = 10_000


class RunLogStore(AttemptStore):
    """Reads and writes run logs. A write costs the same however many steps the run has."""

    @property
    def parts(self) -> PartStore:
        """What it is made of."""
        return self._parts

    @property
    def marks(self) -> RunMarks:
        """Which runs are pinned, and whose files were collected."""
        return RunMarks(self._parts)

    @property
    def location(self) -> str:
        """For people: where the run logs are."""
        return self._parts.location

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

    def header(self, run_id: str) -> RunHeader:
        """The header of a run. Cost: 1 request.

        :raises RunNotFoundError: when no run has this id.
        """
        key = layout.header_key(run_id)
        text = self._parts.read([key]).get(key) if layout.is_run_id(run_id) else None
        if text is None:
            raise self._missing(run_id)
        return self._header_of(run_id, text)

    def _missing(self, run_id: str) -> RunNotFoundError:
        return RunNotFoundError(
            f"no run {run_id[:300]!r} in the run log store at {self.location}: `magnus runlog list` shows those there"
        )

    def _header_of(self, run_id: str, text: str) -> RunHeader:
        place = self._place(layout.header_key(run_id))
        header = record_of(RunHeader, text, place)
        if header.run_id != run_id:
            raise unreadable(place, f"it is the header of run {header.run_id[:300]!r}")
        return header

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

    def _told(self, read: Callable[..., T], *arguments: Any) -> T | None:
        """What ``read`` gives; None, and a warning, when it cannot read an object."""
        try:
            return read(*arguments)
        except RecordError as error:
            log.warning("left out: %s", error)
            return None

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

    def _document_of(self, run_id: str, text: str) -> RunLog:
        return record_of(RunLog, text, self._place(layout.document_key(run_id)))

    # documents

    def assemble(self, run_id: str) -> RunLog:
        """The document of a run from its parts, whether or not it has ended.

        :raises RunNotFoundError: when no run has this id.
        """
        return self._assembled(run_id)[0]

    def _assembled(self, run_id: str) -> tuple[RunLog, RunHeader, Graphs]:
        header, graphs = self.header(run_id), self.graphs(run_id)
        try:
            return run_log(header, graphs), header, graphs
        except (ValueError, LookupError, TypeError, AttributeError, StopIteration, RecursionError) as error:
            place = self._place(layout.header_key(run_id))
            raise unreadable(place, f"no run can be put together from it: {error!r}") from error

    def write_document(self, run_id: str) -> RunLog:
        """Write the document of a run anew from its parts, until no part has come while it was written."""
        while True:
            before = self._parts.list_keys(layout.steps_prefix(run_id))
            log, header, graphs = self._assembled(run_id)
            version = self._parts.put(layout.document_key(run_id), log.to_json())
            if self._parts.list_keys(layout.steps_prefix(run_id)) == before:
                self._tell_index(log, version, header, graphs)
                return log

    def repair(
        self,
        run_id: str,
        statuses: Mapping[tuple[str, int], str],
        status: str,
        top: Iterable[tuple[StepIdentity, str]] = (),
    ) -> RunLog:
        """End the run log of an Airflow run that has ended and whose own end did not run; bring its records in line.

        :param statuses: task id and map index → ``SUCCESS`` or ``FAIL``, of the tasks that ran.
        :param status: of the run, likewise; "" when nobody knows: then one that has reached no end is FAIL.
        :param top: the steps of the pipeline's own graph, each with the task whose state is the step's.
        """
        recorded = self.graph(run_id, "")
        said_of = [(step, recorded.get(step.name), statuses.get((task_id, -1))) for step, task_id in top]
        self.reconcile(run_id, [(step, history, said) for step, history, said in said_of if said])
        found = []
        for history in (h for histories in self.graphs(run_id).values() for h in histories.values()):
            latest = history.latest
            scheduler = (latest.closed or latest.opened).scheduler
            said = statuses.get((scheduler.get("task_id", ""), scheduler.get("map_index", -1)), "")
            if latest.opened.step.is_composite:
                said = ""  # the record is of the task that has begun the step
            if said or latest.closed is None:
                found.append((latest.opened.step, history, said or "FAIL"))
        self.reconcile(run_id, found)
        log = self.assemble(run_id)
        known = status or (log.status if log.status != "PROCESSING" else "FAIL")
        log = log.model_copy(update={"status": known})
        self.keep_document(log)
        return log

    def keep_document(self, log: RunLog) -> None:
        """Write a document as it is, and let the index say the same. Cost: 3 requests; of a re-run, its parts."""
        version = self._parts.put(layout.document_key(log.run_id), log.to_json())
        try:
            header = self.header(log.run_id)
            graphs = self.graphs(log.run_id) if header.use_cached else {}
        except RunNotFoundError:  # of another tool
            header, graphs = None, {}
        self._tell_index(log, version, header, graphs)

    def _tell_index(
        self, log: RunLog, version: str | None, header: RunHeader | None, graphs: Graphs | None = None
    ) -> None:
        """Let the index say what a document says. Cost: 1 request. That it fails is no fault: readers put it right."""
        try:
            record = run_record(facts_of(header, log, graphs), version or "")
        except ValueError as error:  # of a document that another tool has written
            logging.getLogger(__name__).warning(
                "the index of runs in %s was not told of %s: %s", self.location, log.run_id, error
            )
        else:
            IndexEntries(self._parts).note([record])

    def reopen(self, run_id: str) -> None:
        """Let the document of a run that has ended and goes on again say so. Cost: 1 request when it says so already."""
        key = layout.document_key(run_id)
        text = self._parts.read([key]).get(key)
        if text is not None and not self._goes_on(run_id, text):
            log = self.assemble(run_id).model_copy(update={"status": "PROCESSING"})
            self.keep_document(log)

    def _goes_on(self, run_id: str, document: str) -> bool:
        """Whether a document says so; one that cannot be read does not, and is written anew."""
        found = self._told(self._document_of, run_id, document)
        return found is not None and found.status == "PROCESSING"

    def read(self, run_id: str) -> RunLog:
        """The run log of a run: its document, or assembled when it has none.

        :raises RunNotFoundError: when no run has this id.
        """
        key = layout.document_key(run_id)
        text = self._parts.read([key]).get(key) if layout.is_run_id(run_id) else None
        return self._document_of(run_id, text) if text is not None else self.assemble(run_id)

    def current(self, run_id: str) -> RunLog:
        """The run log of a run as it is at this moment: of one that goes on, put together from its parts.

        Cost: 1 GET of a run that has ended.

        :raises RunNotFoundError: when no run has this id.
        """
        key = layout.document_key(run_id)
        text = self._parts.read([key]).get(key) if layout.is_run_id(run_id) else None
        if text is None:
            return self.assemble(run_id)
        found = self._document_of(run_id, text)
        if found.status != "PROCESSING":
            return found
        return self.assemble(run_id).model_copy(update={"status": found.status})
