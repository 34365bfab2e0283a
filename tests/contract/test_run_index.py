"""The index of the runs: what it says, what it costs, and that no kill, race or torn text makes it wrong."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_magnus.errors import StoreError
from airflow_magnus.runlog import layout
from airflow_magnus.runlog.index_view import IndexView
from airflow_magnus.runlog.marks import Collection
from airflow_magnus.runlog.records import CatalogEntry, RunHeader, RunLog
from airflow_magnus.runlog.run_query import RunQuery
from airflow_magnus.runlog.summaries import RunSummary
from airflow_magnus.stores import run_index
from airflow_magnus.stores.index_entries import OF_A_SEGMENT
from airflow_magnus.stores.parts import ObjectParts, PartStore
from airflow_magnus.stores.reindexing import reindex
from airflow_magnus.stores.run_index import IndexMemory, RunIndex
from airflow_magnus.stores.runlogs import RunLogStore
from contract_backends import CountedParts
from run_log_builders import step

MAKE, USE, END = step("make"), step("use", position=1), step("success", "success", position=2)


@pytest.fixture
def store(parts: PartStore) -> RunLogStore:
    """A run log of each kind."""
    return RunLogStore(parts)


def begin(store: RunLogStore, run_id: str, **about: Any) -> RunHeader:
    scheduler = {"type": "airflow", "dag_id": "daily", "run_id": f"airflow-{run_id}"}
    header = RunHeader(run_id=run_id, token="t", pipeline="p", scheduler=scheduler, **about)
    store.claim(header)
    return header


def entry(run_id: str, name: str, digit: str, stage: str = "put") -> CatalogEntry:
    return CatalogEntry(
        name=name,
        data_hash=digit * 64,
        catalog_relative_path=f"{run_id}/{name}",
        catalog_handler_location=".catalog",
        stage=stage,  # type: ignore[arg-type]
        size=10,
    )


def work(store: RunLogStore, run_id: str, digit: str = "a") -> None:
    """The steps of a run: one makes ``in.csv``, one reads it and makes ``out.csv``."""
    store.record(run_id, MAKE, "1", {}, status="SUCCESS", data_catalog=[entry(run_id, "in.csv", digit)])
    used = [entry(run_id, "in.csv", digit, "get"), entry(run_id, "out.csv", "f")]
    store.record(run_id, USE, "2", {}, status="SUCCESS", data_catalog=used)
    store.record(run_id, END, "3", {}, status="SUCCESS")


def ended(store: RunLogStore, run_id: str, digit: str = "a", **about: Any) -> RunLog:
    begin(store, run_id, **about)
    work(store, run_id, digit)
    return store.write_document(run_id)


def seen(store: RunLogStore, **how: Any) -> IndexView:
    """What a reader sees that begins with nothing."""
    return RunIndex(store).view(**how)


def statuses(view: IndexView) -> dict[str, str]:
    return {run.run_id: run.status for run in view.runs(RunQuery()).runs}


def unindexed(store: RunLogStore) -> None:
    """The store as it was before there was an index."""
    store.parts.remove(store.parts.list_keys(layout.INDEX))  # type: ignore[attr-defined]


def test_it_says_what_the_run_logs_say(store: RunLogStore) -> None:
    log = ended(store, "one", parameters={"x": 1}, tag="nightly")
    begin(store, "two")
    store.marks.pin("one")
    view = seen(store)
    assert statuses(view) == {"two": "PROCESSING", "one": "SUCCESS"}
    one = view.summaries["one"]
    assert (one.files, one.bytes_stored, one.tag, one.is_pinned) == (2, 20, "nightly", True)
    assert (one.dag_id, one.airflow_run_id, one.parameters) == ("daily", "airflow-one", log.parameters)
    assert one.seconds is not None
    found = [(use.step, use.direction, use.name) for use in view.find_files("a" * 8).uses]
    assert found == [("make", "put", "in.csv"), ("use", "get", "in.csv")]
    assert [use.run_id for use in view.find_files("OUT.").uses] == ["one"]


def test_it_is_the_same_made_anew(store: RunLogStore) -> None:
    for number in range(3):
        ended(store, f"run {number}", str(number))
    begin(store, "goes on")
    store.marks.pin("run 1")
    store.marks.set_collection(Collection(run_id="run 0", state="removed"))
    before = seen(store)
    assert before.summaries["run 0"].is_collected
    assert before.summaries["run 0"].bytes_stored == 0
    unindexed(store)
    by_reading = seen(store)
    unindexed(store)
    done = reindex(store)
    made_anew = seen(store)
    for view in (by_reading, made_anew):
        assert view.summaries == before.summaries
        assert {r: view.uses_of(r) for r in view.summaries} == {
            r: before.uses_of(r) for r in before.summaries
        }
    assert (done.runs, done.files, done.unreadable) == (4, 9, {})


def test_a_run_taken_up_again_names_what_it_has_restored(store: RunLogStore) -> None:
    ended(store, "first")
    begin(store, "second", use_cached=True, original_run_id="first")
    restored = [entry("second", "in.csv", "a")]
    store.record("second", MAKE, "1", {}, status="SUCCESS", mock=True, data_catalog=restored)
    store.record("second", END, "2", {}, status="SUCCESS")
    store.write_document("second")
    said = [("second", "make", "restored")]
    for _ in range(2):
        view = seen(store)
        assert [(u.run_id, u.step, u.direction) for u in view.uses_of("second")] == said
        assert view.summaries["second"].bytes_stored == 10
        unindexed(store)


# kills


class Killed(BaseException):
    """The process is gone."""


class KilledParts:
    """A part store whose process is killed at one of its writes or removals, before or after the store has it."""

    def __init__(self, parts: PartStore, at: int, *, is_done: bool) -> None:
        self._parts, self._left, self._is_done = parts, at, is_done
        self.location = parts.location

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._parts, name)
        if name not in ("create", "put", "remove"):
            return method

        def counted(*arguments: Any) -> Any:
            self._left -= 1
            if self._left == 0 and not self._is_done:
                raise Killed
            given = method(*arguments)
            if self._left == 0:
                raise Killed
            return given

        return counted


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("parts", ["memory", "folder", "sqlite"], indirect=True)
def test_a_run_that_is_killed_at_any_write_is_shown_as_its_records_are(
    parts: PartStore, is_done: bool
) -> None:
    whole = RunLogStore(parts)
    for at in range(1, 100):
        killed = RunLogStore(KilledParts(parts, at, is_done=is_done))  # type: ignore[arg-type]
        run_id = f"run {at}"
        try:
            ended(killed, run_id)
        except Killed:
            pass
        else:
            assert at > 8
            break
        claimed = run_id in whole.run_ids()
        view = seen(whole)
        assert (run_id in view.summaries) == claimed
        if claimed:
            assert (
                view.summaries[run_id].status == whole.read(run_id).status
                if _has_document(whole, run_id)
                else "PROCESSING"
            )
    assert statuses(seen(whole)) == statuses(seen(whole, is_compared=True))


def _has_document(store: RunLogStore, run_id: str) -> bool:
    return bool(store.texts([layout.document_key(run_id)]))


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("parts", ["memory", "sqlite"], indirect=True)
def test_nothing_is_lost_by_a_kill_while_texts_are_put_together(
    parts: PartStore, is_done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_index, "COMPACTED_FROM", 4)
    whole = RunLogStore(parts)
    for at in range(1, 10):
        for number in range(3):
            ended(whole, f"{at}-{number}")
        expected = dict.fromkeys(whole.run_ids(), "SUCCESS")
        try:
            RunIndex(RunLogStore(KilledParts(parts, at, is_done=is_done))).view()  # type: ignore[arg-type]
        except Killed:
            pass
        else:
            break
        assert statuses(seen(whole)) == expected
    assert at > 2
    seen(whole)
    seen(whole)
    assert len(parts.list_keys(layout.NEW_IN_INDEX)) < 4
    assert statuses(seen(whole)) == expected


# what comes after a kill, and other writers


@pytest.mark.parametrize("parts", ["memory", "folder", "sqlite"], indirect=True)
@pytest.mark.parametrize("text", ["", "{", '{"format": 1, "records": 7}\n["run"', "\u2028", '{"format": 9}'])
def test_a_torn_text_is_passed_over_and_what_it_said_is_read_again(
    store: RunLogStore, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    ended(store, "one")
    for key in store.parts.list_keys(layout.INDEX):
        store.parts.put(key, text)
    assert statuses(seen(store)) == {"one": "SUCCESS"}
    assert "is not used" in caplog.text
    reindex(store)
    caplog.clear()
    assert statuses(seen(store)) == {"one": "SUCCESS"}
    assert not caplog.text


def test_a_reader_sees_what_happens_after_it_began(
    store: RunLogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_index, "YOUNG", 0.0)
    index = RunIndex(store)
    assert statuses(index.view()) == {}
    begin(store, "one")
    assert statuses(index.view()) == {"one": "PROCESSING"}
    work(store, "one")
    store.write_document("one")
    assert statuses(index.view()) == {"one": "SUCCESS"}
    store.marks.pin("one")
    assert index.view().summaries["one"].is_pinned
    store.marks.pin("one", is_pinned=False)
    assert not index.view().summaries["one"].is_pinned
    store.reopen("one")
    assert statuses(index.view()) == {"one": "PROCESSING"}


def test_an_end_that_the_index_was_not_told_is_found_by_comparing(store: RunLogStore) -> None:
    begin(store, "one")
    work(store, "one")
    store.parts.put(layout.document_key("one"), store.assemble("one").to_json())
    memory = IndexMemory()
    assert statuses(RunIndex(store, memory).view()) == {"one": "SUCCESS"}
    ahead = dataclasses.replace(
        memory.view.records["run", "one"],  # type: ignore[union-attr]
        written="2999-01-01 00:00:00+00:00",
        version="of a clock that is ahead",
    )
    store.parts.put(layout.index_key("ahead"), run_index_text(ahead))
    assert seen(store).records["run", "one"].version not in ("", "of a clock that is ahead")


def run_index_text(record: Any) -> str:
    from airflow_magnus.runlog.index_texts import text_of_records

    return text_of_records([record])


def test_runs_that_were_removed_are_not_shown(store: RunLogStore, parts: Any) -> None:
    ended(store, "one")
    ended(store, "two")
    parts.remove([*parts.list_keys("one"), layout.document_key("one")])
    assert statuses(seen(store)) == {"two": "SUCCESS"}


def test_a_run_log_that_cannot_be_read_hides_no_other(store: RunLogStore, parts: PartStore) -> None:
    for run_id in ("one", "two", "three"):
        ended(store, run_id)
    unindexed(store)
    parts.put(layout.header_key("one"), "{")
    parts.put(layout.document_key("two"), '{"run_id": "three"}')
    memory = IndexMemory()
    assert statuses(RunIndex(store, memory).view()) == {"three": "SUCCESS"}
    assert set(reindex(store).unreadable) == {"one", "two"}


def test_documents_of_other_tools_are_runs_too(store: RunLogStore, parts: PartStore) -> None:
    log = ended(store, "one").model_copy(update={"run_id": "foreign"})
    parts.put(layout.document_key("foreign"), log.to_json())
    view = seen(store)
    assert view.summaries["foreign"].status == "SUCCESS"
    assert view.summaries["foreign"].pipeline == ""


@pytest.mark.parametrize("parts", ["memory", "folder", "sqlite"], indirect=True)
def test_writers_and_readers_who_put_texts_together_at_once(
    store: RunLogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_index, "COMPACTED_FROM", 5)
    monkeypatch.setattr(run_index, "YOUNG", 0.0)
    readers = [RunIndex(store) for _ in range(3)]

    def write(writer: int) -> None:
        for number in range(6):
            ended(store, f"{writer}-{number}")

    def read(index: RunIndex) -> None:
        for _ in range(12):
            index.view()

    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(write, writer) for writer in range(3)]
        jobs += [pool.submit(read, index) for index in readers]
        for job in jobs:
            job.result()
    expected = {f"{writer}-{number}": "SUCCESS" for writer in range(3) for number in range(6)}
    for index in [*readers, RunIndex(store)]:
        assert statuses(index.view(is_compared=True)) == expected


def test_a_store_that_refuses_the_index_stops_no_run(
    store: RunLogStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put = store.parts.put

    def refused(key: str, text: str) -> str | None:
        if key.startswith(".index"):
            raise StoreError("no right to write there")
        return put(key, text)

    monkeypatch.setattr(store.parts, "put", refused)
    monkeypatch.setattr(run_index, "YOUNG", 0.0)
    ended(store, "one")
    assert "was not told" in caplog.text
    index = RunIndex(store)
    assert statuses(index.view()) == statuses(index.view()) == {"one": "SUCCESS"}


# costs


def test_a_run_costs_two_writes(counted: CountedParts) -> None:
    store = RunLogStore(counted)  # type: ignore[arg-type]
    begin(store, "one")
    assert counted.spent() == {"read": 1, "create": 1, "put": 1}
    work(store, "one")
    counted.spent()
    store.write_document("one")
    spent = dict(counted.spent())
    assert (spent["put"], spent["read"]) == (2, 4), "the document and its entry; header and three outcomes"


def test_what_reading_costs(counted: CountedParts, monkeypatch: pytest.MonkeyPatch) -> None:
    store, memory = RunLogStore(counted), IndexMemory()  # type: ignore[arg-type]
    _fill(store, 10_000)
    counted.spent()
    view = RunIndex(store, memory).view()
    assert len(view.summaries) == 10_000
    segments = 10_000 // OF_A_SEGMENT
    assert counted.spent() == {"list_keys": 1, "read": segments, "listing": 3}
    assert RunIndex(store, memory).view() is view
    assert counted.spent() == {}
    monkeypatch.setattr(run_index, "YOUNG", 0.0)
    ended(store, "newest")
    counted.spent()
    assert next(iter(RunIndex(store, memory).view().summaries)) == "newest"
    assert counted.spent() == {"list_keys": 1, "read": 2}
    assert len(view.runs(RunQuery(limit=20, status="SUCCESS")).runs) == 20
    assert {use.run_id for use in view.find_files("out-77.csv").uses} == {"run 00077"}
    assert counted.spent() == {}


def test_runs_without_entries_are_read_some_at_a_time(counted: CountedParts) -> None:
    store = RunLogStore(counted)  # type: ignore[arg-type]
    for number in range(5):
        ended(store, f"run {number}")
    unindexed(store)
    memory = IndexMemory()
    view = RunIndex(store, memory).view(most_read=2)
    assert (len(view.summaries), view.unread) == (2, 3)
    assert RunIndex(store, memory).view(is_compared=True, most_read=2).unread == 1
    assert statuses(seen(store)) == {f"run {n}": "SUCCESS" for n in range(5)}


def _fill(store: RunLogStore, count: int) -> None:
    """So many runs of 20 files, indexed."""
    from airflow_magnus.runlog.index_texts import run_record
    from airflow_magnus.runlog.summaries import FileUse, RunFacts
    from airflow_magnus.stores.index_entries import IndexEntries

    parts: ObjectParts = store.parts
    records = []
    for number in range(count):
        run_id = f"run {number:05}"
        version = parts.put(layout.document_key(run_id), "{}")
        summary = RunSummary(run_id=run_id, pipeline="p", status="SUCCESS", start=f"2022-01-18 {number:06}")
        uses = [
            FileUse(run_id, "p", "make", 0, "put", f"out-{number}.csv", f"{number:064x}", 1, summary.start)
            for _ in range(20)
        ]
        records.append(run_record(RunFacts(summary, tuple(uses)), version))
    IndexEntries(parts).write_segments(records)


def test_a_part_store_of_another_package_needs_no_more_than_its_five_methods(counted: CountedParts) -> None:
    names = ("create", "put", "read", "list_keys", "list_runs")
    few = SimpleNamespace(location="elsewhere", **{name: getattr(counted, name) for name in names})
    store = RunLogStore(few)  # type: ignore[arg-type]
    begin(store, "one")
    work(store, "one")
    store.parts.put(layout.document_key("one"), store.assemble("one").to_json())
    assert statuses(seen(store)) == {"one": "SUCCESS"}
    assert reindex(store).runs == 1
    assert statuses(seen(store)) == {"one": "SUCCESS"}


def test_texts_are_lines_that_say_how_many_they_are(counted: CountedParts) -> None:
    store = RunLogStore(counted)  # type: ignore[arg-type]
    begin(store, "one")
    (key,) = store.parts.list_keys(layout.INDEX)
    first, *lines = store.parts.read([key])[key].split("\n")
    assert json.loads(first) == {"format": 1, "records": 1}
    assert len(lines) == 1
