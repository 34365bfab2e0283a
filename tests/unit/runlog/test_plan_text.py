"""The plan of a re-run as people read it."""

from __future__ import annotations

import pytest

from airflow_magnus.runlog.plan_text import LONGEST_NOTE, plan_note, plan_text, size_text
from airflow_magnus.runlog.rerun import Decision, RerunPlan


def plan(*decisions: Decision, warnings: tuple[str, ...] = ()) -> RerunPlan:
    return RerunPlan((), {}, {}, decisions, warnings)


SOME = plan(
    Decision("make", "restore", "it succeeded", 2, 12_345_678),
    Decision("split it", "restore", "it succeeded", 1, 12),
    Decision("set", "skip", "it succeeded"),
    Decision("use", "run", "it failed: exit status 1"),
    Decision("report", "run", "it follows 'use'"),
    warnings=("parameter 'x': 1 of run r1 wins over 2",),
)


def test_text_has_a_line_a_step_the_totals_and_the_warnings() -> None:
    assert plan_text(SOME, "r1").splitlines() == [
        "Plan of a re-run of r1",
        "",
        "restore  make      it succeeded  (2 files, 12 MB)",
        "restore  split it  it succeeded  (1 file, 12 B)",
        "skip     set       it succeeded",
        "run      use       it failed: exit status 1",
        "run      report    it follows 'use'",
        "",
        "5 steps: 2 to restore, 1 to skip, 2 to run; 3 files, 12 MB to be copied inside the store",
        "warning: parameter 'x': 1 of run r1 wins over 2",
    ]


def test_nothing_is_copied_when_no_step_put_a_file() -> None:
    assert "; nothing to be copied" in plan_text(plan(Decision("a", "run", "it was not run")), "r1")


def test_characters_that_a_terminal_acts_on_are_written_out() -> None:
    text = plan_text(plan(Decision("a\x1b[2J", "run", "it failed: \x07\nb")), "r\t1")
    assert "\x1b" not in text
    assert "run      a\\x1b[2J  it failed: \\x07\\nb" in text


def test_note_is_the_text_in_a_code_block_below_its_heading() -> None:
    head, rest = plan_text(SOME, "r1").split("\n\n", 1)
    assert head == "Plan of a re-run of r1"
    assert plan_note(SOME, "r1") == f"Plan of a re-run of `r1`\n\n```text\n{rest}```"


def test_note_of_a_large_plan_fits_and_keeps_what_runs_for_a_reason_of_its_own() -> None:
    kept = [Decision(f"reused-{n}", "restore", "it succeeded", 1, 1000) for n in range(200)]
    follow = [Decision(f"later-{n}", "run", "it follows 'broken'") for n in range(200)]
    note = plan_note(plan(*kept, Decision("broken", "run", "it failed"), *follow, warnings=("w",)), "r1")
    assert len(note) <= LONGEST_NOTE
    lines = note.splitlines()
    assert any(line.startswith("run      broken ") for line in lines)
    assert lines[3].startswith("restore  reused-0 ")
    assert any(line.startswith("… ") and line.endswith(" more steps") for line in lines)
    assert "401 steps: 200 to restore, 0 to skip, 201 to run; 200 files, 200 kB to be copied" in note
    assert lines[-2:] == ["warning: w", "```"]


@pytest.mark.parametrize("length", [50, 300, 2000])
def test_note_of_long_warnings_and_reasons_fits(length: int) -> None:
    steps = [Decision(f"s{n}", "run", "it failed: " + "m" * length) for n in range(20)]
    note = plan_note(plan(*steps, warnings=tuple("w" * length for _ in range(20))), "r1")
    assert len(note) <= LONGEST_NOTE
    assert "20 steps: 0 to restore, 0 to skip, 20 to run" in note


def test_note_cannot_leave_its_code_block() -> None:
    assert plan_note(plan(Decision("a", "run", "it failed: ``` # b")), "r1").count("```") == 2


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_960, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (5_400_000_000, "5.4 GB"),
        (3_000_000_000_000_000, "3000 TB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text
