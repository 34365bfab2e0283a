"""Which tasks a graph needs and the edges between them: a plan, made without Airflow.

A *region* is what runs once for each tuple of items of the maps around it; the outermost has no items. Inside a map the
tasks behind an inner map stand in a later *segment* than those before it: an inner map's start and end wait for all
items, so the tasks on both sides of it cannot be in one mapped group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from airflow_magnus.operators.branches import Branch
from airflow_magnus.operators.place import GraphPlace, StepPlace, graph_place, identity_of
from airflow_magnus.operators.route import Way
from airflow_magnus.pipeline.model import CompositeStep, Graph, Step

Role = Literal["step", "start", "turn", "end", "map-start", "map-end", "join", "gate", "success", "fail"]


@dataclass(eq=False)
class Edge:
    """A way to a node: the node before it, its state with which the way is taken, and its answer; see ``Way``."""

    source: Node
    state: str = "success"
    answer: str | bool | None = None


@dataclass(eq=False)
class Region:
    """What runs once for each tuple of items.

    :param start: the map-start whose result is the list of tuples; None outside maps.
    """

    start: Node | None = None

    @property
    def is_mapped(self) -> bool:
        """Whether it stands inside a map."""
        return self.start is not None


@dataclass(eq=False)
class Node:
    """One task.

    :param region: whose items it runs for. A map's start and end run once for all items, and work for those of it.
    :param around: composite steps around it, outermost first, each with the name of the branch.
    :param ways: how it is reached.
    :param after: further nodes that it waits for.
    :param segment: of its region; 0 outside maps.
    :param branches: of a composite step's end: the branches.
    :param number: of a loop's turn: the repetition that it stands behind.
    :param later: of a loop's turn: the nodes of the same region that do not run when the loop ends.
    """

    role: Role
    step: Step
    place: StepPlace
    region: Region
    around: tuple[tuple[CompositeStep, str], ...]
    ways: list[Edge] = field(default_factory=list)
    after: list[Node] = field(default_factory=list)
    segment: int = 0
    branches: list[PlannedBranch] = field(default_factory=list)
    number: int = 0
    later: list[Node] = field(default_factory=list)
    start: Node | None = None
    task_id: str = ""

    @property
    def before(self) -> list[Node]:
        """All nodes that it waits for, each once."""
        return list(dict.fromkeys([edge.source for edge in self.ways] + self.after))

    @property
    def is_mapped(self) -> bool:
        """Whether it has one task instance for each tuple of items."""
        return self.region.is_mapped and self.role not in ("map-start", "map-end")


@dataclass(eq=False)
class PlannedBranch:
    """One branch of a composite step: its steps' nodes, by name, and how it is reached where that is in question."""

    name: str
    graph: GraphPlace
    nodes: Mapping[str, Node]
    reached: Edge | None = None

    def made(self) -> Branch:
        """The branch as its tasks know it, when all tasks have their ids."""
        way = (
            Way(self.reached.source.task_id, self.reached.state, self.reached.answer)
            if self.reached
            else None
        )
        return Branch(
            name=self.name,
            graph=self.graph,
            tasks={name: node.task_id for name, node in self.nodes.items()},
            steps={name: node.place.identity for name, node in self.nodes.items()},
            reached=way,
        )


def plan_nodes(graph: Graph) -> tuple[list[Node], dict[str, Node]]:
    """The tasks of a pipeline: all nodes, each behind those that it waits for; and its own steps' by name."""
    planner = _Planner()
    frame = _Frame(graph, graph_place(graph), Region(), ())
    outcomes, ways = planner.graph(frame, None)
    planner.ends(frame, outcomes, ways)
    return planner.nodes, outcomes


@dataclass(eq=False)
class _Frame:
    """One graph while its nodes are planned."""

    graph: Graph
    place: GraphPlace
    region: Region
    around: tuple[tuple[CompositeStep, str], ...]
    outer: StepPlace | None = None
    earlier: tuple[GraphPlace, ...] = ()
    variables: tuple[tuple[str, int | None], ...] = ()

    def place_of(self, step: Step) -> StepPlace:
        return StepPlace(
            identity=identity_of(step, self.place),
            graph=self.place,
            outer=self.outer,
            earlier=self.earlier,
            variables=self.variables,
        )


