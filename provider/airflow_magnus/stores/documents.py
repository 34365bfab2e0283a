"""Headers and documents of runs over a part store; what is written is told to the index."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from airflow_magnus.errors import RecordError, RunNotFoundError
from airflow_magnus.runlog import layout
from airflow_magnus.runlog.document import run_log
from airflow_magnus.runlog.history import Graphs
from airflow_magnus.runlog.index_texts import run_record
from airflow_magnus.runlog.records import RunHeader, RunLog, StepIdentity
from airflow_magnus.runlog.summaries import facts_of
from airflow_magnus.runlog.texts import record_of, unreadable
from airflow_magnus.stores.attempts import AttemptStore
from airflow_magnus.stores.index_entries import IndexEntries
from airflow_magnus.stores.parts import PartStore

log = logging.getLogger(__name__)
T = TypeVar("T")


class DocumentStore(AttemptStore):
    """Reads headers, and reads and writes documents."""

    @property
    def parts(self) -> PartStore:
        """What it is made of."""
        return self._parts

    @property
    def location(self) -> str:
        """For people: where the run logs are."""
        return self._parts.location

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

    def _document_of(self, run_id: str, text: str) -> RunLog:
        return record_of(RunLog, text, self._place(layout.document_key(run_id)))

    def _told(self, read: Callable[..., T], *arguments: Any) -> T | None:
        """What ``read`` gives; None, and a warning, when it cannot read an object."""
        try:
            return read(*arguments)
        except RecordError as error:
            log.warning("left out: %s", error)
            return None

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
        self, document: RunLog, version: str | None, header: RunHeader | None, graphs: Graphs | None = None
    ) -> None:
        """Let the index say what a document says. Cost: 1 request. That it fails is no fault: readers put it right."""
        try:
            record = run_record(facts_of(header, document, graphs), version or "")
        except ValueError as error:  # of a document that another tool has written
            logging.getLogger(__name__).warning(
                "the index of runs in %s was not told of %s: %s", self.location, document.run_id, error
            )
        else:
            IndexEntries(self._parts).note([record])

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
