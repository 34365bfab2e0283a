"""The drawing of a file's provenance: boxes and lines with their coordinates, which a template turns into SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from airflow_magnus.runlog.plan_text import size_text
from airflow_magnus.runlog.provenance import FileNode, Provenance, StepNode
from airflow_magnus.runlog.summaries import FileUse
from airflow_magnus.ui.layered_graph import layers

_WIDTH, _HEIGHT, _GAP, _ROW, _EDGE = 190, 46, 52, 14, 8
_LONGEST = 25
_STEPS, _FILES, _READERS = 30, 5, 8

Link = Callable[[StepNode | FileUse | FileNode], str]
"""Gives the address of what a box stands for; "" for none."""


@dataclass(frozen=True)
class Box:
    """One node of the drawing.

    :param kind: ``file``, ``step``, ``reader`` or ``more``; with ``asked`` the file that is asked about.
    :param title: in full, for who points at it.
    """

    kind: str
    x: int
    y: int
    label: str
    note: str
    title: str
    href: str

    width = _WIDTH
    height = _HEIGHT


@dataclass(frozen=True)
class Drawing:
    """Boxes and the paths of lines between them.

    :param is_cut: not all that is known fits in.
    """

    width: int
    height: int
    boxes: tuple[Box, ...]
    lines: tuple[str, ...]
    is_cut: bool


@dataclass(frozen=True)
class _Node:
    kind: str
    label: str
    note: str
    title: str
    href: str


class _Graph:
    """Nodes and edges as they are found, in the order in which they matter."""

    def __init__(self, found: Provenance, link: Link) -> None:
        self.nodes: dict[str, _Node] = {}
        self.edges: list[tuple[str, str]] = []
        self.is_cut = found.is_cut
        self._found, self._link = found, link
        self._file(found.file, "file asked")
        steps = sorted(found.steps.values(), key=lambda step: step.depth)
        self._steps = {step.key: step for step in steps[:_STEPS]}
        self.is_cut |= len(steps) > _STEPS
        for step in self._steps.values():
            self._add_step(step)
        self._add_readers()

    def _file(self, file: FileNode, kind: str = "file") -> None:
        size = "" if file.size is None else f" · {size_text(file.size)}"
        node = _Node(
            kind, file.name.rpartition("/")[2], f"{file.sha256[:8]}{size}", file.name, self._link(file)
        )
        self.nodes.setdefault(file.key, node)

    def _add_step(self, step: StepNode) -> None:
        run = step.run.airflow_run_id or step.run.run_id
        title = f"{step.step}, attempt {step.attempt}, of run {run}"
        self.nodes[step.key] = _Node("step", step.step, run, title, self._link(step))
        for direction in ("get", "put"):
            files = [e.file for e in self._found.edges if e.step == step.key and e.direction == direction]
            files.sort(key=lambda key: not self._matters(key, direction))
            shown = files if len(files) <= _FILES + 1 else files[:_FILES]
            for key in shown:
                self._file(self._found.files[key])
                self.edges.append((key, step.key) if direction == "get" else (step.key, key))
            if len(shown) < len(files):
                self._more(
                    step.key, f"{len(files) - len(shown)} more files", self._link(step), direction == "get"
                )

    def _matters(self, file: str, direction: str) -> bool:
        """Whether a file joins what is drawn: it is the one that is asked about, or another step of these made it."""
        if file == self._found.file.key:
            return True
        wanted = "put" if direction == "get" else "get"
        return any(
            e.file == file and e.direction == wanted and e.step in self._steps for e in self._found.edges
        )

    def _add_readers(self) -> None:
        readers = self._found.readers
        shown = readers if len(readers) <= _READERS + 1 else readers[:_READERS]
        for number, use in enumerate(shown):
            key = f"step:{use.run_id}:{use.step}:{use.attempt}"
            if key not in self.nodes:
                key = f"reader:{number}"
                title = f"{use.step}, attempt {use.attempt}, of run {use.run_id}"
                self.nodes[key] = _Node("reader", use.step, f"read in {use.run_id}", title, self._link(use))
            self.edges.append((self._found.file.key, key))
        if len(shown) < len(readers):
            self._more(self._found.file.key, f"{len(readers) - len(shown)} more readers", "#readers", False)

    def _more(self, key: str, label: str, href: str, is_before: bool) -> None:
        own = f"more:{key}:{is_before}"
        self.nodes[own] = _Node("more", label, "not drawn", label, href)
        self.edges.append((own, key) if is_before else (key, own))
        self.is_cut = True


def drawing_of(found: Provenance, link: Link) -> Drawing:
    """Draw where a file comes from, and who read it: what was first stands on the left. It is bounded: see ``is_cut``."""
    graph = _Graph(found, link)
    columns = layers(list(graph.nodes), graph.edges)
    tallest = max(map(len, columns))
    height = tallest * (_HEIGHT + _ROW) - _ROW + 2 * _EDGE
    places: dict[str, tuple[int, int]] = {}
    for column, keys in enumerate(columns):
        top = (height - (len(keys) * (_HEIGHT + _ROW) - _ROW)) // 2
        for row, key in enumerate(keys):
            places[key] = (_EDGE + column * (_WIDTH + _GAP), top + row * (_HEIGHT + _ROW))
    return Drawing(
        width=len(columns) * (_WIDTH + _GAP) - _GAP + 2 * _EDGE,
        height=height,
        boxes=tuple(_box(graph.nodes[key], *place) for key, place in places.items()),
        lines=tuple(_lines(graph, places)),
        is_cut=graph.is_cut,
    )


def _box(node: _Node, x: int, y: int) -> Box:
    return Box(node.kind, x, y, _cut(node.label), _cut(node.note, 30), node.title, node.href)


def _lines(graph: _Graph, places: dict[str, tuple[int, int]]) -> Iterator[str]:
    for start, end in dict.fromkeys(graph.edges):
        (x1, y1), (x2, y2) = places[start], places[end]
        x1, y1, y2 = x1 + _WIDTH, y1 + _HEIGHT // 2, y2 + _HEIGHT // 2
        bend = max(_GAP // 2, abs(x2 - x1) // 3)
        yield f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"


def _cut(text: str, most: int = _LONGEST) -> str:
    """A text that fits into a box; of a long one the beginning and the end."""
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[:half]}…{text[-half:]}"
