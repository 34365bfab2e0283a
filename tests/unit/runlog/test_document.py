from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from airflow_magnus.runlog.document import run_log, step_log
from airflow_magnus.runlog.records import (
    AttemptClosed,
    AttemptOpened,
    CatalogEntry,
    CodeIdentity,
    RunHeader,
    RunLog,
)
from run_log_builders import closed, entry, graphs, history, opened, step

HEADER = RunHeader(run_id="20220118114608", token="t", dag_hash="ce06", parameters={"x": 3})
S, F, P = "SUCCESS", "FAIL", "PROCESSING"
LATE, EARLY = "2030-01-01 00:00:00.000000+00:00", "2001-01-01 00:00:00.000000+00:00"


def document(*parts: AttemptOpened | AttemptClosed, definition: dict | None = None) -> RunLog:
    """Without a definition, as of a hand-written DAG, every step counts."""
    return run_log(HEADER.model_copy(update={"definition": definition or {}}), graphs(*parts))


def chain(*names: str) -> dict:
    """The definition of tasks one behind the other."""
    following = [*names[1:], "success"]
    tasks = {n: {"type": "task", "next": after} for n, after in zip(names, following, strict=True)}
    ends = {"success": {"type": "success"}, "fail": {"type": "fail"}}
    return {"start_at": names[0], "steps": {**tasks, **ends}}


def seed_document() -> dict:
    seed = Path(__file__).parents[2] / "data/run_log_of_seed_001.json"
    return json.loads(seed.read_text())


def shape(value: object) -> object:
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value).__name__


def test_the_document_has_the_fields_of_the_seed() -> None:
    """Source: seed 001. More fields may be there, none is renamed or of another type."""
    git = CodeIdentity(
        code_identifier="c5d2",
        code_identifier_type="git",
        code_identifier_url="u",
        code_identifier_message="",
    )
    steps = [
        step("step parameters", position=0),
        step("step shell", position=1),
        step("success", "success", position=2),
    ]
    put = CatalogEntry(
        name="data.txt",
        data_hash="8f25",
        catalog_relative_path="20220118114608/data.txt",
        catalog_handler_location=".catalog",
        stage="put",
    )
    extra = [{"parameters": {"x": 4}}, {"data_catalog": [put]}, {}]
    parts = [closed(of, code_identities=[git], **more) for of, more in zip(steps, extra, strict=True)]
    made = document(*parts).model_copy(
        update={"run_config": {n: {"type": "x", "config": {}} for n in seed_document()["run_config"]}}
    )
    _has_at_least(json.loads(made.to_json()), seed_document(), "")


def _has_at_least(ours: object, seeds: object, where: str) -> None:
    assert type(ours) is type(seeds), where
    if isinstance(seeds, dict):
        assert isinstance(ours, dict)
        assert [key for key in ours if key in seeds] == list(seeds), f"fields of {where}, and their order"
        for key, value in seeds.items():
            _has_at_least(ours[key], value, f"{where}/{key}")
    elif isinstance(seeds, list):
        assert isinstance(ours, list)
        assert len(ours) == len(seeds), where
        for index, value in enumerate(seeds):
            _has_at_least(ours[index], value, f"{where}/{index}")


def test_the_document_is_written_as_the_seed_prints_it() -> None:
    text = document(closed(step("ü"))).to_json()
    assert text.splitlines()[1] == '    "run_id": "20220118114608",'
    assert text.isascii()
    assert json.loads(text)["steps"]["ü"]["attempts"][0]["attempt_number"] == 0


def test_a_document_comes_back() -> None:
    made = document(
        closed(step("a"), 0, F, message="why"), opened(step("a"), 1), closed(step("s.b.c", graph="s.b"))
    )
    assert RunLog.model_validate_json(made.to_json()) == made


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([], P),
        ([closed(step("a"))], P),
        ([closed(step("a")), opened(step("success", "success"))], P),
        ([closed(step("a")), closed(step("success", "success"))], S),
        ([closed(step("a"), status=F), closed(step("fail", "fail"))], F),
        ([closed(step("a"), status=F), closed(step("success", "success"))], S),
        ([closed(step("a"), status=F)], P),
    ],
)
def test_the_status_is_that_of_the_end_that_was_reached(parts: list, status: str) -> None:
    assert document(*parts).status == status


def test_an_end_off_the_way_does_not_count() -> None:
    """Cleared after a failure and gone on to success: the record of the fail node is still there."""
    parts = [
        closed(step("a"), 0, F),
        closed(step("a"), 1),
        closed(step("fail", "fail"), start_time=LATE),
        closed(step("success", "success"), start_time=EARLY),
    ]
    made = document(*parts, definition=chain("a"))
    assert (made.status, list(made.steps)) == (S, ["a", "success"])


def test_steps_stand_in_the_order_of_the_graph_and_not_of_clocks() -> None:
    parts = [
        closed(step("third", position=2), start_time=EARLY),
        closed(step("first", position=0), start_time=LATE),
        closed(step("second", position=1), start_time=EARLY),
    ]
    assert list(document(*parts).steps) == ["first", "second", "third"]
    made = document(*parts, definition=chain("third", "first", "not yet", "second"))
    assert list(made.steps) == ["third", "first"]


def test_parameters_are_what_the_run_ends_with() -> None:
    parts = [
        closed(step("a", position=0), parameters={"x": 4, "y": [1]}),
        closed(step("b", position=1), 0, F, parameters={"x": 99}),
    ]
    assert document(*parts).parameters == {"x": 4, "y": [1]}


