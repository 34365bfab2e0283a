"""The drawing of a file's provenance: boxes and lines with their coordinates, which a template turns into SVG."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from airflow_magnus.runlog.plan_text import size_text
from airflow_magnus.runlog.provenance import FileNode, Provenance, StepNode
from airflow_magnus.runlog.summaries import FileUse
from airflow_magnus.ui.layered_graph import layered

_WIDTH, _HEIGHT, _EDGE = 190, 46, 4
_BESIDE, _BETWEEN, _UNSEEN = 16, 36, 12
_INSET, _ROUND_INSET = 12, 18
_LABEL_SIZE, _NOTE_SIZE = 13, 11
"""Pixels, as in ``data.css``."""
_NARROW, _WIDE = frozenset(" .,:;|'!()[]fijlrtI-"), frozenset("mwMW@%")
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
    inset: int
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
    """Draw where a file comes from, and who read it: what is newest stands on top. It is bounded: see ``is_cut``."""
    graph = _Graph(found, link)
    layering = layered(list(graph.nodes), graph.edges)
    layers = layering.layers[::-1]
    width = max(_width(layer, graph) for layer in layers)
    places = {
        key: (x, _EDGE + row * (_HEIGHT + _BETWEEN))
        for row, layer in enumerate(layers)
        for key, x in _row(layer, graph, width)
    }
    return Drawing(
        width=width + 2 * _EDGE,
        height=len(layers) * (_HEIGHT + _BETWEEN) - _BETWEEN + 2 * _EDGE,
        boxes=tuple(_box(node, *places[key]) for key, node in graph.nodes.items()),
        lines=tuple(_line(way, places) for way in layering.ways),
        is_cut=graph.is_cut,
    )


def _width(layer: Sequence[str], graph: _Graph) -> int:
    return sum((_WIDTH if key in graph.nodes else _UNSEEN) + _BESIDE for key in layer) - _BESIDE


def _row(layer: Sequence[str], graph: _Graph, width: int) -> Iterator[tuple[str, int]]:
    """Keys of a layer and the middle of each, so that the layer stands in the middle of the drawing."""
    x = _EDGE + (width - _width(layer, graph)) // 2
    for key in layer:
        own = _WIDTH if key in graph.nodes else _UNSEEN
        yield key, x + own // 2
        x += own + _BESIDE


def _box(node: _Node, middle: int, y: int) -> Box:
    x = middle - _WIDTH // 2
    inset = _ROUND_INSET if node.kind in ("step", "reader") else _INSET
    room = _WIDTH - 2 * inset
    label, note = _cut(node.label, room / _LABEL_SIZE), _cut(node.note, room / _NOTE_SIZE)
    return Box(node.kind, x, y, inset, label, note, node.title, node.href)


def _line(way: Sequence[str], places: Mapping[str, tuple[int, int]]) -> str:
    """Upwards from the top of the first to the bottom of the last, straight past what is unseen."""
    x, y = places[way[0]]
    path = f"M{x} {y}"
    for number, key in enumerate(way[1:], 2):
        to_x, to_y = places[key]
        bottom = to_y + _HEIGHT
        bend = _BETWEEN // 2 if bottom < y else -_BETWEEN
        path += f"C{x} {y - bend} {to_x} {bottom + bend} {to_x} {bottom}"
        x, y = to_x, to_y
        if number < len(way):
            path += f"V{y}"
    return path


def _cut(text: str, room: float) -> str:
    """A text that fits; of a long one the beginning and the end.

    :param room: in sizes of the font.
    """
    if _length(text) <= room:
        return text
    most = min(len(text) - 1, int(room / 0.3))
    cuts = (f"{text[:half]}…{text[-half:]}" for half in range(most // 2, 0, -1))
    return next((cut for cut in cuts if _length(cut) <= room), "…")


def _length(text: str) -> float:
    """About how long a text is drawn, in sizes of the font: of DejaVu Sans, as others are narrower."""
    return sum(map(_character, text))


def _character(one: str) -> float:
    if one in _NARROW:
        return 0.36
    if one in _WIDE:
        return 0.95
    if one == "…" or unicodedata.east_asian_width(one) in "WF":
        return 1.05
    return 0.75 if one.isupper() else 0.64
