from __future__ import annotations

from typing import Any

import pytest

from airflow_magnus.runlog.difference_records import RunDifference, StepDifference
from airflow_magnus.runlog.difference_text import as_text
from airflow_magnus.runlog.pairs import MISSING, Pair

CODE = {
    "git": Pair(
        {"identifier": "a" * 40, "is_dependable": True}, {"identifier": "b" * 40, "is_dependable": False}
    )
}


def runs(*steps: StepDifference, **fields: Any) -> RunDifference:
    same = Pair("SUCCESS", "SUCCESS")
    given = {"status": same, "dag_hash": Pair("c", "c"), "tag": Pair(None, None), **fields}
    return RunDifference(run_id=Pair("run-a", "run-b"), steps=steps, **given)


def step(name: str = "s", **fields: Any) -> StepDifference:
    return StepDifference(name, "task", **fields)


def row(label: str, a: str, b: str) -> str:
    return f"  {label:<31}  {a:<31} | {b}"


def test_equal_runs_are_said_to_be_equal() -> None:
    assert as_text(runs(step("a"), step("b"), tag=Pair("night", None))).splitlines() == [
        "The runs are equal.",
        "  A  run-a  SUCCESS  night",
        "  B  run-b  SUCCESS",
        "",
        "2 of 2 steps are equal.",
    ]


def test_first_difference_is_on_top_and_each_step_that_differs_has_a_block() -> None:
    text = as_text(
        runs(
            step("a"),
            step("b", outputs={"o.bin": Pair("1" * 64, "2" * 64)}),
            step("c", inputs={"o.bin": Pair("1" * 64, "2" * 64)}, metrics={"loss": Pair(0.5, 0.25)}),
            step("d", presence="b"),
            step("e", presence="b"),
            parameters={"x": Pair(3, "3")},
        )
    )
    assert text.splitlines() == [
        "The runs part at step 'b': same code, same inputs, other output (o.bin).",
        "  A  run-a  SUCCESS",
        "  B  run-b  SUCCESS",
        "",
        "the runs",
        row("ended with x", "3", '"3"'),
        "",
        "step 'b' (task)",
        row("output o.bin", "1" * 12, "2" * 12),
        "",
        "step 'c' (task): other input (o.bin) → other metrics (loss)",
        row("input o.bin", "1" * 12, "2" * 12),
        row("metric loss", "0.5", "0.25"),
        "",
        "only in B: d, e",
        "",
        "1 of 5 steps is equal.",
    ]


def test_code_is_shown_once_when_all_steps_have_the_same_two() -> None:
    text = as_text(
        runs(step("a", code=CODE), step("b", code=CODE, parameters={"x": Pair(1, 2)}), step("c", code=CODE))
    )
    assert text.count("aaaaaaaaaaaa ") == 1
    assert "bbbbbbbbbbbb + uncommitted" in text
    assert "step 'a'" not in text
    assert "2 steps differ in nothing but the code." in text
    alone = as_text(runs(step("a", code=CODE), step("b")))
    assert "step 'a' (task)\n  code git " in alone


def test_runs_that_differ_as_a_whole_only_are_told_from_equal_ones() -> None:
    text = as_text(runs(step("a"), run_config={"catalog": {"config.prefix": Pair("x", MISSING)}}))
    assert text.startswith("No step differs, but the runs as a whole do.\n")
    assert row("catalog config.prefix", '"x"', "(none)") in text.splitlines()


def test_lines_are_short_when_values_and_names_are_long() -> None:
    long = "x" * 500
    text = as_text(
        runs(
            step(parameters={"p": Pair(long + "1" + long, long + "2" + long), "q" * 80: Pair(long, MISSING)}),
            step("t", outputs={f"file-{number}.csv": Pair("1", "2") for number in range(50)}),
        )
    )
    assert max(map(len, text.splitlines())) <= 100
    [row] = [line for line in text.splitlines() if line.startswith("  sets p ")]
    assert row.split()[2].startswith("…x")
    assert "x1x" in row
    assert "x2x" in row


def test_digests_are_shown_in_full_when_their_beginnings_are_equal() -> None:
    text = as_text(runs(step(outputs={"o": Pair("1" * 20 + "a", "1" * 20 + "b")})))
    assert "1a " in text
    assert "1b\n" in text


@pytest.mark.parametrize("bad", ["\x1b[2J", "\u202e", "\udc80"])
def test_terminal_is_safe_from_names_and_values(bad: str) -> None:
    text = as_text(
        runs(step(f"s{bad}", parameters={f"p{bad}": Pair(bad, 1)}, failure=Pair(bad, "")), tag=Pair(bad, bad))
    )
    assert bad not in text
    text.encode()


def test_seconds_are_shown_when_they_differ_by_one_or_more() -> None:
    differing = {"parameters": {"x": Pair(1, 2)}}
    assert "seconds" not in as_text(runs(step(seconds=Pair(1.2, 1.3), **differing)))
    assert "seconds" not in as_text(runs(step(seconds=Pair(None, 9.0), **differing)))
    assert "  seconds " in as_text(runs(step(seconds=Pair(1.2, 9.0), **differing)))


def test_steps_taken_over_are_counted() -> None:
    text = as_text(runs(step("a", mock=Pair(False, True), taken_over="same"), step("b")))
    assert "2 of 2 steps are equal, 1 of them taken over from one run into the other." in text
