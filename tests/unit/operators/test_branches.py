"""How a composite step went, by how its branches went."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_magnus.operators.branches import Branch, Conclusion, Outcome, conclude, outcome_of
from airflow_magnus.operators.place import GraphPlace, Items, StepPlace
from airflow_magnus.pipeline.model import MAP_PLACEHOLDER
from airflow_magnus.runlog.records import AttemptClosed, AttemptOpened, CodeIdentity
from run_log_builders import closed, entry, graphs, opened, step

S, F = "SUCCESS", "FAIL"
EDGES = {"a": ("b", "h"), "b": ("good", "bad"), "h": ("b", "bad")}
GIT = [CodeIdentity(code_identifier_type="git", code_identifier="c")]


def branch(name: str, of: str = "p") -> Branch:
    """A branch a → b → good, with a handler h of a."""
    place = GraphPlace(f"{of}.{name}", "a", ("a", "h", "b", "good", "bad"), EDGES, ("good", "bad"))
    return Branch(name, place, steps={n: step(n, graph=place.name) for n in "abh"})


def outcome(name: str, items: Items = (), of: str = "p", **statuses: str) -> Outcome:
    return outcome_of(branch(MAP_PLACEHOLDER if items else name, of), name, items, statuses)


@pytest.mark.parametrize(
    ("statuses", "path", "end", "stopped_at"),
    [
        ({"a": S, "b": S}, "ab", "good", ""),
        ({"a": F, "h": S, "b": S}, "ahb", "good", ""),
        ({"a": F, "h": F}, "ah", "bad", ""),
        ({"a": S, "b": F}, "ab", "bad", ""),
        ({"a": S, "b": F, "h": S}, "ab", "bad", ""),
        ({"a": S}, "a", "", "b"),
        ({"a": F}, "a", "", "h"),
        ({}, "", "", "a"),
        ({"a": "PROCESSING", "b": S}, "", "", "a"),
    ],
)
def test_way_of_a_branch(statuses: dict[str, str], path: str, end: str, stopped_at: str) -> None:
    found = outcome("one", **statuses)
    assert ("".join(found.path), found.end, found.stopped_at) == (path, end, stopped_at)
    assert found.is_success == (end == "good")
    assert found.graph.name == "p.one"


def test_way_of_an_item_is_in_the_graph_of_the_item() -> None:
    found = outcome("~d", [["~d", "."]], "m", a=S, b=S)
    assert (found.branch, found.graph.name) == ("~d", "m.~d")


def test_branch_without_steps_has_reached_its_end_at_once() -> None:
    for end in ("good", "bad"):
        place = GraphPlace("p.x", end, ("good", "bad"), {}, ("good", "bad"))
        found = outcome_of(Branch("x", place), "x", [], {})
        assert (found.path, found.end, found.is_success) == ((), end, end == "good")


# the conclusion


def concluded(
    *outcomes: Outcome,
    records: list[Any] | None = None,
    begun: AttemptOpened | None = None,
    kind: str = "parallel",
) -> Conclusion:
    begun = begun or opened(step("p", kind), branches=[o.branch for o in outcomes])
    place = StepPlace(begun.step)
    return conclude(place, begun, outcomes, graphs(*(records or [])), GIT)


def test_step_succeeds_only_when_every_branch_does() -> None:
    good, handled = outcome("one", a=S, b=S), outcome("two", a=F, h=S, b=S)
    bad, stuck = outcome("three", a=S, b=F), outcome("four", a=S)
    assert concluded(good, handled).closed.status == S
    assert concluded(good, bad).closed.status == F
    assert concluded(good, stuck).closed.status == F
    assert concluded().closed.status == S, "a map over no items"


def test_message_says_which_branch_failed_in_which_step_and_why() -> None:
    records = [
        closed(step("a", graph="p.one"), status=F, message="first"),
        closed(step("h", graph="p.one"), status=F, message="boom"),
        closed(step("a", graph="p.two"), status=F),
    ]
    nowhere = Branch("end", GraphPlace("p.end", "bad", (), {}, ("good", "bad")))
    made = concluded(
        outcome("one", a=F, h=F),
        outcome("two", a=F, h=F),
        outcome("three", a=S),
        outcome_of(nowhere, "end", [], {}),
        outcome("fine", a=S, b=S),
        records=records,
    ).closed
    assert made.message == (
        "branch 'one' failed in step 'h': boom; branch 'two' failed in step 'h'; "
        "branch 'three' reached no end: its step 'b' did not run; branch 'end' reached its fail node"
    )
    assert made.step_message == made.message.replace("; ", "\n")


def test_step_fails_by_what_else_went_wrong() -> None:
    one = outcome("one", a=S, b=S)
    made = conclude(
        StepPlace(step("l", "loop")), opened(step("l", "loop")), [one], {}, GIT, ["no boolean"]
    ).closed
    assert (made.status, made.message, made.step_message) == (F, "no boolean", "no boolean")


def test_message_of_a_thousand_failed_items_stays_short() -> None:
    failed = [outcome(str(n), [[str(n), n]], "p", a=F, h=F) for n in range(1000)]
    message = concluded(*failed).closed.message
    assert message.count("failed in step") == 10
    assert message.endswith("; and 990 branches more")


def test_what_successful_steps_have_left_is_merged_in_order_also_of_a_branch_that_failed() -> None:
    records = [
        closed(step("a", graph="p.one"), parameters={"x": 1, "one": 1}, data_catalog=[entry("f", "1")]),
        closed(step("b", graph="p.one"), status=F, parameters={"x": 9}, data_catalog=[entry("g", "9")]),
        closed(step("a", graph="p.two"), parameters={"x": 2}, data_catalog=[entry("f", "2")]),
        closed(step("b", graph="p.two")),
        closed(step("h", graph="p.two"), parameters={"x": "off the way"}),
    ]
    failed, good = outcome("one", a=S, b=F), outcome("two", a=S, b=S)
    made = concluded(failed, good, records=records).closed
    assert made.status == F
    assert made.parameters == {"x": 2, "one": 1}
    assert [(e.name, e.data_hash[0]) for e in made.data_catalog] == [("f", "2")]
    assert made.step_message.splitlines() == [
        "'f' was put by branch 'one' and by 'two': later steps get the latter's",
        "branch 'one' failed in step 'b'",
    ]
    assert "was put by" not in made.message
    back = concluded(good, failed, records=records).closed
    assert (back.parameters["x"], back.data_catalog[0].data_hash[0]) == (1, "1")
    assert [e.name for e in made.puts()] == ["f"]


def test_files_that_repetitions_of_a_loop_put_again_are_no_clash() -> None:
    records = [closed(step("a", graph=f"p.{n}"), data_catalog=[entry("f", n)]) for n in ("0", "1")]
    turns = [outcome(n, a=S, b=S) for n in ("0", "1")]
    made = concluded(*turns, records=records, kind="loop").closed
    assert (made.step_message, made.data_catalog[0].data_hash[0]) == ("", "1")
    assert "'f' was put by branch '0'" in concluded(*turns, records=records).closed.step_message


def test_record_is_that_of_the_attempt_with_the_branches_that_ran_and_their_items() -> None:
    begun = opened(
        step("m", "map"), 3, branches=["1", "true", "x"], items=[1, True, "x"], scheduler={"task_id": "t"}
    )
    some = [outcome(name, [[name, None]], "m", a=S, b=S) for name in ("1", "x")]
    made = concluded(*some, begun=begun).closed
    assert (made.number, made.attempt_id, made.start_time) == (3, begun.attempt_id, begun.start_time)
    assert (made.branches, made.items, made.scheduler) == (["1", "x"], [1, "x"], {"task_id": "t"})
    assert (made.is_attempt, made.mock, made.code_identities) == (False, False, GIT)


def test_conclusion_of_a_step_that_is_concluded_already_is_a_later_one() -> None:
    begun = opened(step("p", "parallel"), branches=["one"])
    first = concluded(outcome("one", a=S, b=F), begun=begun).closed
    again = concluded(outcome("one", a=S, b=S), begun=first).closed
    assert (first.number, first.status, again.number, again.status) == (0, F, 1, S)
    assert again.message == again.step_message == ""


def test_ends_that_were_reached_have_records() -> None:
    before = closed(step("good", "success", "p.two"), 4)
    ends = concluded(
        outcome("one", a=S, b=F), outcome("two", a=S, b=S), outcome("three", a=S), records=[before]
    ).ends
    assert [(e.step.internal_name, e.step.graph_name, e.step.step_type, e.number) for e in ends] == [
        ("p.one.bad", "p.one", "fail", 0),
        ("p.two.good", "p.two", "success", 5),
    ]
    assert {(e.status, e.is_attempt) for e in ends} == {(S, True)}
    assert len({e.attempt_id for e in ends}) == 2
    assert all(isinstance(e, AttemptClosed) and e.start_time and e.code_identities == GIT for e in ends)
