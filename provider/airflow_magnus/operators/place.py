"""Where a step stands: what the run log calls it, which steps may have run before it, and what they have left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_magnus.pipeline.model import MAP_PLACEHOLDER, Graph, Step
from airflow_magnus.runlog.history import StepHistory, Visible, before_first_step, visible, walked_path
from airflow_magnus.runlog.records import RunHeader, StepIdentity

if TYPE_CHECKING:
    from airflow_magnus.stores.attempts import AttemptStore

Items = Sequence[Sequence[Any]]
"""Of the maps around a step, outermost first: name of the branch, item."""


@dataclass(frozen=True)
class GraphPlace:
    """One graph of a pipeline file, shared by all that stand in it.

    :param name: internal name, with placeholders where items of maps stand.
    :param order: names of the steps that some way visits, each behind all that lead to it.
    :param edges: name of a step → the names taken after success and after failure.
    :param ends: names of the success and of the fail node.
    """

    name: str
    start: str
    order: tuple[str, ...]
    edges: Mapping[str, tuple[str, str]]
    ends: tuple[str, str]

    def next_of(self, name: str) -> tuple[str, str]:
        """The edges of one step; of an end ("", "")."""
        return self.edges.get(name, ("", ""))

    @cached_property
    def _leading(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for name, ends in self.edges.items():
            for end in ends:
                found.setdefault(end, set()).add(name)
        return found

    def before(self, name: str) -> tuple[str, ...]:
        """The steps that may run before a step, in order."""
        found: set[str] = set()
        open_ends = [name]
        while open_ends:
            new = self._leading.get(open_ends.pop(), set()) - found
            found |= new
            open_ends.extend(new)
        return tuple(step for step in self.order if step in found)

    def way(self, statuses: Mapping[str, str], target: str | None = None) -> list[str]:
        """The steps that were visited up to ``target``, or to the end."""
        return walked_path(self.start, self.next_of, statuses, target)

    def at(self, items: Items) -> GraphPlace:
        """This graph for one tuple of items."""
        return replace(self, name=with_items(self.name, items))


@dataclass(frozen=True)
class StepPlace:
    """One step of a graph.

    :param graph: None in a hand-written DAG, where all of ``upstream`` lie on the way.
    :param upstream: in a hand-written DAG: names of the steps before this one, in order.
    :param outer: the composite step around the graph.
    :param earlier: inside a loop: the repetitions before this one.
    :param variables: names that the maps and loops around offer, outermost first, each with the number of a loop's
        repetition, or with None for a map's item.
    """

    identity: StepIdentity
    graph: GraphPlace | None = None
    upstream: tuple[str, ...] = ()
    outer: StepPlace | None = None
    earlier: tuple[GraphPlace, ...] = ()
    variables: tuple[tuple[str, Any], ...] = ()

    def at(self, items: Items) -> StepPlace:
        """This place for one tuple of items."""
        if not items:
            return self
        values = iter([value for _, value in items])
        return replace(
            self,
            identity=identity_at(self.identity, items),
            outer=self.outer.at(items) if self.outer else None,
            earlier=tuple(graph.at(items) for graph in self.earlier),
            variables=tuple((n, next(values, None) if v is None else v) for n, v in self.variables),
        )

    @property
    def is_first(self) -> bool:
        """Whether no step can have run before it in the whole run."""
        if self.outer is not None:
            return self.outer.is_first and not self.earlier and not self._before()
        return not self._before()

    def visible(
        self, run_log: AttemptStore, header: RunHeader, known: dict[str, Visible] | None = None
    ) -> Visible:
        """What the step sees. Cost: of each graph around it 1 LIST, and 1 read a step before.

        :param known: what the composite steps around see, by internal name; filled, to ask once for many items.
        """
        seen = self._outer_visible(run_log, header, known)
        for graph in self.earlier:
            histories = run_log.graph(header.run_id, graph.name, graph.order)
            seen = visible(seen, graph.way(_statuses(histories)), histories)
        before = self._before()
        if not before:
            return seen
        histories = run_log.graph(header.run_id, self.identity.graph_name, before)
        if self.graph is None:
            return visible(seen, before, histories)
        return visible(seen, self.graph.way(_statuses(histories), self.identity.name), histories)

    def _outer_visible(
        self, run_log: AttemptStore, header: RunHeader, known: dict[str, Visible] | None
    ) -> Visible:
        if self.outer is None:
            return before_first_step(header)
        name = self.outer.identity.internal_name
        if known is None:
            return self.outer.visible(run_log, header)
        if name not in known:
            known[name] = self.outer.visible(run_log, header, known)
        return known[name]

    def _before(self) -> tuple[str, ...]:
        return self.graph.before(self.identity.name) if self.graph else self.upstream


def with_items(name: str, items: Items) -> str:
    """An internal name with the names of the items in the places that are kept for them, outermost first."""
    names = iter([branch for branch, _ in items])
    return ".".join(
        next(names, segment) if segment == MAP_PLACEHOLDER else segment for segment in name.split(".")
    )


def identity_at(identity: StepIdentity, items: Items) -> StepIdentity:
    """What the run log calls a step for one tuple of items."""
    return identity.model_copy(
        update={
            "internal_name": with_items(identity.internal_name, items),
            "graph_name": with_items(identity.graph_name, items),
        }
    )


def graph_place(graph: Graph) -> GraphPlace:
    """The place of a graph's steps, worked out once for all of them."""
    return GraphPlace(
        name=graph.internal_name,
        start=graph.start_at,
        order=tuple(step.name for step in graph.reachable),
        edges={
            step.name: (step.next, graph.after_failure(step).name)
            for step in graph.reachable
            if not step.is_terminal
        },
        ends=(graph.success.name, graph.fail.name),
    )


def identity_of(step: Step, graph: GraphPlace) -> StepIdentity:
    """What the run log calls a step of a pipeline file."""
    return StepIdentity(
        name=step.name, internal_name=step.internal_name, graph_name=graph.name, step_type=step.kind
    )


def place_in_dag(task: Any, step_name: str) -> StepPlace:
    """The place of a task of a hand-written DAG: after all the steps that are upstream of it."""
    upstream = {t.task_id: t for t in task.get_flat_relatives(upstream=True)}
    order = [t.task_id for t in task.dag.topological_sort()]
    before = [upstream[task_id] for task_id in order if task_id in upstream]
    return StepPlace(
        identity=StepIdentity(
            name=step_name, internal_name=step_name, step_type="task", position=order.index(task.task_id)
        ),
        upstream=tuple(t.step_name for t in before if is_written_by_hand(t)),
    )


def is_written_by_hand(task: Any) -> bool:
    """Whether a task is a step of the DAG itself; those of a pipeline's group belong to a run of their own."""
    return getattr(task, "is_magnus_step", False) and task.step.place is None


def _statuses(histories: Mapping[str, StepHistory]) -> dict[str, str]:
    return {name: history.status for name, history in histories.items()}
