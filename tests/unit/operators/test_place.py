"""What a step sees of those before it, around it and, in a loop, of the repetitions before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore  # noqa: TID253 - the run log is kept in memory
import pytest

from airflow_magnus.dags.nodes import plan_nodes
from airflow_magnus.operators.place import Items, StepPlace, with_items
from airflow_magnus.pipeline.model import MAP_PLACEHOLDER
from airflow_magnus.pipeline.parser import load_pipeline
from airflow_magnus.runlog.history import Visible
from airflow_magnus.runlog.records import CatalogEntry, RunHeader
from airflow_magnus.stores.parts import ObjectParts
from airflow_magnus.stores.runlogs import RunLogStore
from contract_backends import CountedParts
from pipelines import conditional, linear, loop, mapped, parallel, shell
from run_log_builders import closed, entry, step

S = shell("true")
RUN = "r"
HEADER = RunHeader(run_id=RUN, token="t", parameters={"x": "initial", "kept": 0})
Places = dict[str, StepPlace]


@pytest.fixture
def counted() -> CountedParts:
    return CountedParts(ObjectParts(obstore.store.MemoryStore(), "memory"))


@pytest.fixture
def run_log(counted: CountedParts) -> RunLogStore:
    return RunLogStore(counted)  # type: ignore[arg-type]


@pytest.fixture
def places(tmp_path: Path) -> Callable[[dict[str, Any]], Places]:
    """The places of a pipeline's steps, by internal name with ``*`` for items."""

    def make(steps: dict[str, Any]) -> Places:
        (tmp_path / "pipeline.yaml").write_text(linear(steps))
        nodes, _ = plan_nodes(load_pipeline(tmp_path / "pipeline.yaml").graph)
        return {n.place.identity.internal_name.replace(MAP_PLACEHOLDER, "*"): n.place for n in nodes}

    return make


@pytest.fixture
def left(run_log: RunLogStore) -> Callable[..., None]:
    """Records the end of a step, by its internal name."""

    def record(
        name: str, status: str = "SUCCESS", kind: str = "task", file: str = "", **parameters: Any
    ) -> None:
        graph, _, short = name.rpartition(".")
        files: list[CatalogEntry] = [entry(file, short)] if file else []
        run_log.append(
            RUN, closed(step(short, kind, graph), status=status, parameters=parameters, data_catalog=files)
        )

    return record


def parameters(
    place: StepPlace, run_log: RunLogStore, known: dict[str, Visible] | None = None
) -> dict[str, Any]:
    return dict(place.visible(run_log, HEADER, known).parameters)


NESTED = {
    "first": S,
    "m": mapped({"a": S, "p": parallel({"one": {"b": S, "s": S}, "two": {"t": S}}), "z": S}, "outer", "i"),
    "last": S,
}


def test_name_gets_the_items_outermost_first() -> None:
    name = f"m.{MAP_PLACEHOLDER}.n.{MAP_PLACEHOLDER}.s"
    assert with_items(name, [["a b", 1], ["~e", ""]]) == "m.a b.n.~e.s"
    assert with_items(name, [["a", 1]]) == f"m.a.n.{MAP_PLACEHOLDER}.s"
    assert with_items("p.one.s", []) == "p.one.s"


def test_place_for_an_item_has_it_in_all_names_and_its_value_as_a_variable(places: Any) -> None:
    place = places(NESTED)["m.*.p.one.s"].at([["~d", "."]])
    assert place.identity.internal_name == "m.~d.p.one.s"
    assert place.identity.graph_name == "m.~d.p.one"
    assert place.outer.identity.internal_name == "m.~d.p"
    assert place.outer.outer.identity.internal_name == "m"
    assert dict(place.variables) == {"i": "."}
    plain = places(NESTED)["last"]
    assert plain.at([]) is plain


@pytest.mark.parametrize("value", [None, 0, False, "", [], {}])
def test_item_may_be_any_value(places: Any, value: Any) -> None:
    place = places({"m": mapped({"n": mapped({"s": S}, "b", "j")}, "a", "i")})["m.*.n.*.s"]
    assert place.at([["x", value], ["y", 1]]).variables == (("i", value), ("j", 1))


def test_number_of_a_repetition_stands_between_the_items(places: Any) -> None:
    steps = {"m": mapped({"l": loop({"n": mapped({"s": S}, "b", "j")}, 2, index_as="n")}, "a", "i")}
    place = places(steps)["m.*.l.1.n.*.s"].at([["x", "x"], ["y", 7]])
    assert place.variables == (("i", "x"), ("n", 1), ("j", 7))
    assert place.outer.variables == (("i", "x"), ("n", 1)), "of the inner map itself: no item of its own yet"
    assert [graph.name for graph in place.outer.earlier] == ["m.x.l.0"]


@pytest.mark.parametrize(
    ("name", "is_first"),
    [
        ("first", True), ("m", False), ("m.*.a", False), ("last", False),
    ],
)  # fmt: skip
def test_first_step_of_a_run(places: Any, name: str, is_first: bool) -> None:
    assert places(NESTED)[name].is_first == is_first


def test_first_step_of_a_run_may_be_a_nested_one(places: Any) -> None:
    found = places({"p": parallel({"x": {"l": loop({"s": S, "t": S}, 2)}, "y": {"u": S}})})
    assert {name for name, place in found.items() if place.is_first} >= {"p", "p.x.l", "p.x.l.0.s", "p.y.u"}
    for name in ("p.x.l.0.t", "p.x.l.1.s", "success"):
        assert not found[name].is_first, name


# what is seen


