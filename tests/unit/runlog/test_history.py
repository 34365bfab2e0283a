from __future__ import annotations

import pytest

from airflow_magnus.runlog.history import Visible, before_first_step, left_by, merged, visible, walked_path
from airflow_magnus.runlog.records import RunHeader
from run_log_builders import closed, entry, history, opened, step

# X → A (on_failure H) → B → C → success, H → C
EDGES = {
    "X": ("A", "fail"),
    "A": ("B", "H"),
    "B": ("C", "fail"),
    "H": ("C", "fail"),
    "C": ("success", "fail"),
}
S, F, P = "SUCCESS", "FAIL", "PROCESSING"


def walk(statuses: dict[str, str], target: str | None = None) -> str:
    return " ".join(walked_path("X", lambda name: EDGES.get(name, ("", "")), statuses, target))


@pytest.mark.parametrize(
    ("statuses", "path"),
    [
        ({}, ""),
        ({"X": P}, "X"),
        ({"X": S}, "X"),
        ({"X": S, "A": P}, "X A"),
        ({"X": S, "A": S, "B": S, "C": S, "success": S}, "X A B C success"),
        ({"X": S, "A": F, "H": S, "C": S, "success": S}, "X A H C success"),
        ({"X": F, "fail": S}, "X fail"),
        ({"X": S, "A": F, "H": F, "fail": S}, "X A H fail"),
        ({"X": S, "A": S, "B": F, "fail": S}, "X A B fail"),
        ({"X": S, "A": S, "B": S, "C": F, "fail": S}, "X A B C fail"),
        ({"X": S, "A": F, "H": S, "C": F, "fail": S}, "X A H C fail"),
        # cleared and taken another way: what lies off the way is not part of it
        ({"X": S, "A": S, "B": S, "H": S, "C": S, "success": S, "fail": S}, "X A B C success"),
        ({"X": S, "A": F, "B": S, "H": S, "C": S, "success": S}, "X A H C success"),
        ({"X": F, "A": S, "B": S, "C": S, "success": S, "fail": S}, "X fail"),
    ],
)
def test_the_way_a_run_went(statuses: dict[str, str], path: str) -> None:
    assert walk(statuses) == path


@pytest.mark.parametrize(
    ("target", "statuses", "path"),
    [
        ("X", {}, ""),
        ("A", {"X": S}, "X"),
        ("B", {"X": S, "A": S}, "X A"),
        ("H", {"X": S, "A": F}, "X A"),
        ("C", {"X": S, "A": S, "B": S}, "X A B"),
        ("C", {"X": S, "A": F, "H": S}, "X A H"),
        # both ways were gone, one after the other: the latest attempt of A tells which counts
        ("C", {"X": S, "A": S, "B": S, "H": S}, "X A B"),
        ("C", {"X": S, "A": F, "B": S, "H": S}, "X A H"),
        # marked as success in Airflow's UI: no record, or that of a failure
        ("A", {"X": F}, "X"),
        ("A", {}, "X"),
        ("B", {"X": S, "A": F}, "X A"),
        ("B", {"X": S}, "X A"),
        ("C", {"X": S, "A": F, "B": S}, "X A B"),
        ("C", {"X": S, "B": S}, "X A B"),
        ("C", {}, "X A B"),
        # marked as failed: the record is that of a success
        ("H", {"X": S, "A": S}, "X A"),
        ("C", {"X": S, "A": S, "H": S}, "X A H"),
        # killed, and no retry left: no end is recorded
        ("H", {"X": S, "A": P}, "X A"),
        ("C", {"X": S, "A": P, "H": S}, "X A H"),
        ("fail", {"X": F}, "X"),
    ],
)
def test_the_way_that_led_to_a_step(target: str, statuses: dict[str, str], path: str) -> None:
    assert walk(statuses, target) == path


def test_the_target_may_follow_at_once_while_another_way_is_stale() -> None:
    edges = {"A": ("C", "H"), "H": ("C", "")}
    assert walked_path("A", lambda n: edges.get(n, ("", "")), {"A": S, "H": S}, "C") == ["A"]


def test_a_way_of_a_thousand_steps() -> None:
    edges = {str(n): (str(n + 1), "fail") for n in range(5_000)}
    path = walked_path("0", lambda name: edges.get(name, ("", "")), dict.fromkeys(edges, S), "4999")
    assert path == [str(n) for n in range(4_999)]


def test_a_target_that_cannot_be_reached_gives_no_endless_way() -> None:
    assert walk({"X": S}, "elsewhere") == "X"


# what later steps see


BEFORE = before_first_step(RunHeader(run_id="r", token="t", parameters={"x": 0, "y": 0}))
A, B = step("A"), step("B")


def test_later_steps_win() -> None:
    seen = visible(
        BEFORE,
        ["A", "B"],
        history(
            closed(A, parameters={"x": 1, "a": None}, data_catalog=[entry("f", "a"), entry("g", "a")]),
            closed(B, parameters={"x": 2}, data_catalog=[entry("f", "b")]),
        ),
    )
    assert dict(seen.parameters) == {"x": 2, "y": 0, "a": None}
    assert {name: e.data_hash[0] for name, e in seen.entries.items()} == {"f": "b", "g": "a"}


