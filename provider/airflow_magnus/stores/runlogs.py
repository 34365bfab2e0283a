"""The run log of runs: claims, attempts and documents over a part store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_magnus.errors import AttemptLostError, RunIdTakenError, RunNotFoundError, StoreError
from airflow_magnus.runlog import layout
from airflow_magnus.runlog.definition import recorded_path
from airflow_magnus.runlog.document import run_log
from airflow_magnus.runlog.history import StepHistory, histories_of
from airflow_magnus.runlog.records import (
    AttemptClosed,
    AttemptOpened,
    RunHeader,
    RunLog,
    StepIdentity,
)
from airflow_magnus.stores.owners import goes_on, is_same_run
from airflow_magnus.stores.parts import PartStore

_MOST_RUNS_OF_ONE_NAME = 10_000
KILLED = (
    "no end was recorded: the process was killed or lost its machine; "
    "what it made is not part of the run, the next attempt makes it again"
)


@dataclass(frozen=True)
class OpenAttempt:
    """An attempt that goes on, and what it carried over from before it was deferred."""

    opened: AttemptOpened
    carried: AttemptClosed | None = None


class RunLogStore:
    """Reads and writes run logs. A write costs the same however many steps the run has."""

    def __init__(self, parts: PartStore) -> None:
        self._parts = parts

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
        """Take the header's run id for this run, before anything of it runs. Cost: 2 requests.

        :raises RunIdTakenError: when another run has this id.
        """
        # A document without a header is a run of another tool, or one whose parts were removed: keep it.
        has_document = bool(self._parts.read([layout.document_key(header.run_id)]))
        if has_document or not self._parts.create(layout.header_key(header.run_id), header.model_dump_json()):
            raise RunIdTakenError(
                f"run id {header.run_id!r} is taken by an earlier run in {self.location}: give another --run-id, "
                "or leave it out and one is made"
            )

    def header(self, run_id: str) -> RunHeader:
        """The header of a run. Cost: 1 request.

        :raises RunNotFoundError: when no run has this id.
        """
        found = self._parts.read([layout.header_key(run_id)])
        if not found:
            raise RunNotFoundError(
                f"no run {run_id!r} in the run log store at {self.location}: `magnus runlog list` shows those there"
            )
        return RunHeader.model_validate_json(next(iter(found.values())))

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
        return self._parts.list_runs()

    def headers(self) -> list[RunHeader]:
        """The headers of all runs, the one that started first in front. Cost: 1 LIST and 1 read a run."""
        texts = self._parts.read(layout.header_key(run_id) for run_id in self.run_ids())
        found = [RunHeader.model_validate_json(text) for text in texts.values()]
        return sorted(found, key=lambda header: (header.started, header.run_id))

    def find(self, wanted: str) -> RunLog:
        """The run log of a run, asked for by its id or by Airflow's own run id.

        :raises RunNotFoundError: when there is no such run, or Airflow's id stands for several.
        """
        try:
            return self._ended_if_abandoned(self.read(wanted))
        except RunNotFoundError:
            same = [h.run_id for h in self.headers() if h.scheduler.get("run_id") == wanted]
            if not same:
                raise
        if len(same) > 1:
            raise RunNotFoundError(f"{wanted!r} stands for several runs, ask for one of: {', '.join(same)}")
        return self._ended_if_abandoned(self.read(same[0]))

    def _ended_if_abandoned(self, log: RunLog) -> RunLog:
        """The run log of a command line's run whose process is gone, ended as FAIL and kept so; else the log itself."""
        if log.status != "PROCESSING" or goes_on(self.header(log.run_id)):
            return log
        for histories in self.graphs(log.run_id).values():
            for history in histories.values():
                if history.latest.closed is None:
                    self.close_left_open(log.run_id, history.latest.opened)
        ended = self.assemble(log.run_id).model_copy(update={"status": "FAIL"})
        self._parts.put(layout.document_key(log.run_id), ended.to_json())
        return ended

    def summaries(self) -> list[RunLog]:
        """All runs without their steps, the one that started first in front. Cost: 1 LIST and 2 reads a run."""
        headers = self.headers()
        documents = self._parts.read(layout.document_key(header.run_id) for header in headers)
        return [_summary(header, documents.get(layout.document_key(header.run_id))) for header in headers]

    # attempts

    def open_attempt(
        self, run_id: str, step: StepIdentity, attempt_id: str, scheduler: Mapping[str, Any]
    ) -> OpenAttempt:
        """Claim the step's next attempt number, or find the one that this owner opened before it was deferred.

        Attempts left open are closed first. Cost: 1 LIST, 1 write; more after a kill or a deferral.
        """
        keys = self._parts.list_keys(layout.step_prefix(run_id, step.graph_name, step.name))
        kinds = _kinds_by_number(keys)
        for number in sorted(kinds):
            if "close" not in kinds[number]:
                found = self._own_or_close(run_id, step, number, attempt_id, "carry" in kinds[number])
                if found is not None:
                    return found
        number = max(kinds, default=-1) + 1
        while True:
            opened = AttemptOpened(step=step, number=number, attempt_id=attempt_id, scheduler=dict(scheduler))
            if self._parts.create(self._key(run_id, opened, "open"), opened.model_dump_json()):
                return OpenAttempt(opened)
            number += 1

    def _own_or_close(
        self, run_id: str, step: StepIdentity, number: int, attempt_id: str, has_carry: bool
    ) -> OpenAttempt | None:
        key = layout.part_key(run_id, step.graph_name, step.name, number, "open")
        text = self._parts.read([key]).get(key)
        if text is None:
            return None
        opened = AttemptOpened.model_validate_json(text)
        if opened.attempt_id != attempt_id:
            self.close_left_open(run_id, opened)
            return None
        carried = None
        if has_carry:
            carry_key = self._key(run_id, opened, "carry")
            carried = AttemptClosed.model_validate_json(self._parts.read([carry_key])[carry_key])
        return OpenAttempt(opened, carried)

    def close_left_open(self, run_id: str, opened: AttemptOpened, message: str = KILLED) -> None:
        """Record as failed an attempt whose process is gone; does nothing when it closed itself meanwhile."""
        closed = AttemptClosed(
            step=opened.step,
            number=opened.number,
            attempt_id=opened.attempt_id,
            start_time=opened.start_time,
            status="FAIL",
            message=message,
            scheduler=opened.scheduler,
        )
        self._parts.create(self._key(run_id, opened, "close"), closed.model_dump_json())

    def close(self, run_id: str, closed: AttemptClosed) -> None:
        """Record the outcome of an attempt; this makes what it put and set visible. Cost: 1 request.

        :raises AttemptLostError: when a later attempt has closed this one, as it took it for dead.
        """
        if not self._parts.create(self._key(run_id, closed, "close"), closed.model_dump_json()):
            raise AttemptLostError(
                f"attempt {closed.number} of step {closed.step.internal_name!r} of run {run_id} was taken for dead "
                "and another one has begun: nothing of this attempt is recorded, and nothing of it is needed"
            )

    def carry(self, run_id: str, so_far: AttemptClosed) -> None:
        """Keep what an attempt made before it was deferred; read again when it resumes. Cost: 1 request."""
        self._parts.put(self._key(run_id, so_far, "carry"), so_far.model_dump_json())

    def record(
        self, run_id: str, step: StepIdentity, attempt_id: str, scheduler: Mapping[str, Any], **outcome: Any
    ) -> None:
        """Open and close an attempt in one go, for nodes that run nothing. ``outcome``: fields of AttemptClosed."""
        opened = self.open_attempt(run_id, step, attempt_id, scheduler).opened
        self.close(
            run_id,
            AttemptClosed(
                step=step,
                number=opened.number,
                attempt_id=attempt_id,
                start_time=opened.start_time,
                scheduler=dict(scheduler),
                **outcome,
            ),
        )

    # reading

    def graph(
        self, run_id: str, graph_name: str, steps: Iterable[str] | None = None
    ) -> dict[str, StepHistory]:
        """What is recorded of one graph's steps, by internal name. Cost: 1 LIST and 1 read a part, many at once.

        :param steps: names of the steps to read; None: all. Of each only the latest attempt is read then.
        """
        keys = self._parts.list_keys(layout.graph_prefix(run_id, graph_name))
        if steps is not None:
            keys = _latest_of(keys, {layout.segment(name) for name in steps})
        return self._histories(keys)

    def graphs(self, run_id: str) -> dict[str, dict[str, StepHistory]]:
        """Everything recorded of a run: graph name → internal name → history."""
        histories = self._histories(self._parts.list_keys(layout.steps_prefix(run_id)))
        graphs: dict[str, dict[str, StepHistory]] = {}
        for name, history in histories.items():
            graphs.setdefault(history.latest.opened.step.graph_name, {})[name] = history
        return graphs

    def _histories(self, keys: Iterable[str]) -> dict[str, StepHistory]:
        texts = self._parts.read([key for key in keys if key.endswith((".open.json", ".close.json"))])
        opened = [AttemptOpened.model_validate_json(t) for k, t in texts.items() if k.endswith(".open.json")]
        closed = [AttemptClosed.model_validate_json(t) for k, t in texts.items() if k.endswith(".close.json")]
        return histories_of(opened, closed)

    def assemble(self, run_id: str) -> RunLog:
        """The document of a run from its parts, whether or not it has ended.

        :raises RunNotFoundError: when no run has this id.
        """
        header = self.header(run_id)
        graphs = self.graphs(run_id)
        return run_log(header, graphs, recorded_path(header, graphs.get("", {})))

    def write_document(self, run_id: str) -> RunLog:
        """Write the document of a run anew from its parts."""
        log = self.assemble(run_id)
        self._parts.put(layout.document_key(run_id), log.to_json())
        return log

    def reopen(self, run_id: str) -> None:
        """Let the document of a run that has ended and goes on again say so. Cost: 1 request when it says so already."""
        key = layout.document_key(run_id)
        text = self._parts.read([key]).get(key)
        if text is not None and RunLog.model_validate_json(text).status != "PROCESSING":
            log = self.assemble(run_id).model_copy(update={"status": "PROCESSING"})
            self._parts.put(key, log.to_json())

    def read(self, run_id: str) -> RunLog:
        """The run log of a run: its document, or assembled when it has none.

        :raises RunNotFoundError: when no run has this id.
        """
        key = layout.document_key(run_id)
        text = self._parts.read([key]).get(key)
        return RunLog.model_validate_json(text) if text is not None else self.assemble(run_id)

    def _key(self, run_id: str, part: AttemptOpened | AttemptClosed, kind: layout.PartKind) -> str:
        return layout.part_key(run_id, part.step.graph_name, part.step.name, part.number, kind)


