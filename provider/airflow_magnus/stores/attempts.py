"""The attempts of a run's steps over a part store: claimed, closed, read again."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from airflow_magnus.errors import AttemptLostError
from airflow_magnus.runlog import layout
from airflow_magnus.runlog.history import Attempt, StepHistory, histories_of
from airflow_magnus.runlog.records import MARKED, AttemptClosed, AttemptOpened, StepIdentity
from airflow_magnus.runlog.texts import record_of, text_of
from airflow_magnus.stores.parallel import Pace, in_parallel
from airflow_magnus.stores.parts import READERS, PartStore

log = logging.getLogger(__name__)
KILLED = (
    "no end was recorded: the process was killed or lost its machine; "
    "what it made is not part of the run, the next attempt makes it again"
)


_FEW_GRAPHS = 8
"""Graphs that are listed one by one; of more the whole run is listed."""


@dataclass(frozen=True)
class OpenAttempt:
    """An attempt that goes on, and what it carried over from before it was deferred.

    :param is_first: no attempt before it has ended by itself.
    """

    opened: AttemptOpened
    carried: AttemptClosed | None = None
    is_first: bool = True


class AttemptStore:
    """Writes and reads the parts of attempts. A write costs the same however many steps the run has."""

    def __init__(self, parts: PartStore) -> None:
        self._parts = parts

    def open_attempt(
        self,
        run_id: str,
        step: StepIdentity,
        attempt_id: str,
        scheduler: Mapping[str, Any],
        *,
        branches: Sequence[str] = (),
        items: Sequence[Any] = (),
    ) -> OpenAttempt:
        """Claim the step's next attempt number, or find the one that this owner opened before it was deferred.

        Attempts left open are closed first. Cost: 1 LIST, 1 write; more after a kill or a deferral.
        """
        keys = self._parts.list_keys(layout.step_prefix(run_id, step.graph_name, step.name))
        kinds = _kinds_by_number(keys)
        is_first = all("close" not in kind for kind in kinds.values())
        for number in sorted(kinds):
            if "close" not in kinds[number]:
                found = self._own_or_close(run_id, step, number, attempt_id, "carry" in kinds[number])
                if found is not None:
                    return replace(found, is_first=is_first)
        number = max(kinds, default=-1) + 1
        while True:
            opened = AttemptOpened(
                step=step,
                number=number,
                attempt_id=attempt_id,
                scheduler=dict(scheduler),
                branches=list(branches),
                items=list(items),
            )
            if self._create(run_id, opened, "open"):
                return OpenAttempt(opened, is_first=is_first)
            number += 1

    def _own_or_close(
        self, run_id: str, step: StepIdentity, number: int, attempt_id: str, has_carry: bool
    ) -> OpenAttempt | None:
        key = layout.part_key(run_id, step.graph_name, step.name, number, "open")
        text = self._parts.read([key]).get(key)
        if text is None:
            return None
        opened = record_of(AttemptOpened, text, self._place(key))
        if opened.attempt_id != attempt_id:
            self.close_left_open(run_id, opened)
            return None
        carried = None
        if has_carry:
            carry_key = self._key(run_id, opened, "carry")
            text = self._parts.read([carry_key])[carry_key]
            carried = record_of(AttemptClosed, text, self._place(carry_key))
        return OpenAttempt(opened, carried)

    def close_left_open(self, run_id: str, opened: AttemptOpened, message: str = KILLED) -> None:
        """Record as failed an attempt whose process is gone; does nothing when it closed itself meanwhile."""
        closed = opened.ended(status="FAIL", message=message)
        self._create(run_id, closed, "close")

    def close(self, run_id: str, closed: AttemptClosed) -> None:
        """Record the outcome of an attempt; this makes what it put and set visible. Cost: 1 request.

        :raises AttemptLostError: when a later attempt has closed this one, as it took it for dead.
        """
        if not self._create(run_id, closed, "close"):
            raise AttemptLostError(
                f"attempt {closed.number} of step {closed.step.internal_name!r} of run {run_id} was taken for dead "
                "and another one has begun: nothing of this attempt is recorded, and nothing of it is needed"
            )

    def carry(self, run_id: str, so_far: AttemptClosed) -> None:
        """Keep what an attempt made before it was deferred; read again when it resumes. Cost: 1 request."""
        key = self._key(run_id, so_far, "carry")
        self._parts.put(key, text_of(so_far, key))

    def record(
        self, run_id: str, step: StepIdentity, attempt_id: str, scheduler: Mapping[str, Any], **outcome: Any
    ) -> None:
        """Open and close an attempt in one go, for nodes that run nothing. ``outcome``: fields of AttemptClosed."""
        opened = self.open_attempt(run_id, step, attempt_id, scheduler).opened
        self.close(run_id, opened.ended(**outcome))

    def append(self, run_id: str, closed: AttemptClosed) -> None:
        """Record an outcome under the next number that is free, from its own on. Cost: 1 request."""
        while not self._create(run_id, closed, "close"):
            closed = closed.model_copy(update={"number": closed.number + 1})

    def append_all(self, run_id: str, closed: Iterable[AttemptClosed]) -> None:
        """Record many outcomes. Cost: 1 request each, many at a time."""
        in_parallel(lambda one: self.append(run_id, one), closed, Pace(READERS))

    def reconcile(self, run_id: str, steps: Iterable[tuple[StepIdentity, StepHistory | None, str]]) -> bool:
        """Let the records say what Airflow says of steps: killed attempts, tasks that were marked by hand.

        :param steps: of each step what is recorded and its status by Airflow, ``SUCCESS`` or ``FAIL``.
        :returns: whether anything was written.
        """
        changed = False
        for identity, history, status in steps:
            latest = history.latest if history else None
            if latest is not None and latest.closed is None:
                self.close_left_open(run_id, latest.opened)
                changed = True
                if status == "FAIL":
                    continue
            elif latest is not None and latest.status == status:
                continue
            self.append(run_id, _marked(identity, latest, status))
            changed = True
        return changed

    def keep_fingerprint(self, run_id: str, closed: AttemptClosed) -> None:
        """Let :meth:`with_fingerprint` find this attempt. Cost: 1 request."""
        place = {"run_id": run_id, "key": self._key(run_id, closed, "close")}
        self._parts.put(layout.fingerprint_key(closed.fingerprint), json.dumps(place))

    def with_fingerprint(self, fingerprint: str) -> tuple[str, AttemptClosed] | None:
        """The run and the outcome of the last attempt with this fingerprint that was kept. Cost: 2 requests."""
        key = layout.fingerprint_key(fingerprint)
        text = self._parts.read([key]).get(key)
        if text is None:
            return None
        try:
            place = json.loads(text)
            run_id, key = place["run_id"], place["key"]
            outcome = self._parts.read([key]).get(key)
            closed = record_of(AttemptClosed, outcome, self._place(key)) if outcome is not None else None
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            log.warning("%s is not used: %s", self._place(layout.fingerprint_key(fingerprint)), error)
            return None
        return (run_id, closed) if closed is not None and closed.status == "SUCCESS" else None

    def graph(
        self, run_id: str, graph_name: str, steps: Iterable[str] | None = None
    ) -> dict[str, StepHistory]:
        """What is recorded of one graph's steps, by name. Cost: 1 LIST and 1 read a part, many at once.

        :param steps: names of the steps to read; None: all. Of each only the latest attempt is read then.
        """
        keys = self._parts.list_keys(layout.graph_prefix(run_id, graph_name))
        if steps is not None:
            keys = _latest_of(keys, {layout.segment(name) for name in steps})
        return self._graphs(keys).get(graph_name, {})

    def step(self, run_id: str, graph_name: str, name: str) -> StepHistory | None:
        """All attempts of one step; None when nothing is recorded of it. Cost: 1 LIST and 1 read an attempt."""
        keys = self._parts.list_keys(layout.step_prefix(run_id, graph_name, name))
        return self._graphs(keys).get(graph_name, {}).get(name)

    def graphs(self, run_id: str, names: Collection[str] | None = None) -> dict[str, dict[str, StepHistory]]:
        """What is recorded of a run: graph name → name of a step → history. Cost: as of :meth:`graph`, 1 LIST for all.

        :param names: of the graphs to read; None: all. Of each step only the latest attempt is read then.
        """
        if names is None:
            return self._graphs(self._parts.list_keys(layout.steps_prefix(run_id)))
        if len(names) <= _FEW_GRAPHS:
            keys = [k for name in names for k in self._parts.list_keys(layout.graph_prefix(run_id, name))]
        else:
            wanted = {layout.segment(name) for name in names}
            found = self._parts.list_keys(layout.steps_prefix(run_id))
            keys = [key for key in found if layout.graph_segment(key) in wanted]
        return self._graphs(_latest_of(keys))

    def _graphs(self, keys: Iterable[str]) -> dict[str, dict[str, StepHistory]]:
        kinds = {key: part[2] for key in keys if (part := layout.parse_part(key)) and part[2] != "carry"}
        # An outcome tells all that the claim does.
        kinds = {k: kind for k, kind in kinds.items() if kind == "close" or _outcome_of(k) not in kinds}
        opened, closed = [], []
        for key, text in self._parts.read(kinds).items():
            if kinds[key] == "open":
                opened.append(record_of(AttemptOpened, text, self._place(key)))
            else:
                closed.append(record_of(AttemptClosed, text, self._place(key)))
        return histories_of(opened, closed)

    def _create(self, run_id: str, part: AttemptOpened | AttemptClosed, kind: layout.PartKind) -> bool:
        key = self._key(run_id, part, kind)
        return self._parts.create(key, text_of(part, key))

    def _place(self, key: str) -> str:
        """For people: where a part is."""
        return f"{self._parts.location}/{key}"

    def _key(self, run_id: str, part: AttemptOpened | AttemptClosed, kind: layout.PartKind) -> str:
        return layout.part_key(run_id, part.step.graph_name, part.step.name, part.number, kind)


def _marked(identity: StepIdentity, latest: Attempt | None, status: str) -> AttemptClosed:
    """The record of a step whose task was given another state; a composite one keeps what its branches have left."""
    state = {"SUCCESS": "success", "FAIL": "failed"}[status]
    message = f"Airflow's task has the state {state!r}, set from outside"
    attempt_id, scheduler = f"{MARKED}{uuid4().hex}", {"state": state}
    outcome: dict[str, Any] = {"status": status, "message": message, "is_attempt": False}
    if latest is None:
        opened = AttemptOpened(step=identity, number=0, attempt_id=attempt_id, scheduler=scheduler)
        return opened.ended(**outcome)
    if latest.closed is not None and identity.is_composite:
        outcome |= {"parameters": latest.closed.parameters, "data_catalog": latest.closed.data_catalog}
    changes = {"number": latest.opened.number + 1, "attempt_id": attempt_id}
    if "task_id" in latest.opened.scheduler:
        scheduler = {**latest.opened.scheduler, **scheduler}
    return latest.opened.model_copy(update={**changes, "scheduler": scheduler}).ended(**outcome)


def _outcome_of(key: str) -> str:
    return key.removesuffix(".open.json") + ".close.json"


def _kinds_by_number(keys: Iterable[str]) -> dict[int, set[str]]:
    kinds: dict[int, set[str]] = {}
    for key in keys:
        part = layout.parse_part(key)
        if part is not None:
            kinds.setdefault(part[1], set()).add(part[2])
    return kinds


def _latest_of(keys: Iterable[str], step_segments: set[str] | None = None) -> list[str]:
    """Of each chosen step the keys of its latest attempt; the claim itself only where there is no outcome."""
    latest: dict[str, tuple[int, dict[str, str]]] = {}
    for key in keys:
        part = layout.parse_part(key)
        if part is None or (step_segments is not None and part[0].rsplit("/", 1)[1] not in step_segments):
            continue
        step, number, kind = part
        if step not in latest or number > latest[step][0]:
            latest[step] = (number, {})
        if number == latest[step][0]:
            latest[step][1][kind] = key
    chosen = (kinds.get("close") or kinds.get("open") for _, kinds in latest.values())
    return [key for key in chosen if key is not None]
