"""Graphs in layers, and the drawing of provenance: every edge leads upwards, and no drawing grows without end."""

from __future__ import annotations

import random

import pytest

from airflow_magnus.runlog.provenance import Edge, FileNode, Provenance, StepNode
from airflow_magnus.runlog.summaries import FileUse, RunSummary
from airflow_magnus.ui.layered_graph import layered
from airflow_magnus.ui.provenance_graph import Drawing, drawing_of


@pytest.mark.parametrize("seed", range(5))
def test_every_edge_leads_to_a_later_layer(seed: int) -> None:
    chance = random.Random(seed)
    nodes = [str(n) for n in range(40)]
    edges = [(a, b) for a in nodes for b in nodes if int(a) < int(b) and chance.random() < 0.08]
    chance.shuffle(nodes)
    found = layered(nodes, edges)
    layer_of = {key: number for number, layer in enumerate(found.layers) for key in layer}
    assert sorted(key for key in layer_of if "\0" not in key) == sorted(nodes)
    assert sorted((way[0], way[-1]) for way in found.ways) == sorted(edges)
    for way in found.ways:
        places = [layer_of[key] for key in way]
        assert places == list(range(places[0], places[-1] + 1))


def test_circles_are_drawn_too() -> None:
    found = layered(["a", "b", "c"], [("a", "b"), ("b", "c"), ("c", "a"), ("a", "a"), ("x", "a")])
    assert found.layers == [["a"], ["b"], ["c"]]
    assert [way for way in found.ways if way[0] == "c"] == [["c", "a"]]
    assert layered([], []).layers == []


def test_lines_are_untangled() -> None:
    found = layered(["a", "b", "x", "y"], [("a", "y"), ("b", "x")])
    first, second = found.layers
    assert (first.index("a") < first.index("b")) == (second.index("y") < second.index("x"))


def node(name: str) -> FileNode:
    return FileNode(name, "0" * 64, 1)


def use(step: str, name: str) -> FileUse:
    return FileUse("r", "p", step, 0, "get", name, "0" * 64, 1, "")


def provenance(inputs: int, readers: int) -> Provenance:
    """A file that one step made of many, each of which a step of its own made."""
    run, file = RunSummary(run_id="r"), node("asked")
    steps = {s.key: s for s in (StepNode(run, f"s{n}", 0, "", depth=min(n, 1)) for n in range(inputs + 1))}
    maker, *others = steps
    files = {f.key: f for f in (file, *(node(f"in{n}") for n in range(inputs)))}
    edges = [Edge(maker, file.key, "put")]
    for key, made in zip(others, list(files)[1:], strict=True):
        edges += [Edge(maker, made, "get"), Edge(key, made, "put")]
    read = tuple(use(f"reader{n}", "asked") for n in range(readers))
    return Provenance(file, (), steps, files, tuple(edges), read)


def draw(inputs: int, readers: int) -> Drawing:
    return drawing_of(provenance(inputs, readers), lambda _: "")


def test_drawing_has_each_file_step_and_reader() -> None:
    drawing = draw(2, 2)
    assert sorted(box.kind for box in drawing.boxes) == [
        *["file"] * 2, "file asked", *["reader"] * 2, *["step"] * 3,
    ]  # fmt: skip
    assert len(drawing.lines) == 7
    assert not drawing.is_cut
    tops = {box.label: box.y for box in drawing.boxes}
    assert tops["reader0"] < tops["asked"] < tops["s0"] < tops["in0"] < tops["s1"]
    assert all(box.x >= 0 and box.x + box.width <= drawing.width for box in drawing.boxes)


def test_drawing_does_not_grow_without_end() -> None:
    drawing = draw(150, 150)
    assert drawing.is_cut
    assert len(drawing.boxes) < 100
    assert {box.label for box in drawing.boxes if box.kind == "more"} == {
        "145 more files",
        "142 more readers",
    }
    assert drawing.width < 10_000


@pytest.mark.parametrize("character", ["1", "W", "n", "i", "字"])
def test_texts_fit_into_ovals(character: str) -> None:
    name = character * 80
    step = StepNode(RunSummary(run_id=name), name, 0, "")
    file = node("asked")
    found = Provenance(file, (), {step.key: step}, {file.key: file}, (Edge(step.key, file.key, "put"),), ())
    (box,) = [box for box in drawing_of(found, lambda _: "").boxes if box.kind == "step"]
    widths = {"1": 0.56, "W": 0.95, "n": 0.56, "i": 0.23, "字": 1.0, "…": 1.0}
    for text, size in ((box.label, 13), (box.note, 11)):
        assert "…" in text
        drawn = sum(widths[one] for one in text) * size
        assert drawn <= box.width - 2 * box.inset, text
        assert drawn > (box.width - 2 * box.inset) / 2, "not more is cut than must be"
