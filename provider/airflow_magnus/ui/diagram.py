"""A pipeline's steps as a drawing: boxes, labels and lines with their places, for a template that makes an SVG of them.

Each graph runs from top to bottom, in layers; the branches of a composite step stand side by side in a box of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_magnus.runlog.records import ENDS

MOST_STEPS = 300
"""Steps of a drawing; a larger pipeline is a table alone."""
_MOST_BRANCHES = 12
_WIDTH, _HEIGHT, _END_HEIGHT = 190, 44, 26
_GAP_X, _GAP_Y, _PAD, _TITLE, _MARGIN = 28, 30, 12, 26, 16
_NAME, _DETAIL = 23, 30
"""Characters that have place in a box."""
_BEND = 0.6

Outline = Mapping[str, Any]
"""As of ``runlog.outline``."""


@dataclass(frozen=True)
class Box:
    """A rectangle; ``title`` is what it stands for, in full."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str = ""


@dataclass(frozen=True)
class Label:
    """A text that begins at a place, and is cut at its width."""

    x: float
    y: float
    width: float
    kind: str
    text: str


@dataclass(frozen=True)
class Line:
    """The way from one step down to another.

    :param bend: how far it goes aside, so that it passes what stands between.
    """

    x: float
    y: float
    to_x: float
    to_y: float
    kind: str
    bend: float = 0

    @property
    def path(self) -> str:
        """The ``d`` of an SVG path."""
        down = max(12.0, (self.to_y - self.y) * _BEND)
        first = f"{self.x + self.bend:g} {self.y + down:g}"
        second = f"{self.to_x + self.bend:g} {self.to_y - down:g}"
        return f"M{self.x:g} {self.y:g} C{first} {second} {self.to_x:g} {self.to_y:g}"


@dataclass
class Drawing:
    """A drawing with its size."""

    width: float = 0
    height: float = 0
    boxes: list[Box] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)

    def put(self, part: Drawing, x: float, y: float) -> None:
        """Add a part at a place; the size stays."""
        self.boxes += [replace(one, x=one.x + x, y=one.y + y) for one in part.boxes]
        self.labels += [replace(one, x=one.x + x, y=one.y + y) for one in part.labels]
        self.lines += [
            replace(one, x=one.x + x, y=one.y + y, to_x=one.to_x + x, to_y=one.to_y + y) for one in part.lines
        ]


def draw(outline: Outline) -> Drawing | None:
    """The drawing of an outline; None of one that is empty or too large."""
    if not outline.get("steps") or count_steps(outline) > MOST_STEPS:
        return None
    inner, drawing = _graph(outline), Drawing()
    drawing.put(inner, _MARGIN, _MARGIN)
    drawing.width, drawing.height = inner.width + 2 * _MARGIN, inner.height + 2 * _MARGIN
    return drawing


def count_steps(outline: Outline) -> int:
    """How many steps an outline has, with those of branches."""
    todo, count = [outline], 0
    while todo:
        for step in todo.pop().get("steps", []):
            count += 1
            todo += step.get("branches", {}).values()
    return count


def _graph(outline: Outline) -> Drawing:
    steps = {step["name"]: step for step in outline.get("steps", [])}
    layers = _layers(steps, outline.get("start", ""))
    parts = {name: _step(steps[name]) for layer in layers for name in layer}
    drawing, places, y = Drawing(), dict[str, tuple[float, float]](), 0.0
    column = max((parts[layer[0]].width for layer in layers), default=0.0)
    for layer in layers:
        x = (column - parts[layer[0]].width) / 2  # the way without failures is one column
        for name in layer:
            places[name] = (x, y)
            drawing.put(parts[name], x, y)
            x += parts[name].width + _GAP_X
        drawing.width = max(drawing.width, x - _GAP_X)
        y += max(parts[name].height for name in layer) + _GAP_Y
    drawing.height = max(0.0, y - _GAP_Y)
    level = {name: number for number, layer in enumerate(layers) for name in layer}
    for name, step in steps.items():
        for key, kind in (("next", "next"), ("on_failure", "failure")):
            target = step.get(key, "")
            if name in places and target in places:
                line = _line(name, target, kind, parts, places)
                is_long = level[target] - level[name] > 1
                drawing.lines.append(replace(line, bend=column / 2 + _GAP_X) if is_long else line)
    return drawing


