"""The steps of a run as a tree that is read from top to bottom: which of them a page shows, and how many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_magnus.runlog.records import BranchLog, CatalogEntry, ObjectAccess, Stage, StepLog

TAKEN_OVER = "taken over"
"""What the filter calls steps that a re-run did not run again."""
_MOST_FILES = 50


@dataclass(frozen=True)
class Node:
    """One line of the tree: a step, or a branch of the step above it.

    :param depth: 0 in the pipeline's own graph; a branch is one deeper than its step, and its steps one deeper still.
    :param name: of a branch as its step calls it.
    """

    depth: int
    name: str
    of: StepLog | BranchLog

    @property
    def step(self) -> StepLog | None:
        """The step; None of a branch."""
        return self.of if isinstance(self.of, StepLog) else None

    @property
    def kind(self) -> str:
        """The type of the step, or ``branch``."""
        return self.of.step_type if isinstance(self.of, StepLog) else "branch"

    @property
    def status(self) -> str:
        """As the filter calls it."""
        return TAKEN_OVER if isinstance(self.of, StepLog) and self.of.mock else self.of.status

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What the step set."""
        return self.of.parameters if isinstance(self.of, StepLog) else {}


@dataclass(frozen=True)
class Choice:
    """What of a run's steps a page is asked to show; "" leaves a question open.

    :param text: part of the step's name, in any case of letters.
    """

    status: str = ""
    kind: str = ""
    text: str = ""

    def takes(self, node: Node) -> bool:
        """Whether a line is shown."""
        return (
            (not self.status or node.status == self.status)
            and (not self.kind or node.kind == self.kind)
            and (not self.text or self.text.casefold() in node.of.internal_name.casefold())
        )


@dataclass(frozen=True)
class Tree:
    """All lines of a run."""

    nodes: Sequence[Node]

    @property
    def statuses(self) -> dict[str, int]:
        """Status → how many steps have it; branches do not count."""
        return dict(Counter(node.status for node in self.nodes if node.step is not None))

    @property
    def kinds(self) -> list[str]:
        """The types of lines that there are."""
        return sorted({node.kind for node in self.nodes})

    def chosen(self, choice: Choice) -> list[Node]:
        """The lines that are asked for, in their order."""
        return [node for node in self.nodes if choice.takes(node)]

    def setters(self) -> dict[str, str]:
        """Parameter → the step that set it last, by its internal name."""
        return {name: node.of.internal_name for node in self.nodes for name in node.parameters}


def tree_of(steps: Mapping[str, StepLog]) -> Tree:
    """The tree of a run's steps."""
    return Tree(list(_lines(steps)))


def _lines(steps: Mapping[str, StepLog]) -> Iterator[Node]:
    # Without recursion of generators: each line of a deep tree would pass through all of them.
    todo = [Node(0, step.name, step) for step in reversed(list(steps.values()))]
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node.of, StepLog):
            prefix = f"{node.of.internal_name}."
            inside = [
                Node(node.depth + 1, name.removeprefix(prefix), one) for name, one in node.of.branches.items()
            ]
        else:
            inside = [Node(node.depth + 1, step.name, step) for step in node.of.steps.values()]
        todo.extend(reversed(inside))


def entries_of(step: StepLog, stage: Stage) -> list[CatalogEntry]:
    """The files that a step got, or put."""
    return [entry for entry in step.data_catalog if entry.stage == stage]


@dataclass(frozen=True)
class Files:
    """Files of one step, the first of them for a page.

    :param more: how many others there are.
    """

    shown: Sequence[CatalogEntry]
    more: int
    count: int
    size: int


def files_of(step: StepLog, stage: Stage) -> Files:
    """The files that a step got, or put, with their sum."""
    found = entries_of(step, stage)
    shown = found[:_MOST_FILES]
    return Files(shown, len(found) - len(shown), len(found), sum(entry.size or 0 for entry in found))


def objects_of(step: StepLog) -> tuple[Sequence[ObjectAccess], int]:
    """What passed through the step's S3 endpoint: the first for a page, and how many others there are."""
    return step.objects[:_MOST_FILES], max(0, len(step.objects) - _MOST_FILES)
