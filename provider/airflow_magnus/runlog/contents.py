"""The files of a run, from its records: what it has left in the end, and everything that its records name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from airflow_magnus.runlog.definition import graph_of, recorded_path
from airflow_magnus.runlog.history import Graphs, StepHistory
from airflow_magnus.runlog.records import OUTSIDE, AttemptClosed, CatalogEntry, RunHeader, RunLog, StepLog


@dataclass(frozen=True)
class Held:
    """One file, and which record names it.

    :param step: internal name of the step.
    :param recorded: when; "" when nobody knows.
    """

    step: str
    entry: CatalogEntry
    recorded: str = ""

    @property
    def place(self) -> tuple[str, str]:
        """Key and digest: records that agree in both name the same bytes."""
        return self.entry.catalog_relative_path, self.entry.data_hash


def contents(header: RunHeader, graphs: Graphs) -> dict[str, Held]:
    """The files of a run by name, as a step behind all others would get them.

    What was put from outside counts where it came after the step that put the same name.
    """
    top = {name: history for name, history in graphs.get("", {}).items() if name != OUTSIDE}
    path = recorded_path(graph_of(header, ""), top)
    found: dict[str, Held] = {}
    for name in top if path is None else path:
        closed = top[name].latest.closed if name in top else None
        if closed is not None:
            found |= {held.entry.name: held for held in _puts(closed)}
    for held in _put_by_people(graphs):
        before = found.get(held.entry.name)
        if before is None or held.recorded >= before.recorded:
            found[held.entry.name] = held
    makers = {held.place: held.step for held in recorded(graphs) if held.entry.stage == "put"}
    return {
        name: Held(makers.get(held.place, held.step), held.entry, held.recorded)
        for name, held in sorted(found.items())
    }


def recorded(graphs: Graphs) -> list[Held]:
    """Everything that the outcomes of a run name, each with the step that has put it and when it was named last."""
    closed = [one for steps in graphs.values() for history in steps.values() for one in _outcomes(history)]
    closed.sort(key=lambda one: (one.step.is_composite, one.step.name == OUTSIDE))
    puts = [held for one in closed for held in _puts(one)]
    got = [
        Held(one.step.internal_name, e, one.end_time)
        for one in closed
        for e in one.data_catalog
        if e.stage == "get"
    ]
    found: dict[tuple[str, str], Held] = {}
    for held in [*puts, *got]:
        first = found.setdefault(held.place, held)
        if held.recorded > first.recorded:
            found[held.place] = Held(first.step, first.entry, held.recorded)
    return list(found.values())


def contents_of_document(log: RunLog) -> dict[str, Held]:
    """The files that the document of a run names, which another tool may have written, by name."""
    return {held.entry.name: held for step in log.steps.values() for held in _of_step(step)}


def recorded_in_document(log: RunLog) -> list[Held]:
    """Everything that the document of a run names, in the order of its steps: each time that a step read or put a file."""
    return [held for step in log.steps.values() for held in _named_by(step)]


def _named_by(step: StepLog) -> Iterator[Held]:
    for branch in step.branches.values():
        for inner in branch.steps.values():
            yield from _named_by(inner)
    ended = step.attempts[-1].end_time if step.attempts else ""
    yield from (Held(step.internal_name, entry, ended) for entry in step.data_catalog)


def _of_step(step: StepLog) -> Iterator[Held]:
    for branch in step.branches.values():
        for inner in branch.steps.values():
            yield from _of_step(inner)
    if step.status == "SUCCESS":
        yield from (Held(step.internal_name, entry) for entry in step.data_catalog if entry.stage == "put")


def _puts(closed: AttemptClosed) -> list[Held]:
    return [Held(closed.step.internal_name, entry, closed.end_time) for entry in closed.puts()]


def _put_by_people(graphs: Graphs) -> list[Held]:
    history = graphs.get("", {}).get(OUTSIDE)
    return [held for one in _outcomes(history) for held in _puts(one)] if history else []


def _outcomes(history: StepHistory) -> list[AttemptClosed]:
    return [one.closed for _, one in sorted(history.attempts.items()) if one.closed is not None]
