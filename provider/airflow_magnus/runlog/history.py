"""What happened in one graph, read from its parts: which attempt of a step counts, and what later steps see of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_magnus.runlog.records import AttemptClosed, AttemptOpened, CatalogEntry, RunHeader, Status


@dataclass(frozen=True)
class Attempt:
    """One attempt as its parts tell it; ``closed`` is None while it goes on or when it was killed."""

    opened: AttemptOpened
    closed: AttemptClosed | None = None

    @property
    def status(self) -> Status:
        """``SUCCESS``, ``FAIL`` or ``PROCESSING``."""
        return self.closed.status if self.closed else "PROCESSING"


@dataclass
class StepHistory:
    """All attempts of one step, by number."""

    internal_name: str
    attempts: dict[int, Attempt] = field(default_factory=dict)

    @property
    def latest(self) -> Attempt:
        """The attempt that counts."""
        return self.attempts[max(self.attempts)]

    @property
    def status(self) -> Status:
        """The status of the attempt that counts."""
        return self.latest.status


@dataclass(frozen=True)
class Visible:
    """What a step sees of those before it.

    :param parameters: name to value, the later step's winning.
    :param entries: name to the entry that a get of this name gives.
    """

    parameters: Mapping[str, Any]
    entries: Mapping[str, CatalogEntry]


Edges = Callable[[str], tuple[str, str]]
"""Name of a step → the names of the steps taken after its success and after its failure; "" for none."""


def walked_path(
    start: str, edges: Edges, statuses: Mapping[str, str], target: str | None = None
) -> list[str]:
    """The steps on the way from ``start``, in order, as the latest attempts went; ``target`` is left out.

    A step without a record ends the way, unless a target is given: then the way goes on to the target. Where the
    latest attempt and what follows disagree (a task that was marked in Airflow's UI has no record, or that of another
    outcome; one that was killed has no outcome yet), the way is the one that can reach the target and has records.
    """
    path: list[str] = []
    gone: set[str] = set()
    current = start
    reaches = _Reach(edges, target) if target is not None else None
    while (
        current and current != target and current not in gone
    ):  # in a circle no pipeline goes, but a record may
        if reaches is None and current not in statuses:
            break
        path.append(current)
        gone.add(current)
        after_success, after_failure = edges(current)
        taken, other = after_success, after_failure
        if statuses.get(current) == "FAIL":
            taken, other = other, taken
        if reaches is not None:
            is_doubtful = taken not in statuses and taken != target and other in statuses
            if reaches(other) and (is_doubtful or not reaches(taken)):
                taken = other
            elif not reaches(taken):
                taken = ""
        elif statuses[current] == "PROCESSING":
            break
        elif taken not in statuses and other in statuses:
            taken = other  # the step was cleared alone after its run had ended, and went otherwise
        current = taken
    return path


class _Reach:
    """Whether a step can lead to the target; remembers what it found."""

    def __init__(self, edges: Edges, target: str | None) -> None:
        self._edges = edges
        self._known: dict[str, bool] = {"": False}
        if target is not None:
            self._known[target] = True

    def __call__(self, name: str) -> bool:
        stack = [name]
        while stack:
            current = stack[-1]
            if current in self._known:
                stack.pop()
                continue
            open_ends = [n for n in self._edges(current) if n not in self._known]
            if open_ends:
                stack.extend(open_ends)
            else:
                self._known[current] = any(self._known[n] for n in self._edges(current))
                stack.pop()
        return self._known[name]


def before_first_step(header: RunHeader) -> Visible:
    """What the run began with."""
    return Visible(header.parameters, {})


def visible(before: Visible, path: Iterable[str], histories: Mapping[str, StepHistory]) -> Visible:
    """What was there before, and what the steps on ``path`` left: only attempts that count.

    :param histories: by name.
    """
    left = left_by(path, histories)
    return Visible({**before.parameters, **left.parameters}, {**before.entries, **left.entries})


def left_by(path: Iterable[str], histories: Mapping[str, StepHistory]) -> Visible:
    """What the steps on ``path`` left; the later step wins."""
    parameters: dict[str, Any] = {}
    entries: dict[str, CatalogEntry] = {}
    for name in path:
        history = histories.get(name)
        closed = history.latest.closed if history else None
        if closed is not None and closed.is_visible:
            parameters.update(closed.parameters)
            entries.update({entry.name: entry for entry in closed.puts()})
    return Visible(parameters, entries)


def merged(branches: Iterable[tuple[str, Visible]]) -> tuple[Visible, list[str]]:
    """What branches have left, together, in their order, the last one winning; with warnings of files that clash."""
    parameters: dict[str, Any] = {}
    entries: dict[str, CatalogEntry] = {}
    owners: dict[str, str] = {}
    warnings = []
    for branch, left in branches:
        parameters.update(left.parameters)
        for name, entry in left.entries.items():
            if name in entries and entries[name].data_hash != entry.data_hash:
                warnings.append(
                    f"{name!r} was put by branch {owners[name]!r} and by {branch!r}: later steps get the latter's"
                )
            entries[name], owners[name] = entry, branch
    return Visible(parameters, entries), warnings


Graphs = Mapping[str, Mapping[str, StepHistory]]
"""Graph name ("" the pipeline's own) → name of a step → its history."""


def histories_of(
    opened: Iterable[AttemptOpened], closed: Iterable[AttemptClosed]
) -> dict[str, dict[str, StepHistory]]:
    """Sort parts by graph, step and attempt; a close without its open stands for itself."""
    graphs: dict[str, dict[str, StepHistory]] = {}
    ends = {(part.step.internal_name, part.number): part for part in closed}
    starts = {(part.step.internal_name, part.number): part for part in opened}
    for key in {**starts, **ends}:
        end = ends.get(key)
        start = starts.get(key) or end
        assert start is not None
        steps = graphs.setdefault(start.step.graph_name, {})
        history = steps.setdefault(start.step.name, StepHistory(start.step.internal_name))
        history.attempts[start.number] = Attempt(start, end)
    return graphs