def test_step_in_a_branch_sees_what_is_before_it_and_before_all_that_is_around(
    places: Any, left: Any, run_log: RunLogStore
) -> None:
    left("first", x="first", f=1, file="file")
    left("m.1.a", x="a of 1", a=1)
    left("m.2.a", x="a of 2", a=2)
    left("m.1.p.one.b", b=1, file="file")
    left("m.1.p.two.t", sibling=1, file="siblings")
    left("m.2.p.one.b", other=1)
    left("m.1.p.one.s", own=1)
    place = places(NESTED)["m.*.p.one.s"].at([["1", 1]])
    seen = place.visible(run_log, HEADER)
    assert dict(seen.parameters) == {"x": "a of 1", "kept": 0, "f": 1, "a": 1, "b": 1}
    assert {name: e.data_hash[0] for name, e in seen.entries.items()} == {"file": "b"}


def test_step_behind_a_composite_step_sees_its_record_and_nothing_of_the_branches_themselves(
    places: Any, left: Any, run_log: RunLogStore
) -> None:
    left("first")
    left("m.1.a")
    left("m.1.p.one.b", b=1)
    left("m.1.p", "SUCCESS", "parallel", merged=1)
    left("m", "SUCCESS", "map", all=1)
    assert parameters(places(NESTED)["m.*.z"].at([["1", 1]]), run_log) == {
        "x": "initial",
        "kept": 0,
        "merged": 1,
    }
    assert parameters(places(NESTED)["last"], run_log) == {"x": "initial", "kept": 0, "all": 1}


def test_handler_sees_what_a_failed_composite_step_has_left_but_nothing_of_a_failed_task(
    places: Any, left: Any, run_log: RunLogStore
) -> None:
    steps = {
        "a": {**S, "on_failure": "p"},
        "p": {**parallel({"x": {"s": S}}), "on_failure": "h", "next": "success"},
        "h": S,
    }
    left("a", "FAIL", x="failed")
    left("p", "FAIL", "parallel", left=1)
    assert parameters(places(steps)["h"], run_log) == {"x": "initial", "kept": 0, "left": 1}


def test_only_the_way_that_was_gone_is_seen(places: Any, left: Any, run_log: RunLogStore) -> None:
    inner = {"a": {**S, "on_failure": "h", "next": "z"}, "h": {**S, "next": "z"}, "z": S}
    found = places({"c": conditional("v", {"one": inner})})
    left("c.one.a", a=1)
    left("c.one.h", h=1)
    assert "h" not in parameters(found["c.one.z"], run_log)
    left("c.one.a", "FAIL", a=2)
    assert parameters(found["c.one.z"], run_log) == {"x": "initial", "kept": 0, "h": 1}


def test_repetition_sees_those_before_it_each_as_it_went(
    places: Any, left: Any, run_log: RunLogStore
) -> None:
    inner = {"s": {**S, "on_failure": "h", "next": "t"}, "t": {**S, "next": "success"}, "h": S}
    found = places({"first": S, "l": loop(inner, 3)})
    left("first", x="first")
    left("l.0.s", x=0, zero=1)
    left("l.0.t", t=0)
    left("l.1.s", "FAIL", x="failed")
    left("l.1.h", x=1, t="h")
    left("l.1.t", t="off the way")
    left("l.2.s", x=2)
    assert parameters(found["l.0.s"], run_log) == {"x": "first", "kept": 0}
    assert parameters(found["l.1.s"], run_log) == {"x": 0, "kept": 0, "zero": 1, "t": 0}
    assert parameters(found["l.2.s"], run_log) == {"x": 1, "kept": 0, "zero": 1, "t": "h"}
    assert parameters(found["l.2.t"], run_log) == {"x": 2, "kept": 0, "zero": 1, "t": "h"}
    assert parameters(found["l"], run_log) == {"x": "first", "kept": 0}


def test_inner_loop_sees_the_earlier_repetitions_of_the_outer_and_its_own(
    places: Any, left: Any, run_log: RunLogStore
) -> None:
    found = places({"l": loop({"i": loop({"s": S}, 2), "z": S}, 2)})
    left("l.0.i", "SUCCESS", "loop", i=0)
    left("l.0.z", z=0)
    left("l.0.i.1.s", hidden=1)
    left("l.1.i.0.s", own=1)
    assert parameters(found["l.1.i.1.s"], run_log) == {"x": "initial", "kept": 0, "i": 0, "z": 0, "own": 1}


# costs, as the docstring promises them


def test_what_a_look_costs(places: Any, left: Any, run_log: RunLogStore, counted: CountedParts) -> None:
    found = places(NESTED)
    for name in ("first", "m.1.a", "m.1.p.one.b"):
        left(name)
    counted.spent()
    found["first"].visible(run_log, HEADER)
    assert counted.spent() == {}
    found["m.*.p.one.s"].at([["1", 1]]).visible(run_log, HEADER)
    assert counted.spent() == {"list_keys": 3, "read": 3}


def test_what_is_around_many_items_is_asked_for_once(
    places: Any, left: Any, run_log: RunLogStore, counted: CountedParts
) -> None:
    place = places({"first": S, "m": mapped({"n": mapped({"s": S}, "b", "j")}, "a", "i")})["m.*.n"]
    left("first", f=1)
    counted.spent()
    known: dict[str, Visible] = {}
    lists: list[Items] = [[[str(n), n]] for n in range(20)]
    for items in lists:
        assert parameters(place.at(items), run_log, known)["f"] == 1
    assert counted.spent() == {"list_keys": 1, "read": 1}