def test_attempts_are_all_there_with_their_reasons() -> None:
    a = step("a")
    parts = [opened(a, 0), closed(a, 0, F, message="boom"), opened(a, 1)]
    made = document(*parts).steps["a"]
    assert made.status == P
    assert [(t.attempt_number, t.status, t.message) for t in made.attempts] == [(0, F, "boom"), (1, P, "")]
    assert made.attempts[1].end_time == made.attempts[1].duration == ""
    assert re.fullmatch(r"\d:\d\d:\d\d(\.\d{6})?", made.attempts[0].duration)


def test_only_the_attempt_that_counts_gives_files_and_metrics() -> None:
    a = step("a")
    parts = [
        closed(a, 0, metrics={"m": 1}, data_catalog=[entry("old")]),
        closed(a, 1, F, step_message="a pattern without a match"),
    ]
    made = document(*parts).steps["a"]
    assert (made.user_defined_metrics, made.data_catalog, made.message) == (
        {},
        [],
        "a pattern without a match",
    )


def test_a_reused_step_has_no_attempts() -> None:
    made = step_log(history(closed(step("a"), mock=True, is_attempt=False, data_catalog=[entry("f")]))["a"])
    assert (made.mock, made.status, made.attempts, made.data_catalog) == (True, S, [], [])


def test_a_mark_by_hand_is_no_attempt_also_when_one_follows() -> None:
    a = step("a")
    parts = [closed(a, 0, F), closed(a, 1, S, is_attempt=False), closed(a, 2, S)]
    assert [t.attempt_number for t in document(*parts).steps["a"].attempts] == [0, 2]
    assert [t.attempt_number for t in document(*parts[:2]).steps["a"].attempts] == [0]


def test_branches_nest() -> None:
    parts = [
        closed(step("p", "parallel"), branches=["two", "one"]),
        closed(step("x", graph="p.one")),
        closed(step("success", "success", graph="p.one", position=1)),
        closed(step("m", "map", graph="p.two"), status=F, branches=["item"]),
        closed(step("fail", "fail", graph="p.two", position=1)),
        closed(step("y", graph="p.two.m.item"), status=F),
        closed(step("fail", "fail", graph="p.two.m.item", position=1)),
        closed(step("px", position=1)),
    ]
    made = document(*parts)
    assert list(made.steps) == ["p", "px"]
    branches = made.steps["p"].branches
    assert list(branches) == ["p.two", "p.one"], "the order of the record"
    assert {name: branch.status for name, branch in branches.items()} == {"p.one": S, "p.two": F}
    assert list(branches["p.one"].steps) == ["p.one.x", "p.one.success"]
    inner = branches["p.two"].steps["p.two.m"].branches
    assert list(inner) == ["p.two.m.item"]
    assert list(inner["p.two.m.item"].steps) == ["p.two.m.item.y", "p.two.m.item.fail"]
    assert made.steps["px"].branches == {}


PARALLEL = {
    "start_at": "p",
    "steps": {
        "p": {"type": "parallel", "next": "success", "branches": {"one": chain("x", "y"), "two": chain("x")}},
        "success": {"type": "success"},
        "fail": {"type": "fail"},
    },
}


def test_branches_are_there_from_the_beginning_of_their_step() -> None:
    made = document(opened(step("p", "parallel"), branches=["one", "two"]), definition=PARALLEL)
    assert (made.status, made.steps["p"].status, made.steps["p"].attempts) == (P, P, [])
    branches = made.steps["p"].branches
    assert {name: (b.status, b.steps) for name, b in branches.items()} == {"p.one": (P, {}), "p.two": (P, {})}


def test_of_a_branch_the_steps_on_its_way_count() -> None:
    """Cleared after a failure of ``x``: what the first walk left is still there."""
    parts = [
        closed(step("p", "parallel"), branches=["one"]),
        closed(step("x", graph="p.one")),
        closed(step("y", graph="p.one"), status=F),
        closed(step("success", "success", graph="p.one")),
        closed(step("fail", "fail", graph="p.one")),
    ]
    (branch,) = document(*parts, definition=PARALLEL).steps["p"].branches.values()
    assert (branch.status, list(branch.steps)) == (F, ["p.one.x", "p.one.y", "p.one.fail"])


def test_what_branches_have_left_is_the_runs_and_their_files_are_shown_once() -> None:
    """The record of the composite step holds what its branches have left; the document shows files by their steps."""
    put = [entry("f", "a")]
    parts = [
        closed(step("p", "parallel"), status=F, branches=["one"], parameters={"x": 1}, data_catalog=put),
        closed(step("x", graph="p.one"), parameters={"x": 1}, data_catalog=put),
        closed(step("y", graph="p.one"), status=F, parameters={"x": 2}),
    ]
    made = document(*parts, definition=PARALLEL)
    assert made.parameters == {"x": 1}
    assert made.steps["p"].data_catalog == []
    assert [e.name for e in made.steps["p"].branches["p.one"].steps["p.one.x"].data_catalog] == ["f"]


def test_a_reused_composite_step_stands_for_its_branches() -> None:
    whole = closed(step("p", "parallel"), mock=True, is_attempt=False, branches=["one"])
    assert document(whole, definition=PARALLEL).steps["p"].branches == {}


def test_a_repetition_shows_when_it_has_begun() -> None:
    parts = [
        opened(step("l", "loop"), branches=["0", "1", "2"]),
        closed(step("x", graph="l.0")),
        closed(step("success", "success", graph="l.0")),
        opened(step("x", graph="l.1")),
    ]
    loop = {"type": "loop", "next": "success", "branch": chain("x"), "max_iterations": 3}
    ends = {"success": {"type": "success"}, "fail": {"type": "fail"}}
    made = document(*parts, definition={"start_at": "l", "steps": {"l": loop, **ends}})
    assert {name: b.status for name, b in made.steps["l"].branches.items()} == {"l.0": S, "l.1": P}
