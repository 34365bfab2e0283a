"""The files of a run, from its records."""

from __future__ import annotations

from typing import Any

from airflow_magnus.runlog.contents import contents, contents_of_document, recorded
from airflow_magnus.runlog.document import run_log
from airflow_magnus.runlog.marks import Collection
from airflow_magnus.runlog.records import OUTSIDE, AttemptClosed, CatalogEntry, RunHeader, RunLog
from run_log_builders import closed, graphs, step

DEFINITION = {
    "start_at": "A",
    "steps": {
        "A": {"type": "task", "next": "B", "on_failure": "H"},
        "B": {"type": "parallel", "next": "success", "branches": {}},
        "H": {"type": "task", "next": "success"},
        "success": {"type": "success"},
        "fail": {"type": "fail"},
    },
}
HEADER = RunHeader(run_id="run", token="t", definition=DEFINITION)


def put(name: str, digest: str, key: str = "", stage: Any = "put") -> CatalogEntry:
    return CatalogEntry(
        name=name,
        data_hash=digest,
        catalog_relative_path=key or f"run/{name}",
        catalog_handler_location="c",
        stage=stage,
    )


def at(time: int, name: str, *entries: CatalogEntry, kind: str = "task", **fields: Any) -> AttemptClosed:
    return closed(
        step(name, kind, fields.pop("graph", "")),
        end_time=f"2026-01-01 00:00:{time:02}.000000+00:00",
        data_catalog=list(entries),
        **fields,
    )


def found(*parts: AttemptClosed) -> dict[str, tuple[str, str]]:
    return {
        name: (held.step, held.entry.data_hash) for name, held in contents(HEADER, graphs(*parts)).items()
    }


def test_the_last_step_on_the_way_wins_and_the_step_that_put_is_named() -> None:
    inner = at(2, "x", put("f", "2"), graph="B.one")
    merged = at(3, "B", put("f", "2"), kind="parallel")
    assert found(at(1, "A", put("f", "1"), put("g", "1")), inner, merged) == {
        "f": ("B.one.x", "2"),
        "g": ("A", "1"),
    }


def test_steps_off_the_way_and_failed_ones_have_left_nothing() -> None:
    parts = [at(1, "A", put("a", "1")), at(2, "H", put("h", "1")), at(3, "B", put("b", "1"), status="FAIL")]
    assert found(*parts) == {"a": ("A", "1")}


def test_what_was_put_from_outside_counts_each_time() -> None:
    parts = [
        at(1, "A", put("f", "1")),
        at(2, OUTSIDE, put("f", "2"), kind="put"),
        at(3, OUTSIDE, put("g", "3"), kind="put", number=1),
        at(4, OUTSIDE, put("f", "4"), kind="put", number=2, status="FAIL"),
    ]
    assert found(*parts) == {"f": (OUTSIDE, "2"), "g": (OUTSIDE, "3")}
    document = run_log(HEADER, graphs(*parts))
    assert {e.name: e.data_hash for e in document.steps[OUTSIDE].data_catalog} == {"f": "2", "g": "3"}
    assert document.status == "PROCESSING", "what people put does not end a run"


def test_a_task_that_ran_again_later_wins_over_what_was_put_from_outside() -> None:
    assert found(at(5, "A", put("f", "1")), at(2, OUTSIDE, put("f", "2"), kind="put")) == {"f": ("A", "1")}


def test_a_step_that_was_given_files_is_named_rather_than_the_put() -> None:
    same = put("f", "2", "run/.versions/put/f")
    assert found(at(2, OUTSIDE, same, kind="put"), at(3, "A", same, number=1)) == {"f": ("A", "2")}


def test_every_outcome_counts_as_a_record_also_of_earlier_attempts() -> None:
    parts = [
        at(1, "A", put("f", "1"), number=0),
        at(2, "A", put("f", "2", "run/.versions/x/f"), number=1),
        at(3, "H", put("f", "1", stage="get"), put("z", "9", "else/z", stage="get")),
        at(4, "B", put("f", "2", "run/.versions/x/f"), kind="parallel"),
        at(5, "x", put("lost", "5"), graph="B.one", status="FAIL"),
    ]
    named = {held.place: (held.step, held.recorded[17:19]) for held in recorded(graphs(*parts))}
    assert named == {
        ("run/f", "1"): ("A", "03"),
        ("run/.versions/x/f", "2"): ("A", "04"),
        ("else/z", "9"): ("H", "03"),
    }


def test_the_document_of_another_tool_is_read_at_any_depth() -> None:
    entry = put("f", "1").model_dump()
    inner = {
        "name": "x",
        "internal_name": "B.one.x",
        "status": "SUCCESS",
        "step_type": "task",
        "data_catalog": [entry],
    }
    outer = {"name": "B", "internal_name": "B", "status": "SUCCESS", "step_type": "parallel",
             "branches": {"B.one": {"internal_name": "B.one", "status": "SUCCESS", "steps": {"B.one.x": inner}}}}  # fmt: skip
    log = RunLog.model_validate({"run_id": "run", "dag_hash": "", "steps": {"B": outer}})
    assert {n: (h.step, h.entry.data_hash) for n, h in contents_of_document(log).items()} == {
        "f": ("B.one.x", "1")
    }


def test_a_collection_covers_what_was_recorded_before_it() -> None:
    mark = Collection(run_id="run", at="2026-01-01 00:00:03.000000+00:00")
    assert [mark.covers(f"2026-01-01 00:00:0{second}.000000+00:00") for second in (2, 3, 4)] == [
        True,
        True,
        False,
    ]
    assert mark.covers("")
    assert not mark.model_copy(update={"state": "withdrawn"}).covers("")
