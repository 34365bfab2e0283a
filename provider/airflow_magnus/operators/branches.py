"""The branches of a composite step when they have ended: which way each went, what they have left together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from airflow_magnus.operators.place import GraphPlace, Items, StepPlace, identity_at
from airflow_magnus.operators.route import Way
from airflow_magnus.runlog.history import StepHistory, left_by, merged
from airflow_magnus.runlog.records import (
    AttemptClosed,
    AttemptOpened,
    CodeIdentity,
    StepIdentity,
    timestamp,
)

if TYPE_CHECKING:
    from airflow_magnus.stores.attempts import AttemptStore

_MOST_REASONS = 10
"""Branches that a message names; a map may have thousands."""


@dataclass(frozen=True)
class Branch:
    """One branch of a composite step, as its tasks know it.

    :param tasks: name of each step → the task whose state is the step's.
    :param steps: name → what the run log calls the step.
    :param reached: how it is found out whether the branch runs; None: it does.
    """

    name: str
    graph: GraphPlace
    tasks: Mapping[str, str] = field(default_factory=dict)
    steps: Mapping[str, StepIdentity] = field(default_factory=dict)
    reached: Way | None = None


@dataclass(frozen=True)
class Outcome:
    """How one branch went.

    :param graph: of this branch, for its items.
    :param path: the steps that were visited.
    :param end: name of the success or fail node that was reached; "" when none was.
    :param stopped_at: the step that was not run though the way led there; "" when an end was reached.
    """

    branch: str
    graph: GraphPlace
    steps: Mapping[str, StepIdentity]
    statuses: Mapping[str, str]
    path: tuple[str, ...]
    end: str
    stopped_at: str = ""

    @property
    def is_success(self) -> bool:
        """Whether the branch's success node was reached."""
        return self.end == self.graph.ends[0]


def outcome_of(branch: Branch, name: str, items: Items, statuses: Mapping[str, str]) -> Outcome:
    """Follow the way of one branch.

    :param name: the branch's; of a map's the item's.
    :param statuses: of its steps that ran.
    """
    graph = branch.graph.at(items)
    path: list[str] = []
    current = graph.start
    while current not in graph.ends:
        status = statuses.get(current)
        if status not in ("SUCCESS", "FAIL"):
            return Outcome(name, graph, branch.steps, statuses, tuple(path), "", current)
        path.append(current)
        after_success, after_failure = graph.next_of(current)
        current = after_success if status == "SUCCESS" else after_failure
    return Outcome(name, graph, branch.steps, statuses, tuple(path), current)


@dataclass(frozen=True)
class Conclusion:
    """What the end of a composite step writes.

    :param ends: records of the success and fail nodes that its branches reached.
    :param closed: the record of the composite step.
    """

    ends: tuple[AttemptClosed, ...]
    closed: AttemptClosed


def conclude(
    place: StepPlace,
    opened: AttemptOpened,
    outcomes: Sequence[Outcome],
    graphs: Mapping[str, Mapping[str, StepHistory]],
    identities: list[CodeIdentity],
    faults: Sequence[str] = (),
) -> Conclusion:
    """Decide how a composite step went: it is SUCCESS only when every branch is. A pure decision.

    :param opened: its attempt; when that is closed already the conclusion is another one.
    :param graphs: graph name → name of a step → history, of all its branches.
    :param faults: what else went wrong.
    """
    left, clashes = merged((o.branch, left_by(o.path, graphs.get(o.graph.name, {}))) for o in outcomes)
    # A repetition of a loop sees the files of those before it: that it puts them again is no clash.
    warnings = [] if place.identity.step_type == "loop" else clashes
    failed = [outcome for outcome in outcomes if not outcome.is_success]
    reasons = [_reason(outcome, graphs.get(outcome.graph.name, {})) for outcome in failed[:_MOST_REASONS]]
    reasons += faults
    if len(failed) > _MOST_REASONS:
        reasons.append(f"and {len(failed) - _MOST_REASONS} branches more")
    number = opened.number + 1 if isinstance(opened, AttemptClosed) else opened.number
    items = dict(zip(opened.branches, opened.items, strict=False))
    names = [outcome.branch for outcome in outcomes]
    own = opened.model_copy(
        update={
            "step": place.identity,
            "number": number,
            "branches": names,
            "items": [items[name] for name in names if name in items],
        }
    )
    closed = own.ended(
        status="FAIL" if reasons else "SUCCESS",
        message="; ".join(reasons),
        step_message="\n".join([*warnings, *reasons]),
        parameters=dict(left.parameters),
        data_catalog=list(left.entries.values()),
        code_identities=identities,
    )
    ends = tuple(
        _end_record(outcome, graphs.get(outcome.graph.name, {}), identities)
        for outcome in outcomes
        if outcome.end
    )
    return Conclusion(ends, closed)


def bring_in_line(
    run_log: AttemptStore,
    run_id: str,
    outcomes: Sequence[Outcome],
    items: Mapping[str, Items],
    graphs: Mapping[str, Mapping[str, StepHistory]],
) -> bool:
    """Let the records of the branches' steps say what Airflow says; see ``AttemptStore.reconcile``.

    :param items: graph name → its tuple of items.
    """
    return run_log.reconcile(
        run_id,
        [
            (
                identity_at(outcome.steps[name], items[outcome.graph.name]),
                graphs.get(outcome.graph.name, {}).get(name),
                outcome.statuses[name],
            )
            for outcome in outcomes
            for name in outcome.path
        ],
    )


def _end_record(
    outcome: Outcome, histories: Mapping[str, StepHistory], identities: list[CodeIdentity]
) -> AttemptClosed:
    before = histories.get(outcome.end)
    identity = StepIdentity(
        name=outcome.end,
        internal_name=f"{outcome.graph.name}.{outcome.end}",
        graph_name=outcome.graph.name,
        step_type="success" if outcome.is_success else "fail",
    )
    return AttemptClosed(
        step=identity,
        number=before.latest.opened.number + 1 if before else 0,
        attempt_id=uuid4().hex,
        start_time=timestamp(),
        status="SUCCESS",
        code_identities=identities,
    )


def _reason(outcome: Outcome, histories: Mapping[str, StepHistory]) -> str:
    if outcome.stopped_at:
        return f"branch {outcome.branch!r} reached no end: its step {outcome.stopped_at!r} did not run"
    failed = [name for name in outcome.path if outcome.statuses[name] == "FAIL"]
    if not failed:
        return f"branch {outcome.branch!r} reached its fail node"
    history = histories.get(failed[-1])
    closed: Any = history.latest.closed if history else None
    why = f": {closed.message}" if closed and closed.message else ""
    return f"branch {outcome.branch!r} failed in step {failed[-1]!r}{why}"
