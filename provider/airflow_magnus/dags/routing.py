"""A pipeline as tasks and edges.

Outside maps Airflow's trigger rules take the way: every step waits with ``one_success``, a failure edge is a gate of its
own. Inside maps the tasks ask for the states of those before them. ``success`` and ``fail`` are the only leaves, and
they decide the colour of the DAG run. Steps that nothing reaches get no task.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from airflow_magnus.dags.groups import Groups, names_inside
from airflow_magnus.dags.kinds import doc_of, make_task
from airflow_magnus.dags.nodes import Node, Region, plan_nodes
from airflow_magnus.dags.settings import task_arguments
from airflow_magnus.hooks.services import ServiceSources
from airflow_magnus.operators.branches import Branch
from airflow_magnus.operators.composite import BranchesEnd, BranchesStart, LoopTurn
from airflow_magnus.operators.gate import FailureGate
from airflow_magnus.operators.mapping import MapEnd, MapJoin, MapStart
from airflow_magnus.operators.route import LABEL, Route, Way
from airflow_magnus.operators.run import RunSettings
from airflow_magnus.operators.settings import StepSettings
from airflow_magnus.operators.terminal import FailNode, SuccessNode
from airflow_magnus.operators.workspace import WorkspaceSettings
from airflow_magnus.pipeline.grammar import DEFAULT_BRANCH
from airflow_magnus.pipeline.identifiers import own_id, task_id_of
from airflow_magnus.pipeline.model import CompositeStep, Graph

_TERMINAL_RETRIES = 3
_TERMINAL_RETRY_DELAY = timedelta(seconds=10)
"""The pipeline's own tasks wait for a store that is out of reach for a moment, not for Airflow's five minutes."""


@dataclass(frozen=True)
class Plan:
    """What the tasks of one pipeline have in common."""

    services: ServiceSources
    workspace: WorkspaceSettings
    run: RunSettings


def add_graph(graph: Graph, plan: Plan, root: Any) -> dict[str, Any]:
    """Make the tasks of a pipeline.

    :param root: the task group that they are put into; the DAG's own for a DAG.
    :returns: name of each step of the pipeline's own graph → the task whose state is the step's.
    :raises PipelineError: when this installation cannot run a step.
    """
    nodes, outcomes = plan_nodes(graph)
    builder = _Builder(plan, nodes, outcomes, root)
    for node in nodes:
        builder.add(node)
    builder.connect()
    tasks = {name: builder.tasks[id(node)] for name, node in outcomes.items()}
    tasks |= {n.step.name: builder.tasks[id(n)] for n in nodes if n.role in ("success", "fail")}
    return tasks


class _Builder:
    """Makes the operators of nodes that stand in order."""

    def __init__(self, plan: Plan, nodes: list[Node], outcomes: dict[str, Node], root: Any) -> None:
        self._plan = plan
        self._nodes = nodes
        self._outcomes = outcomes
        self._dag = root.dag
        self._groups = Groups(root, self._list_of)
        self._success_node = next((node for node in nodes if node.role == "success"), None)
        self._turns: list[tuple[LoopTurn, Node]] = []
        self.tasks: dict[int, Any] = {}
        self._segment_ends: dict[tuple[int, int], list[Node]] = {}
        for node in nodes:
            if node.role == "join":
                self._segment_ends.setdefault((id(node.region), node.segment), []).append(node.after[0])
        for node in nodes:
            if node.role == "join":  # all that begin a segment wait for the list that it is expanded over
                node.after = list(
                    dict.fromkeys([*node.after, self._segment_ends[id(node.region), node.segment][0]])
                )

    def _list_of(self, region: Region, segment: int) -> Any:
        source = region.start if segment == 0 else self._segment_ends[id(region), segment][0]
        return self.tasks[id(source)]

    def add(self, node: Node) -> None:
        """Make the task of a node."""
        group = self._groups.of(node)
        task_id = self._task_id(node)
        node.task_id = group.child_id(task_id) if group.node_id else task_id
        arguments: dict[str, Any] = {
            "task_id": task_id,
            "task_group": group,
            "dag": self._dag,
            "trigger_rule": trigger_rule(node),
        }
        if node.is_mapped:
            arguments["map_index_template"] = f"{{{{ {LABEL} }}}}"
        make = getattr(self, f"_{node.role.replace('-', '_')}")
        self.tasks[id(node)] = make(node, arguments)

    def connect(self) -> None:
        """Write the edges, all at once: Airflow's operators for edges look at every task anew."""
        for node in self._nodes:
            task = self.tasks[id(node)]
            for before in node.before:
                task.upstream_task_ids.add(before.task_id)
                self.tasks[id(before)].downstream_task_ids.add(node.task_id)
            if node.role in ("end", "map-end"):
                self.tasks[id(node.start)].end_task_id = node.task_id
        for turn, node in self._turns:
            turn.later = tuple(later.task_id for later in node.later)
            turn.branches = tuple(branch.made() for branch in node.branches[: node.number + 1])

    def _task_id(self, node: Node) -> str:
        names = {"start": "start", "end": "end", "map-start": "start", "map-end": "end"}
        if node.role == "turn":
            return f"{task_id_of(str(node.number))}--next"
        if node.role == "gate":
            return f"{task_id_of(node.step.name)}--on_failure"
        if node.role in names:
            assert isinstance(node.step, CompositeStep)
            return own_id(names[node.role], names_inside(node.step))
        return task_id_of(node.step.name)

    # one method a role

    def _step(self, node: Node, arguments: dict[str, Any]) -> Any:
        step = node.step
        return make_task(
            step,
            task_display_name=step.name,
            doc_md=doc_of(step),
            do_xcom_push=False,
            step=StepSettings(
                name=step.name,
                get=step.catalog.get,
                put=step.catalog.put,
                compute_data_folder=step.catalog.compute_data_folder,
                services=self._plan.services,
                workspace=self._plan.workspace,
                place=node.place,
                route=route(node),
                run=self._plan.run,
                s3=step.endpoint,
                is_cached=step.is_cached,
            ),
            **arguments,
            **task_arguments(step.executor_config.get("airflow", {}), step.attempts),
        )

    def _own(self, node: Node, arguments: dict[str, Any], display_name: str) -> dict[str, Any]:
        return {
            "task_display_name": display_name,
            "place": node.place,
            "services": self._plan.services,
            "run": self._plan.run,
            **task_arguments(node.step.executor_config.get("airflow", {}), 1),
            "retries": _TERMINAL_RETRIES,
            "retry_delay": _TERMINAL_RETRY_DELAY,
            **arguments,
        }

    def _composite(self, node: Node, arguments: dict[str, Any], display_name: str) -> dict[str, Any]:
        branches = [branch.made() for branch in node.branches] if node.role in ("end", "map-end") else []
        return {
            "route": route(node),
            "branches": branches,
            "do_xcom_push": False,
            **self._own(node, arguments, display_name),
        }

    def _start(self, node: Node, arguments: dict[str, Any]) -> Any:
        step = node.step
        assert isinstance(step, CompositeStep)
        settings = self._composite(node, arguments, f"start of {step.name}")
        settings["branches"] = [Branch(branch.name, branch.graph) for branch in node.branches]
        return BranchesStart(
            parameter=step.parameter,
            default=DEFAULT_BRANCH if step.has_default else "",
            **{**settings, "do_xcom_push": bool(step.parameter)},
        )

    def _turn(self, node: Node, arguments: dict[str, Any]) -> Any:
        step = node.step
        assert isinstance(step, CompositeStep)
        settings = self._composite(node, arguments, f"after {step.name} {node.number}")
        turn = LoopTurn(
            number=node.number, break_on=step.break_on, later=(), **{**settings, "do_xcom_push": True}
        )
        self._turns.append((turn, node))
        return turn

    def _end(self, node: Node, arguments: dict[str, Any]) -> Any:
        assert node.start is not None
        assert isinstance(node.step, CompositeStep)
        return BranchesEnd(
            start_task_id=node.start.task_id,
            break_on=node.step.break_on,
            **self._composite(node, arguments, f"end of {node.step.name}"),
        )

    def _map_start(self, node: Node, arguments: dict[str, Any]) -> Any:
        assert isinstance(node.step, CompositeStep)
        settings = self._composite(node, arguments, f"start of {node.step.name}")
        return MapStart(iterate_on=node.step.iterate_on, **{**settings, "do_xcom_push": True})

    def _map_end(self, node: Node, arguments: dict[str, Any]) -> Any:
        assert node.start is not None
        settings = self._composite(node, arguments, f"end of {node.step.name}")
        return MapEnd(start_task_id=node.start.task_id, **{**settings, "do_xcom_push": node.region.is_mapped})

    def _join(self, node: Node, arguments: dict[str, Any]) -> Any:
        return MapJoin(end_task_id=node.after[0].task_id, **self._composite(node, arguments, node.step.name))

    def _gate(self, node: Node, arguments: dict[str, Any]) -> Any:
        del arguments["trigger_rule"]
        return FailureGate(
            task_display_name=f"on failure of {node.step.name}",
            step_task_id=node.ways[0].source.task_id,
            **arguments,
        )

    def _steps(self) -> dict[str, Any]:
        return {node.task_id: node.place.identity for node in self._outcomes.values()}

    def _success(self, node: Node, arguments: dict[str, Any]) -> Any:
        return SuccessNode(steps=self._steps(), **self._own(node, arguments, node.step.name))

    def _fail(self, node: Node, arguments: dict[str, Any]) -> Any:
        return FailNode(
            steps=self._steps(),
            success_task_id=self._success_node.task_id if self._success_node else "",
            **self._own(node, arguments, node.step.name),
        )


def trigger_rule(node: Node) -> str:
    """When Airflow lets a task run."""
    if node.role in ("turn", "end", "map-end", "fail"):
        return "all_done"
    if node.role == "join":
        return "all_success"
    if node.region.is_mapped:
        is_root = node.is_mapped and all(not edge.state for edge in node.ways)
        return "all_success" if is_root else "all_done"
    is_start = all(edge.source.role in ("start", "turn") for edge in node.ways)
    return "all_success" if is_start and node.role != "success" else "one_success"


def route(node: Node) -> Route:
    """How a task finds out whether it is reached: by itself inside maps, and where a composite step chose a branch."""
    asks = node.region.is_mapped or node.role == "turn"
    own = node.ways if asks else [edge for edge in node.ways if edge.answer is not None]
    ways = tuple(Way(edge.source.task_id, edge.state, edge.answer) for edge in own)
    list_task_id = node.region.start.task_id if node.region.start else ""
    return Route(ways, list_task_id)
