"""What pages about runs are made of, without Airflow: the tree, the timeline, pages of a list, the diagram."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from airflow_magnus.runlog.outline import outline
from airflow_magnus.runlog.records import AttemptLog, BranchLog, StepLog
from airflow_magnus.ui.diagram import MOST_STEPS, count_steps, draw, rows_of
from airflow_magnus.ui.paging import Pager
from airflow_magnus.ui.responses import time_text
from airflow_magnus.ui.run_tree import TAKEN_OVER, Choice, tree_of
from airflow_magnus.ui.timeline import Span, axis_of, seconds_of, span_of


def step(name: str, start: str = "", end: str = "", **more: Any) -> StepLog:
    attempt = AttemptLog(attempt_number=0, start_time=start, end_time=end, duration="", status="SUCCESS")
    more = {"status": "SUCCESS", "step_type": "task", "attempts": [attempt] if start else [], **more}
    return StepLog(name=name.rpartition(".")[2], internal_name=name, **more)


def composite() -> StepLog:
    inner = {
        f"each.{b}.one": step(f"each.{b}.one", f"2026-01-01 00:00:0{b}", f"2026-01-01 00:00:1{b}")
        for b in "12"
    }
    branches = {
        f"each.{b}": BranchLog(internal_name=f"each.{b}", steps={f"each.{b}.one": inner[f"each.{b}.one"]})
        for b in "12"
    }
    return step("each", step_type="map", branches=branches)


def test_tree_is_in_the_order_of_reading() -> None:
    tree = tree_of({"a": step("a"), "each": composite(), "z": step("z", status="FAIL", mock=True)})
    assert [(node.depth, node.name) for node in tree.nodes] == [
        (0, "a"),
        (0, "each"),
        (1, "1"),
        (2, "one"),
        (1, "2"),
        (2, "one"),
        (0, "z"),
    ]
    assert tree.statuses == {"SUCCESS": 4, TAKEN_OVER: 1}
    assert [node.of.internal_name for node in tree.chosen(Choice(text="2.ONE"))] == ["each.2.one"]


def test_tree_of_many_levels_needs_no_recursion() -> None:
    deep = step("x")
    for number in range(3_000):
        branch = BranchLog.model_construct(internal_name="b", status="SUCCESS", steps={"x": deep})
        deep = step(f"s{number}").model_copy(update={"branches": {"b": branch}})
    assert len(tree_of({"x": deep}).nodes) == 6_001


def test_last_step_that_set_a_parameter_is_named() -> None:
    tree = tree_of({"a": step("a", parameters={"x": 1}), "b": step("b", parameters={"x": 2, "y": 1})})
    assert tree.setters() == {"x": "b", "y": "b"}


def test_composite_step_takes_from_its_first_steps_start_to_its_last_ones_end() -> None:
    span = span_of(composite(), now=0)
    assert span is not None
    assert (span.seconds, span.is_open) == (11, False)


def test_attempt_that_goes_on_reaches_until_now() -> None:
    start = seconds_of("2026-01-01 00:00:00+00:00")
    assert start is not None
    span = span_of(step("a", "2026-01-01 00:00:00"), now=start + 5)
    assert span == Span(start, start + 5, is_open=True)


@pytest.mark.parametrize("length", [0, 0.004, 0.3, 1, 17, 61, 3_700, 90_000, 9_000_000])
def test_axis_has_few_ticks_in_order_and_inside(length: float) -> None:
    axis = axis_of([Span(1_000, 1_000 + length)], zero=990)
    assert axis is not None
    places = [tick.x for tick in axis.ticks]
    assert len(places) <= 7
    assert all(0 <= x <= 100 for x in places)
    assert all(a < b for a, b in pairwise(places))


@pytest.mark.parametrize("length", [0.004, 0.3, 5, 12.1, 17, 61, 370, 3_700, 90_000, 9_000_000])
@pytest.mark.parametrize("before", [0, 3, 1_000_000])
def test_labels_of_ticks_do_not_touch_on_a_narrow_axis(length: float, before: float) -> None:
    axis = axis_of([Span(1_000_000, 1_000_000 + length)], zero=1_000_000 - before)
    assert axis is not None
    ends = []
    for tick in axis.ticks:
        if tick.label:
            x, width = tick.x * 1.6, len(tick.label) * 6.5  # pixels, of an axis of 160
            ends.append((x - width, x) if tick.is_last else (x, x + width))
    assert ends or not axis.ticks
    assert all(end < start for (_, end), (start, _) in pairwise(ends))
    assert all(start >= 0 and end <= 160 for start, end in ends)


def test_bars_stay_on_the_axis() -> None:
    axis = axis_of([Span(0, 100)])
    assert axis is not None
    for span in (Span(0, 0), Span(100, 100), Span(99.99, 500), Span(-5, 3)):
        bar = axis.bar(span, "SUCCESS")[0]
        assert bar.x >= 0
        assert bar.width > 0
        assert bar.x + bar.width <= 100.001


def test_times_that_cannot_be_read_have_no_bar() -> None:
    assert span_of(step("a", "last tuesday"), now=0) is None
    assert axis_of([]) is None


@pytest.mark.parametrize(
    ("total", "wanted", "shown"),
    [(0, 1, (0, 0)), (10, 1, (1, 10)), (25, 3, (21, 25)), (25, 99, (21, 25)), (25, -1, (1, 10))],
)
def test_pages_of_a_list(total: int, wanted: int, shown: tuple[int, int]) -> None:
    pager = Pager(total, 10, wanted, {})
    assert (pager.first, pager.last) == shown


def test_addresses_of_pages_keep_the_filters() -> None:
    pager = Pager(30, 10, 2, {"text": "a&b", "status": "", "number": "2"})
    assert (pager.before, pager.after) == ("?text=a%26b&number=1", "?text=a%26b&number=3")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.0211, "21 ms"),
        (9.94, "9.9 s"),
        (59.7, "1 min 0 s"),
        (185, "3 min 5 s"),
        (7_440, "2 h 4 min"),
        (400_000, "4 d 15 h"),
    ],
)
def test_lengths_of_time_for_people(seconds: float | None, text: str) -> None:
    assert time_text(seconds) == text


ENDS: dict[str, Any] = {"success": {"type": "success"}, "fail": {"type": "fail"}}


def section(**steps: Any) -> dict[str, Any]:
    return {"start_at": next(iter(steps)), "steps": {**steps, **ENDS}}


def test_outline_has_the_branches_and_one_line_of_commands() -> None:
    inner = section(one={"type": "task", "command": "first\nsecond", "next": "success"})
    definition = section(
        a={"type": "parallel", "branches": {"left": inner, "right": inner}, "next": "b"},
        b={"type": "dag", "dag_definition": "sub.yaml", "next": "success", "on_failure": "c"},
        c={"type": "task", "command": "x" * 500, "catalog": {"put": ["*"]}, "next": "fail"},
    )
    found = outline(definition, {"b": inner})
    assert list(found["steps"][0]["branches"]) == ["left", "right"]
    assert found["steps"][0]["branches"]["left"]["steps"][0]["command"] == "first …"
    assert found["steps"][1]["branches"][""]["start"] == "one"
    assert len(found["steps"][2]["command"]) == 120
    assert [path for path, _ in rows_of(found)][:3] == ["a", "a.left.one", "a.left.success"]
    assert count_steps(found) == 5 + 3 * 3


def test_nothing_of_a_drawing_overlaps_or_lies_outside() -> None:
    inner = section(one={"type": "task", "next": "success"})
    definition = section(
        a={"type": "task", "next": "b", "on_failure": "h"},
        b={"type": "parallel", "branches": {"left": inner, "right": inner}, "next": "c"},
        h={"type": "task", "next": "c"},
        c={"type": "task", "next": "success"},
    )
    drawing = draw(outline(definition, {}))
    assert drawing is not None
    boxes = [box for box in drawing.boxes if box.kind != "group"]
    assert len(boxes) == 3 + 2 * 2 + 1
    for box in drawing.boxes:
        assert 0 <= box.x <= box.x + box.width <= drawing.width
        assert 0 <= box.y <= box.y + box.height <= drawing.height
    for number, a in enumerate(boxes):
        for b in boxes[number + 1 :]:
            assert (
                a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y
            )
    assert [line.kind for line in drawing.lines].count("failure") == 1


def test_large_or_empty_pipelines_are_not_drawn() -> None:
    names = [f"s{number}" for number in range(MOST_STEPS)]
    steps = {
        name: {"type": "task", "next": after}
        for name, after in zip(names, [*names[1:], "success"], strict=True)
    }
    assert draw(outline(section(**steps), {})) is None
    assert draw({}) is None


def test_circle_that_no_file_has_ends_the_drawing_not_the_server() -> None:
    definition = section(a={"type": "task", "next": "b"}, b={"type": "task", "next": "a"})
    assert draw(outline(definition, {})) is not None