def test_steps_off_the_way_are_not_seen() -> None:
    seen = visible(BEFORE, ["A"], history(closed(B, parameters={"x": 2}, data_catalog=[entry("f")])))
    assert (dict(seen.parameters), dict(seen.entries)) == ({"x": 0, "y": 0}, {})


@pytest.mark.parametrize(
    "later", [[opened(A, 1)], [closed(A, 1, "FAIL", parameters={"x": 9}, data_catalog=[entry("f")])]]
)
def test_an_earlier_success_does_not_count_once_there_is_a_later_attempt(later: list) -> None:
    parts = [closed(A, 0, parameters={"x": 1}, data_catalog=[entry("f")]), *later]
    seen = visible(BEFORE, ["A"], history(*parts))
    assert (dict(seen.parameters), dict(seen.entries)) == ({"x": 0, "y": 0}, {})


def test_what_the_last_attempt_did_not_make_is_gone() -> None:
    parts = [closed(A, 0, parameters={"x": 1}, data_catalog=[entry("f")]), closed(A, 1, parameters={"y": 5})]
    seen = visible(BEFORE, ["A"], history(*parts))
    assert (dict(seen.parameters), dict(seen.entries)) == ({"x": 0, "y": 5}, {})


def test_a_file_that_was_only_got_is_not_put() -> None:
    got = entry("f").model_copy(update={"stage": "get"})
    assert dict(visible(BEFORE, ["A"], history(closed(A, data_catalog=[got]))).entries) == {}


def test_what_was_there_before_is_seen_until_a_step_sets_or_puts_anew() -> None:
    """As inside a branch, of what the composite step saw; nothing of it counts as left by the steps."""
    before = Visible({"x": 0, "y": 0}, {"f": entry("f", "e"), "g": entry("g", "e")})
    steps = history(closed(A, parameters={"x": 1}, data_catalog=[entry("f", "a")]))
    seen, left = visible(before, ["A"], steps), left_by(["A"], steps)
    assert {name: e.data_hash[0] for name, e in seen.entries.items()} == {"f": "a", "g": "e"}
    assert dict(seen.parameters) == {"x": 1, "y": 0}
    assert {name: e.data_hash[0] for name, e in left.entries.items()} == {"f": "a"}
    assert dict(left.parameters) == {"x": 1}
    assert dict(before.parameters) == {"x": 0, "y": 0}


def test_a_failed_composite_step_leaves_what_its_branches_have_left() -> None:
    outcome = {"parameters": {"x": 1}, "data_catalog": [entry("f")]}
    parts = [closed(step("A", "parallel"), status=F, **outcome), closed(B, status=F, **outcome)]
    assert list(left_by(["A"], history(*parts)).entries) == ["f"]
    assert left_by(["B"], history(*parts)) == Visible({}, {})


def test_the_last_branch_wins_and_a_clash_of_files_is_told() -> None:
    one = Visible({"x": 1, "a": 1}, {"f": entry("f", "a"), "g": entry("g", "a"), "h": entry("h", "a")})
    two = Visible({"x": 2}, {"f": entry("f", "b"), "h": entry("h", "a")})
    three = Visible({"x": 2, "b": None}, {"f": entry("f", "c")})
    left, warnings = merged([("one", one), ("two", two), ("three", three)])
    assert dict(left.parameters) == {"x": 2, "a": 1, "b": None}
    assert {name: e.data_hash[0] for name, e in left.entries.items()} == {"f": "c", "g": "a", "h": "a"}
    assert warnings == [
        "'f' was put by branch 'one' and by 'two': later steps get the latter's",
        "'f' was put by branch 'two' and by 'three': later steps get the latter's",
    ]
    back, _ = merged([("three", three), ("two", two), ("one", one)])
    assert (back.parameters["x"], back.entries["f"].data_hash[0]) == (1, "a")


def test_no_branches_leave_nothing() -> None:
    assert merged([]) == (Visible({}, {}), [])


def test_attempts_are_sorted_whatever_the_order_of_the_parts() -> None:
    parts = [closed(A, 2), opened(A, 10), opened(A, 0), opened(A, 2), closed(A, 0, "FAIL"), opened(B)]
    found = history(*parts)
    assert sorted(found) == ["A", "B"]
    assert [(n, a.status) for n, a in sorted(found["A"].attempts.items())] == [(0, F), (2, S), (10, P)]
    assert found["A"].latest.opened.number == 10
    assert (found["A"].status, found["B"].status) == (P, P)


def test_an_end_without_a_beginning_stands_for_itself() -> None:
    end = closed(A, 1, start_time="2022-01-18 11:46:08.530138+00:00")
    (attempt,) = history(end)["A"].attempts.values()
    assert (attempt.opened.number, attempt.opened.start_time) == (1, end.start_time)
    assert attempt.opened.step == A
