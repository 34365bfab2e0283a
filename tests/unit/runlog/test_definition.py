from __future__ import annotations

import pytest

from airflow_magnus.runlog.definition import graph_of, inside, items_around, recorded_path, steps_in
from airflow_magnus.runlog.records import RunHeader
from pipelines import conditional, graph, loop, mapped, parallel, shell, sub
from run_log_builders import closed, history, opened, step

S = {"s": shell("s")}
IN_ALL = {
    "p": parallel({"one": {"m": mapped({"n": mapped(S), "x": shell("behind n")})}, "two": {}}),
    "d": sub("d.yaml"),
    "c": conditional("v", {"1": {"of one": shell("1")}}, {"other": shell("other")}),
    "l": loop({"d": sub("e.yaml"), "c": conditional("v", {"default": S})}, 3),
    "m": mapped({"d": sub("f.yaml")}),
    "noise": {"type": "as-is", "branches": "ignored", "branch": {"steps": {"no": shell("no")}}},
}
SUBS = {
    "d": {"p": parallel({"b": {"deep": shell("deep")}})},
    "l.0.d": {"in a loop": shell("x")},
    "l.1.d": {"in a loop": shell("x")},
    "l.2.d": {"in a loop": shell("x")},
    "m.map_variable_placeholder.d": {"in a map": shell("x")},
}
HEADER = RunHeader(
    run_id="r",
    token="t",
    definition=graph(IN_ALL),
    sub_definitions={name: graph(steps) for name, steps in SUBS.items()},
)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("", list(IN_ALL)),
        ("p.one", ["m"]),
        ("p.two", []),
        ("p.one.m.item", ["n", "x"]),
        ("p.one.m.any ~d thing.n.~e", ["s"]),
        ("d.dag", ["p"]),
        ("d.dag.p.b", ["deep"]),
        ("c.1", ["of one"]),
        ("c.default", ["other"]),
        ("l.0", ["d", "c"]),
        ("l.2", ["d", "c"]),
        ("l.2.d.dag", ["in a loop"]),
        ("l.1.c.default", ["s"]),
        ("m.item.d.dag", ["in a map"]),
    ],
)
def test_graph_is_found_through_all_that_is_around_it(name: str, steps: list[str]) -> None:
    section = graph_of(HEADER, name)
    assert section is not None
    assert list(section["steps"]) == [*steps, "success", "fail"]


@pytest.mark.parametrize("name", ["p.three", "q.one", "p.one.gone.item", "d.dag.gone.b", "x.y.z.a"])
def test_graph_that_is_not_in_the_definition_is_none(name: str) -> None:
    assert graph_of(HEADER, name) is None


def test_run_without_a_definition_has_no_graphs() -> None:
    header = RunHeader(run_id="r", token="t")
    assert graph_of(header, "") is None
    assert graph_of(header, "p.one") is None
    assert recorded_path(graph_of(header, ""), {}) is None


def test_branch_of_a_step_at_hand_is_found_at_any_place() -> None:
    step_in_map = graph_of(HEADER, "m.item")["steps"]["d"]  # type: ignore[index]
    section = inside(HEADER, "m.item.d", step_in_map, "dag")
    assert section is not None
    assert "in a map" in section["steps"]


@pytest.mark.parametrize(
    ("name", "items"),
    [
        ("d", []),
        ("m", []),
        ("m.a b.d", ["a b"]),
        ("m.~e.d.dag.in a map", ["~e"]),
        ("p.one.m.1.x", ["1"]),
        ("p.one.m.1.n.x~2.s", ["1", "x~2"]),
        ("l.1.c.default.s", []),
    ],
)
def test_items_that_a_step_runs_for(name: str, items: list[str]) -> None:
    assert items_around(HEADER, name) == items


def test_steps_inside_are_all_there_at_any_depth() -> None:
    def commands(name: str) -> list[str]:
        found = steps_in(HEADER, name, IN_ALL[name])
        return [one["command"] for one in found if "command" in one]

    assert commands("p") == ["s", "behind n"]
    assert commands("d") == ["deep"]
    assert commands("c") == ["1", "other"]
    assert commands("l") == ["x", "s"], "of one repetition, as all are the same"
    assert commands("m") == ["x"]
    assert list(steps_in(HEADER, "noise", IN_ALL["noise"])) == []


def test_the_way_through_a_branch_ends_where_it_has_come_to() -> None:
    section = graph({"s": {**shell("s"), "on_failure": "h"}, "t": shell("t"), "h": shell("h")})
    assert recorded_path(section, {}) == []
    assert recorded_path(section, history(opened(step("s")))) == ["s"]
    assert recorded_path(section, history(closed(step("s"), status="FAIL"), opened(step("h")))) == ["s", "h"]
    assert recorded_path(section, history(closed(step("s")), closed(step("t")))) == ["s", "t"]
