"""What counts for the question whose files may be removed: read from the run log, as it stands at one moment."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from airflow_magnus.errors import StoreError
from airflow_magnus.pipeline.model import ServiceSettings
from airflow_magnus.runlog import layout
from airflow_magnus.runlog import marks as mark_records
from airflow_magnus.runlog.document import run_log as run_log_of
from airflow_magnus.runlog.records import BranchLog, RunHeader, RunLog, StepLog
from airflow_magnus.runlog.retention import RunFacts
from airflow_magnus.stores.owners import goes_on
from airflow_magnus.stores.parallel import in_parallel
from airflow_magnus.stores.runlogs import RunLogStore
from airflow_magnus.stores.services import catalog_location

_AT_ONCE = 500
"""Outcomes that are held in memory while they are looked through."""


@dataclass(frozen=True)
class Asked:
    """What a person said of single runs.

    :param pins: runs that are kept this time.
    :param ended: runs that have ended, though nobody here can know it.
    """

    pins: Collection[str] = ()
    ended: Collection[str] = ()


class RunReader:
    """Reads the facts of runs.

    :param location: of the catalog that is looked after.
    :ivar unreadable: runs whose records cannot be read, each with the reason: they are left alone.
    """

    def __init__(self, run_log: RunLogStore, location: str, asked: Asked | None = None) -> None:
        self._run_log = run_log
        self._location = location
        self._asked = asked or Asked()
        self.unreadable: dict[str, str] = {}

    def gather(self, passed_over: Collection[str] = ()) -> list[RunFacts]:
        """The facts of all runs but those. Cost: 3 LISTs, 2 reads a run; more of runs whose process was killed."""
        found = []
        pinned = {*self._run_log.marks.pinned(), *self._asked.pins}
        collected = self._run_log.marks.collections()
        run_ids = [run_id for run_id in self._run_log.run_ids() if run_id not in passed_over]
        documents = self._texts({layout.document_key(run_id): run_id for run_id in run_ids})
        headers = self._texts({layout.header_key(run_id): run_id for run_id in run_ids})
        for run_id in run_ids:
            text = headers.get(layout.header_key(run_id))
            if text is None or run_id in self.unreadable:
                continue  # of another tool: nobody knows what it needs, and its folder is left alone
            try:
                header = _checked(run_id, text)
                log = self._log(header, documents.get(layout.document_key(run_id)))
                facts = self._facts(header, log, run_id in pinned, collected.get(run_id))
            except (ValueError, StoreError) as error:
                self.unreadable[run_id] = " ".join(str(error).split())[:300]
            else:
                found.append(facts)
        return found

    def _texts(self, keys: Mapping[str, str]) -> Mapping[str, str]:
        """The texts of keys that each belong to a run; what is no text makes its run unreadable, not all of them."""
        try:
            return self._run_log.texts(keys)
        except ValueError:
            found: dict[str, str] = {}
            for key, run_id in keys.items():
                try:
                    found.update(self._run_log.texts([key]))
                except ValueError as error:
                    self.unreadable[run_id] = " ".join(str(error).split())[:300]
            return found

    def _log(self, header: RunHeader, document: str | None) -> RunLog:
        if document is not None:
            return RunLog.model_validate_json(document)
        # Without a document the parts tell when the last thing happened; of one that goes on nobody asks.
        is_asked = header.run_id in self._asked.ended or not goes_on(header)
        return run_log_of(header, self._run_log.graphs(header.run_id) if is_asked else {})

    def _facts(
        self, header: RunHeader, log: RunLog, is_pinned: bool, mark: mark_records.Collection | None
    ) -> RunFacts:
        times = [_moment(header.started), *map(_moment, _times(log.steps.values()))]
        ended = max(times)
        facts = RunFacts(
            header.run_id,
            header.pipeline,
            times[0],
            ended,
            is_success=log.status == "SUCCESS",
            refers_to=frozenset({header.original_run_id} - {""}),
            needed=self._needed(header, log, is_pinned),
        )
        if _location_of(header) == "":
            return replace(facts, left="nothing")
        if mark is None or ended > _moment(mark.at):  # it was collected, and then its tasks ran again
            return facts
        return replace(facts, left="part" if mark.state == "removing" else "nothing")

    def _needed(self, header: RunHeader, log: RunLog, is_pinned: bool) -> str:
        is_ended = header.run_id in self._asked.ended or not goes_on(header)
        if log.status == "PROCESSING" and not is_ended:
            return _goes_on(header)
        if not layout.is_run_id(header.run_id):
            return "its id is not fit for the name of a folder"
        location = _location_of(header)
        if location and location != self._location:
            return f"its files are in the catalog {location}, which was not opened"
        return "it is pinned" if is_pinned else ""

    def named_by(self, run_ids: Sequence[str]) -> Mapping[str, set[str]]:
        """Of each of these runs the other runs whose files its records name. Cost: 1 LIST and 1 read an attempt."""
        found = in_parallel(self._named_by, run_ids)
        return dict(zip(run_ids, found, strict=True))

    def _named_by(self, run_id: str) -> set[str]:
        parts = self._run_log.keys_of_parts(run_id)
        outcomes = [key for key in parts if key.endswith((".close.json", ".carry.json"))]
        found: set[str] = set()
        for start in range(0, len(outcomes), _AT_ONCE):
            keys = dict.fromkeys(outcomes[start : start + _AT_ONCE], run_id)
            for key, text in self._texts(keys).items():
                try:
                    entries = json.loads(text).get("data_catalog") or []
                    found |= {str(entry["catalog_relative_path"]).partition("/")[0] for entry in entries}
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                    self.unreadable[run_id] = f"{key}: {error}"
        return found - {run_id}


def _checked(run_id: str, text: str) -> RunHeader:
    header = RunHeader.model_validate_json(text)
    if header.run_id != run_id:
        raise ValueError(f"its header is that of run {header.run_id!r}")
    return header


def _goes_on(header: RunHeader) -> str:
    owner = header.scheduler
    if owner.get("type") == "airflow":
        return (
            f"it goes on, or its end was never told: `magnus runlog repair --airflow {header.run_id}` "
            "asks Airflow and ends its run log"
        )
    if owner.get("type") == "command":
        return (
            f"it goes on in process {owner.get('pid')} of {owner.get('hostname')}, or was killed there: "
            f"`magnus runlog show {header.run_id}` on that machine ends its run log; when the machine is gone, "
            f"say --ended {header.run_id}"
        )
    return (
        f"its run log does not say that it has ended; when you know that it has, say --ended {header.run_id}"
    )


def _location_of(header: RunHeader) -> str | None:
    """Where a run's catalog is, by what its header keeps of the settings; "" nowhere, None when that is not known."""
    catalog = header.run_config.get("catalog")
    if not isinstance(catalog, dict) or catalog.get("type") in (None, "unusable"):
        return None
    try:
        return catalog_location(ServiceSettings(str(catalog["type"]), dict(catalog["config"])))
    except (KeyError, TypeError, ValueError):
        return None


def _times(steps: Iterable[StepLog]) -> list[str]:
    """When attempts of the steps began and ended."""
    found = []
    for step in steps:
        found += [time for one in step.attempts for time in (one.start_time, one.end_time) if time]
        branches: Iterable[BranchLog] = step.branches.values()
        for branch in branches:
            found += _times(branch.steps.values())
    return found


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
