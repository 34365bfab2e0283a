"""The task groups of composite steps: one a step, one a branch; of a map one mapped group for each segment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.providers.common.compat.sdk import TaskGroup
from airflow.sdk import task_group

from airflow_magnus.dags.nodes import Node, Region
from airflow_magnus.pipeline.identifiers import own_id, task_id_of
from airflow_magnus.pipeline.model import CompositeStep

_OWN_GROUP = ("start", "turn", "end", "map-start", "map-end")
_EACH = "each"


class Groups:
    """Makes groups when the first task asks for them.

    :param root: the DAG's own group, or the one that the pipeline is built in.
    :param list_of: gives the task whose result a segment of a map is expanded over.
    """

    def __init__(self, root: Any, list_of: Callable[[Region, int], Any]) -> None:
        self._root = root
        self._list_of = list_of
        self._made: dict[tuple[Any, ...], Any] = {}

    def of(self, node: Node) -> Any:
        """The group of a node."""
        last_map = -1
        if node.is_mapped:
            last_map = max(i for i, (step, _) in enumerate(node.around) if step.kind == "map")
        group, key = self._root, ("",)
        for index, (step, branch) in enumerate(node.around):
            group, key = self._child(group, (*key, step.name), step.name)
            if index == last_map:
                group, key = self._segment(group, (*key, node.segment), node)
            elif step.kind != "map":
                group, key = self._child(group, (*key, branch), branch)
        if node.role in _OWN_GROUP:
            group, key = self._child(group, (*key, node.step.name), node.step.name)
        return group

    def _child(self, parent: Any, key: tuple[Any, ...], name: str) -> tuple[Any, tuple[Any, ...]]:
        if key not in self._made:
            self._made[key] = TaskGroup(
                group_id=task_id_of(name), group_display_name=name, parent_group=parent, dag=parent.dag
            )
        return self._made[key], key

    def _segment(self, parent: Any, key: tuple[Any, ...], node: Node) -> tuple[Any, tuple[Any, ...]]:
        if key not in self._made:
            step = map_around(node)
            name = _EACH if node.segment == 0 else f"{_EACH}-{node.segment + 1}"
            later = "" if node.segment == 0 else f" ({node.segment + 1})"
            make = task_group(
                group_id=own_id(name, names_inside(step)),
                group_display_name=f"{_EACH} {step.iterate_as}{later}",
                parent_group=parent,
            )(_empty)
            self._made[key] = make.expand(item=self._list_of(node.region, node.segment).output)
        return self._made[key], key


def map_around(node: Node) -> CompositeStep:
    """The map that a mapped node stands in: the innermost one around it."""
    return next(step for step, _ in reversed(node.around) if step.kind == "map")


def names_inside(step: CompositeStep) -> set[str]:
    """Names of what stands in a composite step's group: its branches, or the steps of a map's."""
    if step.kind == "map":
        return {inner for branch in step.branches.values() for inner in branch.steps}
    return set(step.branches)


def _empty(item: Any) -> None:
    """The tasks of a mapped group are put into it one by one."""
