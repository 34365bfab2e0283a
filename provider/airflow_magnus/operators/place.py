"""Where a step stands: what the run log calls it, and which steps may have run before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_magnus.pipeline.model import Graph, Step
from airflow_magnus.runlog.history import StepHistory, walked_path
from airflow_magnus.runlog.records import StepIdentity

if TYPE_CHECKING:
    from airflow_magnus.stores.runlogs import RunLogStore


@dataclass(frozen=True)
class StepPlace:
    """One step of a graph.

    :param before: names of the steps that may run before this one, in order.
    :param start: internal name where the way begins; "" in a hand-written DAG, where all of ``before`` lie on it.
    :param edges: internal name → internal names after success and after failure.
    """

    identity: StepIdentity
    before: tuple[str, ...] = ()
    start: str = ""
    edges: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def read(self, run_log: RunLogStore, run_id: str) -> tuple[list[str], dict[str, StepHistory]]:
        """The way that led here, and what is recorded of the steps on it. Cost: 1 LIST, 1 read a step before."""
        if not self.before:
            return [], {}
        histories = run_log.graph(run_id, self.identity.graph_name, self.before)
        if not self.start:
            prefix = f"{self.identity.graph_name}." if self.identity.graph_name else ""
            return [prefix + name for name in self.before], histories
        statuses = {name: history.status for name, history in histories.items()}
        path = walked_path(
            self.start, lambda name: self.edges.get(name, ("", "")), statuses, self.identity.internal_name
        )
        return path, histories


class Places:
    """The places of a pipeline file's steps; what they have in common is worked out once for a graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._positions = {step.name: position for position, step in enumerate(graph.reachable)}
        self._edges = {
            step.internal_name: (
                graph.steps[step.next].internal_name,
                graph.after_failure(step).internal_name,
            )
            for step in graph.reachable
            if not step.is_terminal
        }
        self._before: dict[str, set[str]] = {}
        for name, ends in self._edges.items():
            for end in ends:
                self._before.setdefault(end, set()).add(name)

    def identity(self, step: Step) -> StepIdentity:
        """What the run log calls the step."""
        return StepIdentity(
            name=step.name,
            internal_name=step.internal_name,
            graph_name=self._graph.internal_name,
            step_type=step.kind,
            position=self._positions[step.name],
        )

    def of(self, step: Step) -> StepPlace:
        """The place of one step."""
        leading = self._leading_to(step.internal_name)
        return StepPlace(
            identity=self.identity(step),
            before=tuple(s.name for s in self._graph.reachable if s.internal_name in leading),
            start=self._graph.steps[self._graph.start_at].internal_name,
            edges=self._edges,
        )

    def _leading_to(self, target: str) -> set[str]:
        found: set[str] = set()
        open_ends = [target]
        while open_ends:
            new = self._before.get(open_ends.pop(), set()) - found
            found |= new
            open_ends.extend(new)
        return found


def place_in_dag(task: Any, step_name: str) -> StepPlace:
    """The place of a task of a hand-written DAG: after all the steps that are upstream of it."""
    upstream = {t.task_id: t for t in task.get_flat_relatives(upstream=True)}
    order = [t.task_id for t in task.dag.topological_sort()]
    before = [upstream[task_id] for task_id in order if task_id in upstream]
    return StepPlace(
        identity=StepIdentity(
            name=step_name, internal_name=step_name, step_type="task", position=order.index(task.task_id)
        ),
        before=tuple(t.step_name for t in before if is_written_by_hand(t)),
    )


def is_written_by_hand(task: Any) -> bool:
    """Whether a task is a step of the DAG itself; those of a pipeline's group belong to a run of their own."""
    return getattr(task, "is_magnus_step", False) and task.step.place is None