def _summary(header: RunHeader, document: str | None) -> RunLog:
    log = RunLog.model_validate_json(document) if document else run_log(header, {})
    if log.status == "PROCESSING" and not goes_on(header):
        log.status = "FAIL"  # its process is gone
    return log.model_copy(update={"steps": {}, "pipeline": header.pipeline})


def _kinds_by_number(keys: Iterable[str]) -> dict[int, set[str]]:
    kinds: dict[int, set[str]] = {}
    for key in keys:
        part = layout.parse_part(key)
        if part is not None:
            kinds.setdefault(part[1], set()).add(part[2])
    return kinds


def _latest_of(keys: Iterable[str], step_segments: set[str]) -> list[str]:
    """Of each chosen step the keys of its latest attempt; the claim itself only where there is no outcome."""
    latest: dict[str, tuple[int, dict[str, str]]] = {}
    for key in keys:
        part = layout.parse_part(key)
        if part is None or part[0].rsplit("/", 1)[1] not in step_segments:
            continue
        step, number, kind = part
        if step not in latest or number > latest[step][0]:
            latest[step] = (number, {})
        if number == latest[step][0]:
            latest[step][1][kind] = key
    chosen = (kinds.get("close") or kinds.get("open") for _, kinds in latest.values())
    return [key for key in chosen if key is not None]
