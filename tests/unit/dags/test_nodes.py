"""Which tasks a pipeline has, in which regions and segments, and the ways between them; no Airflow runs here."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_magnus.dags.nodes import Edge, Node, plan_nodes
from airflow_magnus.pipeline.model import Graph
from airflow_magnus.pipeline.parser import load_pipeline
from pipelines import conditional, graph, linear, loop, mapped, parallel, shell, sub

Steps = dict[str, dict[str, Any]]
S = shell("true")


class Planned:
    """The nodes of a pipeline, each by a label: role, internal name, and of a turn its number."""

    def __init__(self, graph: Graph) -> None:
        self.nodes, self.outcomes = plan_nodes(graph)
        self.by_label = {label(node): node for node in self.nodes}
        assert len(self.by_label) == len(self.nodes)

    def __getitem__(self, name: str) -> Node:
        return self.by_label[name]

    @property
    def labels(self) -> list[str]:
        return list(self.by_label)

    def ways(self, name: str) -> list[str]:
        return [way(edge) for edge in self[name].ways]

    def after(self, name: str) -> list[str]:
        return [label(node) for node in self[name].after]

    def segments(self) -> dict[str, int]:
        """Of all nodes inside maps."""
        return {label(n): n.segment for n in self.nodes if n.is_mapped}


def label(node: Node) -> str:
    name = node.place.identity.internal_name.replace("map_variable_placeholder", "*")
    number = f" {node.number}" if node.role == "turn" else ""
    return name if node.role == "step" else f"{node.role}:{name}{number}"


def way(edge: Edge) -> str:
    answer = "" if edge.answer is None else f" [{edge.answer}]"
    return f"{label(edge.source)} {edge.state or 'ended'}{answer}"


@pytest.fixture
def plan(tmp_path: Path) -> Callable[[Steps], Planned]:
    def make(steps: Steps) -> Planned:
        (tmp_path / "pipeline.yaml").write_text(linear(steps))
        return Planned(load_pipeline(tmp_path / "pipeline.yaml").graph)

    return make


Plan = Callable[[Steps], Planned]


def test_steps_have_a_task_each_and_the_ends_wait_for_all(plan: Plan) -> None:
    made = plan({"b": S, "a": S})
    assert made.labels == ["b", "a", "success:success", "fail:fail"]
    assert (made.ways("b"), made.after("b")) == ([], [])
    assert made.ways("a") == ["b success"]
    assert made.ways("success:success") == ["a success"]
    assert (made.ways("fail:fail"), made.after("fail:fail")) == ([], ["b", "a", "success:success"])
    assert {name: label(node) for name, node in made.outcomes.items()} == {"b": "b", "a": "a"}


def test_failure_goes_through_a_gate_to_its_handler_and_nowhere_when_it_ends_the_run(plan: Plan) -> None:
    made = plan(
        {
            "a": {**S, "on_failure": "h", "next": "c"},
            "h": S,
            "c": {**S, "on_failure": "fail"},
            "d": {**S, "on_failure": "success"},
        }
    )
    assert made.labels == ["a", "gate:a", "h", "c", "d", "gate:d", "success:success", "fail:fail"]
    assert made.ways("gate:a") == ["a failed"]
    assert made.ways("h") == ["gate:a success"]
    assert made.ways("c") == ["a success", "h success"]
    assert made.ways("success:success") == ["d success", "gate:d success"]


def test_steps_that_nothing_reaches_have_no_task(plan: Plan) -> None:
    made = plan({"a": {**S, "next": "fail"}, "lost": parallel({"x": {"s": S}})})
    assert made.labels == ["a", "fail:fail"]
    assert made.after("fail:fail") == ["a"]


# parallel, dag, conditional


def test_branches_begin_behind_the_start_and_the_end_waits_for_the_last_of_each(plan: Plan) -> None:
    made = plan(
        {
            "p": parallel(
                {"two": {"s": {**S, "on_failure": "h", "next": "t"}, "h": S, "t": S}, "one": {"s": S}}
            ),
            "after": S,
        }
    )
    assert made.labels == [
        "start:p", "p.two.s", "gate:p.two.s", "p.two.h", "p.two.t", "p.one.s", "end:p",
        "after", "success:success", "fail:fail",
    ]  # fmt: skip
    assert made.ways("p.two.s") == made.ways("p.one.s") == ["start:p success"]
    assert made.ways("p.two.t") == ["p.two.s success", "p.two.h success"]
    assert (made.ways("end:p"), made.after("end:p")) == ([], ["start:p", "p.two.t", "p.one.s"])
    assert made["end:p"].start is made["start:p"]
    assert made.ways("after") == ["end:p success"]
    assert [(b.name, list(b.nodes), b.reached) for b in made["end:p"].branches] == [
        ("two", ["s", "h", "t"], None),
        ("one", ["s"], None),
    ]
    assert made["end:p"].branches is made["start:p"].branches
    assert all(not node.region.is_mapped and node.segment == 0 for node in made.nodes)
    assert [(step.name, branch) for step, branch in made["p.two.s"].around] == [("p", "two")]


def test_failure_in_a_branch_that_ends_it_needs_no_task(plan: Plan) -> None:
    made = plan(
        {"p": parallel({"x": {"s": {**S, "on_failure": "success"}, "t": {**S, "on_failure": "fail"}}})}
    )
    assert made.labels == ["start:p", "p.x.s", "p.x.t", "end:p", "success:success", "fail:fail"]


def test_failed_composite_step_has_a_gate_too(plan: Plan) -> None:
    made = plan({"p": {**parallel({"x": {"s": S}}), "on_failure": "h", "next": "success"}, "h": S})
    assert made.ways("gate:p") == ["end:p failed"]
    assert made.ways("h") == ["gate:p success"]
    assert made.ways("success:success") == ["end:p success", "h success"]


def test_branch_without_steps_is_there_and_waits_for_the_start(plan: Plan) -> None:
    made = plan({"p": parallel({"x": {}, "y": {"s": S}})})
    assert made.labels == ["start:p", "p.y.s", "end:p", "success:success", "fail:fail"]
    assert made.after("end:p") == ["start:p", "p.y.s"]
    assert [(b.name, list(b.nodes)) for b in made["end:p"].branches] == [("x", []), ("y", ["s"])]


def test_branch_of_a_conditional_is_entered_by_the_answer_of_its_start(plan: Plan) -> None:
    made = plan({"c": conditional("v", {"x": {"s": S}, "1": {"s": S}}, default={"s": S})})
    assert made.ways("c.x.s") == ["start:c success [x]"]
    assert made.ways("c.1.s") == ["start:c success [1]"]
    assert made.ways("c.default.s") == ["start:c success [default]"]
    reached = [branch.reached for branch in made["end:c"].branches]
    assert [way(edge) for edge in reached if edge] == [
        "start:c success [x]",
        "start:c success [1]",
        "start:c success [default]",
    ]


def test_sub_pipeline_is_a_branch_called_dag(plan: Plan, tmp_path: Path) -> None:
    inner = {"dag": graph({"s": S, "p": parallel({"x": {"s": S}})})}
    (tmp_path / "inner.yaml").write_text(yaml.safe_dump(inner))
    made = plan({"d": sub("inner.yaml"), "e": sub("inner.yaml")})
    assert made.labels[:6] == ["start:d", "d.dag.s", "start:d.dag.p", "d.dag.p.x.s", "end:d.dag.p", "end:d"]
    assert made.ways("d.dag.s") == ["start:d success"]
    assert made.ways("start:e") == ["end:d success"]


# loops


def test_between_repetitions_stands_a_turn_that_can_end_the_loop(plan: Plan) -> None:
    made = plan({"l": loop({"s": S, "t": S}, 3, index_as="n"), "after": S})
    assert made.labels == [
        "start:l", "l.0.s", "l.0.t", "turn:l 0", "l.1.s", "l.1.t", "turn:l 1", "l.2.s", "l.2.t", "end:l",
        "after", "success:success", "fail:fail",
    ]  # fmt: skip
    assert made.ways("l.0.s") == ["start:l success"]
    assert made.ways("l.1.s") == ["turn:l 0 success [True]"]
    assert made.ways("l.2.s") == ["turn:l 1 success [True]"]
    assert (made.ways("turn:l 0"), made.after("turn:l 0")) == (["start:l success"], ["l.0.t"])
    assert (made.ways("turn:l 1"), made.after("turn:l 1")) == (["turn:l 0 success [True]"], ["l.1.t"])
    assert [label(n) for n in made["turn:l 0"].later] == ["l.1.s", "l.1.t", "turn:l 1", "l.2.s", "l.2.t"]
    assert [label(n) for n in made["turn:l 1"].later] == ["l.2.s", "l.2.t"]
    assert made.after("end:l") == ["start:l", "l.2.t", "turn:l 1"]
    assert [b.reached and way(b.reached) for b in made["end:l"].branches] == [
        None,
        "turn:l 0 success [True]",
        "turn:l 1 success [True]",
    ]


def test_repetition_knows_those_before_it_and_its_number(plan: Plan) -> None:
    made = plan({"l": loop({"s": S}, 3, index_as="n"), "after": S})
    assert [graph.name for graph in made["l.2.s"].place.earlier] == ["l.0", "l.1"]
    assert made["l.0.s"].place.earlier == ()
    assert [made[f"l.{n}.s"].place.variables for n in range(3)] == [(("n", 0),), (("n", 1),), (("n", 2),)]
    assert made["after"].place.variables == made["end:l"].place.variables == ()
    unnamed = plan({"l": loop({"s": S}, 2)})
    assert unnamed["l.1.s"].place.variables == ()


def test_loop_of_one_repetition_has_no_turn(plan: Plan) -> None:
    made = plan({"l": loop({"s": S}, 1)})
    assert made.labels == ["start:l", "l.0.s", "end:l", "success:success", "fail:fail"]
    assert [label(node) for node in made["end:l"].before] == ["start:l", "l.0.s"]


def test_turn_ends_what_is_nested_in_later_repetitions_but_not_what_stands_behind(plan: Plan) -> None:
    made = plan({"l": loop({"p": parallel({"x": {"s": S}}), "m": mapped({"s": S})}, 2), "after": S})
    assert [label(n) for n in made["turn:l 0"].later] == [
        "start:l.1.p", "l.1.p.x.s", "end:l.1.p", "map-start:l.1.m", "map-end:l.1.m",
    ]  # fmt: skip


def test_inner_loop_ends_alone(plan: Plan) -> None:
    made = plan({"l": loop({"i": loop({"s": S}, 2)}, 2)})
    assert [label(n) for n in made["turn:l.0.i 0"].later] == ["l.0.i.1.s"]
    assert [label(n) for n in made["turn:l 0"].later] == [
        "start:l.1.i", "l.1.i.0.s", "turn:l.1.i 0", "l.1.i.1.s", "end:l.1.i",
    ]  # fmt: skip
    assert [graph.name for graph in made["l.1.i.1.s"].place.earlier] == ["l.1.i.0"]
    outer = made["l.1.i.1.s"].place.outer
    assert outer is not None
    assert [graph.name for graph in outer.earlier] == ["l.0"]


# maps


def test_steps_of_a_map_are_a_region_of_their_own(plan: Plan) -> None:
    made = plan({"m": mapped({"s": S, "t": {**S, "on_failure": "h", "next": "success"}, "h": S}), "after": S})
    assert made.labels == [
        "map-start:m", "m.*.s", "m.*.t", "m.*.h", "map-end:m", "after", "success:success", "fail:fail",
    ]  # fmt: skip
    assert made.ways("m.*.s") == ["map-start:m ended"]
    assert made.ways("m.*.t") == ["m.*.s success"]
    assert made.ways("m.*.h") == ["m.*.t failed"], "inside maps tasks ask for states themselves"
    assert made.after("map-end:m") == ["map-start:m", "m.*.h"]
    assert made.ways("after") == ["map-end:m success"]
    region = made["m.*.s"].region
    assert region.start is made["map-start:m"]
    assert made["m.*.h"].region is region
    assert not made["map-start:m"].region.is_mapped
    assert made["after"].region is made["map-end:m"].region is made["map-start:m"].region
    assert made.segments() == {"m.*.s": 0, "m.*.t": 0, "m.*.h": 0}
    assert made["m.*.s"].place.variables == (("item", None),)
    assert made["after"].place.variables == ()


def test_behind_an_inner_map_begins_another_segment(plan: Plan) -> None:
    made = plan({"m": mapped({"a": S, "n": mapped({"s": S}, "inner", "j"), "b": S})})
    assert made.labels == [
        "map-start:m", "m.*.a", "map-start:m.*.n", "m.*.n.*.s", "map-end:m.*.n", "join:m.*.n", "m.*.b", "map-end:m",
        "success:success", "fail:fail",
    ]  # fmt: skip
    assert made.segments() == {"m.*.a": 0, "m.*.n.*.s": 0, "join:m.*.n": 1, "m.*.b": 1}
    inner, outer = made["m.*.n.*.s"].region, made["m.*.a"].region
    assert inner.start is made["map-start:m.*.n"]
    assert inner is not outer
    for name in ("map-start:m.*.n", "map-end:m.*.n", "join:m.*.n", "m.*.b"):
        assert made[name].region is outer
    assert [n.role for n in made.nodes if n.region is outer and not n.is_mapped] == ["map-start", "map-end"]
    assert made.after("join:m.*.n") == ["map-end:m.*.n"]
    assert made.ways("m.*.b") == ["join:m.*.n success"]
    assert made.after("map-end:m") == ["map-start:m", "m.*.b"]
    assert made["m.*.n.*.s"].place.variables == (("item", None), ("j", None))


def test_inner_maps_one_behind_the_other_and_side_by_side(plan: Plan) -> None:
    n = mapped({"s": S}, "inner", "j")
    behind = plan({"m": mapped({"n1": n, "n2": n, "n3": n})}).segments()
    assert {name: s for name, s in behind.items() if "join" in name} == {
        "join:m.*.n1": 1,
        "join:m.*.n2": 2,
        "join:m.*.n3": 3,
    }
    made = plan({"m": mapped({"p": parallel({"x": {"n": n, "a": S}, "y": {"b": S}, "z": {"n": n}})})})
    assert made.segments() == {
        "start:m.*.p": 0,
        "m.*.p.x.n.*.s": 0,
        "join:m.*.p.x.n": 1,
        "m.*.p.x.a": 1,
        "m.*.p.y.b": 0,
        "m.*.p.z.n.*.s": 0,
        "join:m.*.p.z.n": 1,
        "end:m.*.p": 1,
    }


def test_handler_of_an_inner_map_stands_in_the_later_segment_though_it_can_be_reached_earlier(
    plan: Plan,
) -> None:
    inner = {**mapped({"s": S}, "inner", "j"), "on_failure": "h", "next": "success"}
    made = plan({"m": mapped({"a": {**S, "on_failure": "h", "next": "n"}, "n": inner, "h": S})})
    assert made.ways("m.*.h") == ["m.*.a failed", "join:m.*.n failed"]
    assert made["m.*.h"].segment == 1


def test_maps_three_deep(plan: Plan) -> None:
    made = plan({"m": mapped({"n": mapped({"o": mapped({"s": S}, "c", "k"), "t": S}, "b", "j")}, "a", "i")})
    assert made["m.*.n.*.o.*.s"].place.variables == (("i", None), ("j", None), ("k", None))
    assert made.segments() == {
        "m.*.n.*.o.*.s": 0,
        "join:m.*.n.*.o": 1,
        "m.*.n.*.t": 1,
        "join:m.*.n": 1,
    }
    regions = [made[name].region for name in ("m.*.n.*.o.*.s", "join:m.*.n.*.o", "join:m.*.n", "map-start:m")]
    assert len({id(region) for region in regions}) == 4


def test_loop_inside_a_map_with_a_map_inside(plan: Plan) -> None:
    made = plan({"m": mapped({"l": loop({"n": mapped({"s": S}, "inner", "j")}, 2)})})
    assert made.segments() == {
        "start:m.*.l": 0,
        "m.*.l.0.n.*.s": 0,
        "join:m.*.l.0.n": 1,
        "turn:m.*.l 0": 1,
        "m.*.l.1.n.*.s": 0,
        "join:m.*.l.1.n": 2,
        "end:m.*.l": 2,
    }
    assert made.ways("map-start:m.*.l.1.n") == ["turn:m.*.l 0 success [True]"]
    assert [label(n) for n in made["turn:m.*.l 0"].later] == ["join:m.*.l.1.n"], "of the map around, mapped"


def test_place_of_a_nested_step_leads_through_all_that_is_around(plan: Plan) -> None:
    steps = {"m": mapped({"a": S, "p": parallel({"x": {"b": S, "s": S}})})}
    place = plan({"first": S, **steps})["m.*.p.x.s"].place
    way_out = []
    while place is not None:
        before = place.graph.before(place.identity.name) if place.graph else ()
        way_out.append((place.identity.internal_name.replace("map_variable_placeholder", "*"), before))
        place = place.outer  # type: ignore[assignment]
    assert way_out == [("m.*.p.x.s", ("b",)), ("m.*.p", ("a",)), ("m", ("first",))]


# any shape


def shape(chance: random.Random, depth: int) -> dict[str, Any]:
    """A step of any kind, with graphs inside of any shape."""
    kind = chance.choice(["task"] * 3 + (["parallel", "map", "conditional", "loop"] if depth else []))
    if kind == "parallel":
        return parallel({f"b{n}": steps_of(chance, depth - 1) for n in range(chance.randint(1, 3))})
    if kind == "map":
        return mapped(steps_of(chance, depth - 1), "x", f"i{depth}")
    if kind == "conditional":
        return conditional("x", {f"v{n}": steps_of(chance, depth - 1) for n in range(chance.randint(1, 2))})
    if kind == "loop":
        return loop(steps_of(chance, depth - 1), chance.randint(1, 3))
    return dict(S)


def steps_of(chance: random.Random, depth: int) -> Steps:
    names = [f"s{n}" for n in range(chance.randint(1, 4))]
    found = {}
    for place, name in enumerate(names):
        found[name] = shape(chance, depth)
        later = [*names[place + 1 :], "success", "fail"]
        found[name]["next"] = chance.choice(later[:2])
        if chance.random() < 0.4:
            found[name]["on_failure"] = chance.choice(later)
    return found


@pytest.mark.parametrize("seed", range(60))
def test_rules_hold_for_any_shape(plan: Plan, seed: int) -> None:
    made = plan(steps_of(random.Random(seed), 3))
    seen: set[int] = set()
    for node in made.nodes:
        assert {id(before) for before in node.before} <= seen, (
            f"{label(node)} stands before what it waits for"
        )
        seen.add(id(node))
        same = [n for n in node.before if n.region is node.region and n.is_mapped]
        if node.is_mapped:
            assert all(n.segment <= node.segment for n in same), "tasks of a segment wait for no later one"
        else:
            assert node.segment >= 0
        for before in node.before:
            if before.is_mapped and before.region is not node.region:
                assert node.role == "map-end", f"{label(node)} would wait for single items of another map"
        if node.is_mapped and node.role not in ("join",):
            roots = [n for n in node.before if n.region is not node.region]
            assert all(n is node.region.start or n.role == "map-end" for n in roots)
    waited = {id(before) for node in made.nodes for before in node.before}
    assert [n.role for n in made.nodes if id(n) not in waited] == ["fail"], "the fail node is the last of all"
