"""Queries over the index of runs: filters and pages, search, and the way from a file to what made it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_magnus.runlog.index_texts import (
    IndexRecord,
    TornIndexError,
    mark_record,
    records_of_text,
    run_record,
    text_of_records,
    unpacked,
)
from airflow_magnus.runlog.index_view import IndexView
from airflow_magnus.runlog.provenance import provenance_of
from airflow_magnus.runlog.records import (
    AttemptLog,
    BranchLog,
    CatalogEntry,
    CodeIdentity,
    ObjectAccess,
    RunHeader,
    RunLog,
    StepLog,
)
from airflow_magnus.runlog.run_query import RunQuery
from airflow_magnus.runlog.summaries import Code, FileUse, RunFacts, RunSummary, facts_of

GIT = Code("git", "c5d2f4aa8dd354740d1b2f94b6ee5c904da5e63c")


def summary(run_id: str, start: str = "2026-03-01 10:00:00+00:00", **about: Any) -> RunSummary:
    return RunSummary(**{"run_id": run_id, "pipeline": "daily", "status": "SUCCESS", "start": start, **about})


def use(run_id: str, step: str, direction: Any, name: str, digit: str, when: int = 0, **more: Any) -> FileUse:
    moment = f"2026-03-01 10:{when:02}:00+00:00"
    return FileUse(run_id, "daily", step, 0, direction, name, digit * 64, 7, moment, (GIT,), **more)


def view(*facts: RunFacts | IndexRecord) -> IndexView:
    records = [one if isinstance(one, IndexRecord) else run_record(one, "v") for one in facts]
    return IndexView(records_of_text(text_of_records(records)))


def facts(run_id: str, *uses: FileUse, **about: Any) -> RunFacts:
    return RunFacts(summary(run_id, **about), uses)


def asked(index: IndexView, **query: Any) -> list[str]:
    return [run.run_id for run in index.runs(RunQuery(**query)).runs]


def test_runs_are_found_by_what_they_are() -> None:
    index = view(
        facts("a", start="2026-03-01 10:00:00+00:00", tag="Nightly", parameters={"x": 1, "y": None}),
        facts("b", start="2026-03-02 10:00:00", pipeline="hourly", airflow_dag_id="dag-h", status="FAIL"),
        facts("c", start="2026-03-03 10:00:00+02:00", airflow_run_id="manual__3", parameters={"x": "1"}),
        mark_record("pin", "a", True, "v"),
    )
    assert asked(index) == ["c", "b", "a"]
    assert asked(index, pipelines=["hourly"]) == asked(index, pipelines=["dag-h"]) == ["b"]
    assert asked(index, status="FAIL") == ["b"]
    assert asked(index, tag="Nightly") == asked(index, text="NIGHT") == asked(index, is_pinned=True) == ["a"]
    assert asked(index, text="manual__") == ["c"]
    assert asked(index, parameter=("x", "1")) == ["c", "a"]
    assert asked(index, parameter=("y", "null")) == asked(index, parameter=("y", "")) == ["a"]
    assert asked(index, since=datetime(2026, 3, 2)) == ["c", "b"]
    assert asked(index, since=datetime(2026, 3, 2, tzinfo=UTC), until=datetime(2026, 3, 3, 8)) == ["b"]
    assert asked(index, until=datetime(2026, 3, 3, 8, 0, 1)) == ["c", "b", "a"], "10:00+02:00 is 8:00 of UTC"


def test_pages_follow_one_another_also_among_equal_times() -> None:
    index = view(*(facts(f"run {n}") for n in range(5)))
    pages, after = [], None
    while True:
        page = index.runs(RunQuery(limit=2, after=after))
        pages.append([run.run_id for run in page.runs])
        assert page.total == 5
        if (after := page.after) is None:
            break
    assert pages == [["run 4", "run 3"], ["run 2", "run 1"], ["run 0"]]


def test_who_may_not_see_a_run_finds_nothing_of_it() -> None:
    made = facts("a", use("a", "make", "put", "secret.csv", "1"))
    index = view(made, facts("b", use("b", "use", "get", "secret.csv", "1")))

    def only_b(run: RunSummary) -> bool:
        return run.run_id == "b"

    assert [run.run_id for run in index.runs(RunQuery(), only_b).runs] == ["b"]
    assert {found.run_id for found in index.find_files("secret", is_visible=only_b).uses} == {"b"}
    origin = provenance_of(index, "1" * 64, is_visible=only_b)
    assert origin is not None
    assert (origin.makers, origin.steps, [r.run_id for r in origin.readers]) == ((), {}, ["b"])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("report", ["Report.CSV", "data/report é.txt"]), ("É", ["data/report é.txt"]), ("é", ["data/report é.txt"]),
        ("AAAAAA", ["Report.CSV"]), ("a" * 64, ["Report.CSV"]), ("aaaaa", []), ("make", []), ("git", []),
        ('"', ['quo"te']), ("\\", ["back\\slash"]), ("", []), ("  ", []), ("put", []),
    ],
)  # fmt: skip
def test_files_are_found_by_name_and_digest_and_by_nothing_else(text: str, names: list[str]) -> None:
    made = [("Report.CSV", "a"), ("data/report é.txt", "b"), ('quo"te', "c"), ("back\\slash", "d")]
    index = view(facts("a", *(use("a", "make", "put", name, digit) for name, digit in made)))
    assert [found.name for found in index.find_files(text).uses] == names


def test_a_search_ends_where_enough_was_found() -> None:
    index = view(*(facts(f"{n}", use(f"{n}", "make", "put", "same.csv", "a")) for n in range(5)))
    page = index.find_files("same", limit=3)
    assert ([found.run_id for found in page.uses], page.is_cut) == (["4", "3", "2"], True)


def test_a_provenance_leads_upwards_and_to_who_read_it_since() -> None:
    index = view(
        facts(
            "one",
            use("one", "load", "put", "raw", "1", 1),
            use("one", "clean", "get", "raw", "1", 2),
            use("one", "clean", "put", "tidy", "2", 2),
            use("one", "train", "get", "tidy", "2", 3),
            use("one", "train", "get", "raw", "1", 3),
            use("one", "train", "put", "model", "3", 3),
            parameters={"alpha": 0.1},
        ),
        facts(
            "two",
            use("two", "score", "get", "model", "3", 9, holder="one"),
            start="2026-03-02 10:00:00+00:00",
        ),
    )
    found = provenance_of(index, "3" * 64)
    assert found is not None
    steps = {node.step: (node.depth, node.code, node.run.parameters) for node in found.steps.values()}
    told = (GIT,), {"alpha": 0.1}
    assert steps == {"train": (0, *told), "clean": (1, *told), "load": (1, *told)}
    edges = {(e.step.split(":")[2], e.direction, e.file.split(":")[2]) for e in found.edges}
    assert edges == {
        ("train", "put", "model"), ("train", "get", "tidy"), ("train", "get", "raw"),
        ("clean", "put", "tidy"), ("clean", "get", "raw"), ("load", "put", "raw"),
    }  # fmt: skip
    assert [(reader.run_id, reader.step) for reader in found.readers] == [("two", "score")]
    assert not found.is_cut
    short = provenance_of(index, "3" * 64, depth=1)
    assert short is not None
    assert ([node.step for node in short.steps.values()], short.is_cut) == (["train"], True)
    assert provenance_of(index, "9" * 64) is None
    assert provenance_of(index, "3") is None


def test_the_maker_of_an_input_is_the_nearest_one() -> None:
    """The same bytes were made again and again: in the run itself, in the one that was taken up, and in others."""
    earlier = facts(
        "first", use("first", "load", "put", "raw", "1", 1), use("first", "keep", "put", "raw", "1", 2)
    )
    other = facts("other", use("other", "load", "put", "raw", "1", 3))
    again = facts(
        "again",
        use("again", "load", "restored", "raw", "1", 4),
        use("again", "use", "get", "raw", "1", 5),
        use("again", "use", "put", "raw", "1", 5),
        use("again", "use", "put", "out", "2", 5),
        original_run_id="first",
    )
    alone = facts(
        "alone", use("alone", "use", "get", "raw", "1", 8), use("alone", "use", "put", "out", "4", 8)
    )

    def made_from(digit: str, **how: Any) -> list[tuple[str, str]]:
        found = provenance_of(view(earlier, other, again, alone), digit * 64, **how)
        assert found is not None
        return [(node.run.run_id, node.step) for node in found.steps.values()]

    assert made_from("2") == [("again", "use"), ("first", "keep")], "not its own put of what it had read"
    assert made_from("4") == [("alone", "use"), ("again", "use"), ("first", "keep")], "the last before it"
    assert made_from("1", run_id="other") == [("other", "load")]


def test_a_circle_in_the_records_ends() -> None:
    index = view(
        facts("a", use("a", "x", "get", "2", "2"), use("a", "x", "put", "1", "1"), use("a", "y", "get", "1", "1"), use("a", "y", "put", "2", "2"))
    )  # fmt: skip
    found = provenance_of(index, "1" * 64, depth=50)
    assert found is not None
    assert [node.step for node in found.steps.values()] == ["x", "y"]


def test_facts_of_a_run_hold_branches_objects_and_failed_steps() -> None:
    def entry(name: str, stage: Any) -> CatalogEntry:
        return CatalogEntry(
            name=name, data_hash="a" * 64, catalog_relative_path=f"other/{name}", catalog_handler_location="c",
            stage=stage, size=3,
        )  # fmt: skip

    attempt = AttemptLog(
        attempt_number=1, start_time="2026-03-01 10:00:00+00:00", end_time="2026-03-01 10:00:02+00:00", duration="", status="SUCCESS"
    )  # fmt: skip
    code = CodeIdentity(code_identifier="c", code_identifier_type="git")
    inner = StepLog(
        name="i", internal_name="m.1.i", step_type="task", status="FAIL", attempts=[attempt],
        data_catalog=[entry("got", "get"), entry("lost", "put")],
        objects=[
            ObjectAccess(bucket="in", key="k", action="read", source="s3://b/k", data_hash="b" * 64),
            ObjectAccess(bucket="in", key="got", action="read", source="s3://c/got", data_hash="a" * 64),
            ObjectAccess(bucket="out", key="o", action="write", data_hash="c" * 64),
        ],
        code_identities=[code],
    )  # fmt: skip
    outer = StepLog(
        name="m", internal_name="m", step_type="map", status="FAIL",
        branches={"m.1": BranchLog(internal_name="m.1", steps={"m.1.i": inner})},
    )  # fmt: skip
    end = StepLog(name="fail", internal_name="fail", step_type="fail", status="SUCCESS", attempts=[attempt])
    document = RunLog(
        run_id="r",
        dag_hash="",
        status="FAIL",
        steps={"m": outer, "fail": end},
        parameters={"long": "x" * 9_999},
    )
    header = RunHeader(run_id="r", token="t", started="2026-03-01 09:59:58+00:00", parameters={"initial": 1})
    found = facts_of(header, document)
    assert [(one.step, one.direction, one.name, one.holder) for one in found.uses] == [
        ("m.1.i", "get", "got", "other"), ("m.1.i", "get", "s3://b/k", ""),
    ]  # fmt: skip
    assert found.uses[0].code == (Code("git", "c"),)
    assert (found.summary.seconds, found.summary.files) == (4.0, 0)
    assert found.summary.parameters["initial"] == 1
    assert len(found.summary.parameters["long"]) == 501
    assert unpacked(found.summary, run_record(found, "").files) == list(found.uses)


@pytest.mark.parametrize(
    "line", ["", "{}", "[]", '["run", "a", "v", "w", 7]\t', '["x", "a", "v", "w", true]\t']
)
def test_what_is_no_record_is_torn(line: str) -> None:
    with pytest.raises(TornIndexError):
        records_of_text(f'{{"format": 1, "records": 1}}\n{line}')
