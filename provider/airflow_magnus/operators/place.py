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


def place_in_graph(graph: Graph, step: Step) -> StepPlace:
    """The place of a step of a pipeline file."""
    reachable = graph.reachable
    edges = {
        other.internal_name: (graph.steps[other.next].internal_name, graph.after_failure(other).internal_name)
        for other in reachable
        if not other.is_terminal
    }
    leading = _leading_to(step.internal_name, edges)
    return StepPlace(
        identity=StepIdentity(
            name=step.name,
            internal_name=step.internal_name,
            graph_name=graph.internal_name,
            step_type=step.kind,
            position=next(i for i, other in enumerate(reachable) if other.name == step.name),
        ),
        before=tuple(s.name for s in reachable if s.internal_name in leading),
        start=graph.steps[graph.start_at].internal_name,
        edges=edges,
    )


def _leading_to(target: str, edges: Mapping[str, tuple[str, str]]) -> set[str]:
    found: set[str] = set()
    wanted = {target}
    while wanted:
        wanted = {name for name, ends in edges.items() if wanted & set(ends)} - found
        found |= wanted
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
        before=tuple(t.step_name for t in before if getattr(t, "is_magnus_step", False)),
    )