class _Planner:
    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def graph(self, frame: _Frame, entry: Edge | None) -> tuple[dict[str, Node], dict[str, list[Edge]]]:
        """Plan the steps of a graph; gives of each step the node whose state is the step's, and the ways to each."""
        graph = frame.graph
        ways: dict[str, list[Edge]] = {name: [] for name in graph.steps}
        if entry is not None:
            ways[graph.start_at].append(entry)
        outcomes: dict[str, Node] = {}
        for step in graph.reachable:
            if step.is_terminal:
                continue
            outcome = self._step(frame, step, ways[step.name])
            outcomes[step.name] = outcome
            ways[step.next].append(Edge(outcome))
            handler = graph.after_failure(step)
            if handler.kind != "fail" and not (handler.is_terminal and frame.around):
                ways[handler.name].append(self._on_failure(frame, step, outcome))
        return outcomes, ways

    def ends(self, frame: _Frame, outcomes: Mapping[str, Node], ways: Mapping[str, list[Edge]]) -> None:
        """The success and the fail node of the pipeline's own graph; those of branches have no tasks."""
        success, fail = frame.graph.success, frame.graph.fail
        waited = list(outcomes.values())
        if success in frame.graph.reachable:
            node = self._node("success", success, frame, ways[success.name])
            waited.append(node)
        self._node("fail", fail, frame, []).after = waited

    def _node(self, role: Role, step: Step, frame: _Frame, ways: list[Edge]) -> Node:
        node = Node(role, step, frame.place_of(step), frame.region, frame.around, ways)
        self._placed(node)
        return node

    def _placed(self, node: Node) -> None:
        """Take up a node; inside a map it stands in the latest segment of those before it."""
        if node.region.is_mapped:
            same = [n.segment for n in node.before if n.region is node.region and n.role != "map-end"]
            node.segment = max(same, default=0)
        self.nodes.append(node)

    def _on_failure(self, frame: _Frame, step: Step, outcome: Node) -> Edge:
        """Outside maps a gate; inside them the tasks ask for states themselves."""
        if frame.region.is_mapped:
            return Edge(outcome, "failed")
        return Edge(self._node("gate", step, frame, [Edge(outcome, "failed")]))

    def _step(self, frame: _Frame, step: Step, ways: list[Edge]) -> Node:
        if not isinstance(step, CompositeStep):
            return self._node("step", step, frame, ways)
        if step.kind == "map":
            return self._map(frame, step, ways)
        start = self._node("start", step, frame, ways)
        if step.kind == "loop":
            branches, waits = self._repetitions(frame, step, start)
        else:
            branches, waits = self._branches(frame, step, start)
        start.branches = branches
        end = Node("end", step, start.place, frame.region, frame.around, after=[start, *waits])
        end.branches, end.start = branches, start
        self._placed(end)
        return end

    def _branches(
        self, frame: _Frame, step: CompositeStep, start: Node
    ) -> tuple[list[PlannedBranch], list[Node]]:
        branches, waits = [], []
        for name, graph in step.branches.items():
            entry = Edge(start, answer=name) if step.kind == "conditional" else Edge(start)
            inner = self._inside(frame, step, name, graph, frame.region)
            first = len(self.nodes)
            nodes, _ = self.graph(inner, entry)
            branches.append(
                PlannedBranch(name, inner.place, nodes, entry if step.kind == "conditional" else None)
            )
            waits += _last(self.nodes[first:])
        return branches, waits

    def _repetitions(
        self, frame: _Frame, step: CompositeStep, start: Node
    ) -> tuple[list[PlannedBranch], list[Node]]:
        branches: list[PlannedBranch] = []
        before, waits = start, [start]
        turns: list[tuple[Node, int]] = []
        for number, (name, graph) in enumerate(step.branches.items()):
            entry = Edge(before) if number == 0 else Edge(before, answer=True)
            inner = self._inside(frame, step, name, graph, frame.region)
            inner.earlier = tuple(branch.graph for branch in branches)
            inner.variables += ((step.index_as, number),) if step.index_as else ()
            first = len(self.nodes)
            nodes, _ = self.graph(inner, entry)
            branches.append(PlannedBranch(name, inner.place, nodes, entry if number else None))
            waits = _last(self.nodes[first:])
            if number + 1 < len(step.branches):
                turn = Node(
                    "turn", step, start.place, frame.region, frame.around, [entry], [*waits], number=number
                )
                turn.branches = branches
                self._placed(turn)
                turns.append((turn, len(self.nodes)))
                before = turn
        for turn, first in turns:
            same = [node for node in self.nodes[first:] if node.region is frame.region]
            turn.later = [node for node in same if node.is_mapped or not frame.region.is_mapped]
        return branches, [*waits, before]

    def _map(self, frame: _Frame, step: CompositeStep, ways: list[Edge]) -> Node:
        start = self._node("map-start", step, frame, ways)
        name, graph = next(iter(step.branches.items()))
        inner = self._inside(frame, step, name, graph, Region(start))
        inner.variables += ((step.iterate_as, None),)
        first = len(self.nodes)
        nodes, _ = self.graph(inner, Edge(start, ""))
        end = Node("map-end", step, start.place, frame.region, frame.around, list(ways))
        end.after = [start, *_last(self.nodes[first:])]
        end.branches, end.start = [PlannedBranch(name, inner.place, nodes)], start
        self.nodes.append(end)
        if not frame.region.is_mapped:
            return end
        join = Node("join", step, start.place, frame.region, frame.around, after=[end], start=end)
        join.segment = start.segment + 1
        self.nodes.append(join)
        return join

    def _inside(self, frame: _Frame, step: CompositeStep, name: str, graph: Graph, region: Region) -> _Frame:
        return _Frame(
            graph,
            graph_place(graph),
            region,
            (*frame.around, (step, name)),
            outer=frame.place_of(step),
            variables=frame.variables,
        )


def _last(nodes: list[Node]) -> list[Node]:
    """The nodes that no other of them waits for."""
    waited = {id(before) for node in nodes for before in node.before}
    return [node for node in nodes if id(node) not in waited]