def _line(
    name: str,
    target: str,
    kind: str,
    parts: Mapping[str, Drawing],
    places: Mapping[str, tuple[float, float]],
) -> Line:
    (x, y), (to_x, to_y) = places[name], places[target]
    return Line(x + parts[name].width / 2, y + parts[name].height, to_x + parts[target].width / 2, to_y, kind)


def _layers(steps: Mapping[str, Any], start: str) -> list[list[str]]:
    """The steps that the start leads to, each below all that lead to it; in front those of the way without failures."""
    depth: dict[str, int] = {}
    order = _in_order(steps, start)
    for name in order:
        own = depth.setdefault(name, 0)
        for target in _targets(steps, name):
            depth[target] = max(depth.get(target, 0), own + 1)
    main = set(_main_way(steps, start))
    layers: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name in sorted(order, key=lambda name: name not in main):
        layers[depth[name]].append(name)
    return [layer for layer in layers if layer]


def _in_order(steps: Mapping[str, Any], start: str) -> list[str]:
    """The steps that can be reached, each behind all that lead to it; a circle, which no file has, is cut."""
    found: list[str] = []
    seen = {start}
    stack = [(start, iter(_targets(steps, start)))] if start in steps else []
    while stack:
        name, rest = stack[-1]
        target = next((one for one in rest if one not in seen), None)
        if target is None:
            found.append(name)
            stack.pop()
        else:
            seen.add(target)
            stack.append((target, iter(_targets(steps, target))))
    return found[::-1]


def _targets(steps: Mapping[str, Any], name: str) -> list[str]:
    named = (steps[name].get("next", ""), steps[name].get("on_failure", ""))
    return [target for target in named if target in steps]


def _main_way(steps: Mapping[str, Any], start: str) -> list[str]:
    way: list[str] = []
    while start in steps and start not in way:
        way.append(start)
        start = steps[start].get("next", "")
    return way


def _step(step: Mapping[str, Any]) -> Drawing:
    if step.get("branches"):
        return _composite(step)
    is_end = step.get("type") in ENDS
    height = _END_HEIGHT if is_end else _HEIGHT
    drawing = Drawing(_WIDTH, height)
    name, detail = step["name"], step.get("command") or step.get("type", "")
    drawing.boxes.append(Box(0, 0, _WIDTH, height, "end" if is_end else "step", f"{name}: {detail}"))
    drawing.labels.append(Label(_PAD, 18, _WIDTH - 2 * _PAD, "name", _cut(name, _NAME)))
    if not is_end:
        drawing.labels.append(Label(_PAD, 35, _WIDTH - 2 * _PAD, "detail", _cut(detail, _DETAIL)))
    return drawing


def _composite(step: Mapping[str, Any]) -> Drawing:
    branches = list(step["branches"].items())
    has_titles = any(title for title, _ in branches)
    drawing, x, top = Drawing(), float(_PAD), float(_TITLE + (18 if has_titles else 6))
    for title, graph in branches[:_MOST_BRANCHES]:
        part = _graph(graph)
        if title:
            drawing.labels.append(Label(x, _TITLE + 10, _WIDTH, "detail", _cut(title, _DETAIL)))
        drawing.put(part, x, top)
        drawing.height = max(drawing.height, part.height)
        x += max(part.width, _WIDTH) + _GAP_X
    more = len(branches) - _MOST_BRANCHES
    head = f"{step['type']} {step.get('command', '')}".strip() + (
        f", {more} more branches" if more > 0 else ""
    )
    drawing.width, drawing.height = x - _GAP_X + _PAD, top + drawing.height + _PAD
    name = _cut(step["name"], int(drawing.width / 9))
    left = _PAD + 8.5 * len(name) + 8
    drawing.labels[:0] = [
        Label(_PAD, 18, drawing.width - 2 * _PAD, "name", name),
        Label(left, 18, max(0, drawing.width - left - 4), "detail", head),
    ]
    drawing.boxes.insert(0, Box(0, 0, drawing.width, drawing.height, "group", f"{step['name']}: {head}"))
    return drawing


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: max(1, longest - 1)] + "…"


def rows_of(outline: Outline) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """The steps as rows of a table, each with its path; those of branches behind the step that they are in."""
    rows: list[tuple[str, Mapping[str, Any]]] = []
    todo = [("", step) for step in reversed(outline.get("steps", []))]
    while todo:
        around, step = todo.pop()
        path = f"{around}{step['name']}"
        rows.append((path, step))
        for title, graph in reversed(step.get("branches", {}).items()):
            inside = f"{path}.{title or '*'}."
            todo += [(inside, one) for one in reversed(graph.get("steps", []))]
    return rows
