"""Run logs that somebody else has written into: an error that names the object, and all other runs as before."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import obstore  # noqa: TID253 - the tests write to the store beside the code under test
import pytest

from airflow_magnus.errors import (
    ConfigurationError,
    MagnusError,
    ParameterError,
    RecordError,
    RunNotFoundError,
)
from airflow_magnus.operators.session import StepSession
from airflow_magnus.runlog import layout
from airflow_magnus.runlog.records import RunHeader, StepIdentity
from airflow_magnus.stores import parts as parts_module
from airflow_magnus.stores.objects import open_object_store
from airflow_magnus.stores.parts import ObjectParts, PartStore
from airflow_magnus.stores.runlogs import RunLogStore

DEFINITION = {
    "start_at": "A",
    "steps": {
        "A": {"type": "task", "next": "success"},
        "success": {"type": "success"},
        "fail": {"type": "fail"},
    },
}
A = StepIdentity(name="A", internal_name="A", step_type="task")
BAD = "bad"
HEADER, DOCUMENT = layout.header_key(BAD), layout.document_key(BAD)
CLOSE = layout.part_key(BAD, "", "A", 0, "close")
OPEN = layout.part_key(
    BAD, "", "A", 1, "open"
)  # goes on: of an attempt with an outcome nobody reads the claim


@pytest.fixture(params=["folder", "sqlite", "moto"])
def store(parts: PartStore) -> RunLogStore:
    """Three whole runs, of which one is about to be poisoned."""
    made = RunLogStore(parts)
    for run_id in ("good-1", BAD, "good-2"):
        made.claim(RunHeader(run_id=run_id, token=run_id, definition=DEFINITION, parameters={"x": 1}))
        made.record(run_id, A, "a", {}, status="SUCCESS", parameters={"y": 2})
        made.record(run_id, StepIdentity(name="success", internal_name="success", step_type="success"), "s", {},
                    status="SUCCESS")  # fmt: skip
        made.write_document(run_id)
    return made


@pytest.fixture
def parts(request: pytest.FixtureRequest, tmp_path: Path) -> PartStore:
    from contract_writers import Place

    kind = getattr(request, "param", "folder")
    if kind == "sqlite":
        return Place("sqlite", f"sqlite:///{tmp_path}/runs.db").open()
    if kind == "moto":
        server = request.getfixturevalue("moto")
        return Place("moto", f"s3://{server.make_bucket()}/p", server).open()
    return Place("folder", str(tmp_path / "runs")).open()


def changed(text: str, **values: Any) -> str:
    return json.dumps({**json.loads(text), **values})


def with_raw(text: str, raw: str) -> str:
    """The JSON of an object with one more member, written as it is."""
    return text.rstrip()[:-1].rstrip() + f", {raw}}}"


POISON: dict[str, Callable[[str], str]] = {
    "nothing": lambda _: "",
    "no JSON": lambda _: "<html>the proxy is out of order</html>",
    "half of it": lambda text: text[: len(text) // 2],
    "another kind of value": lambda _: "[1, 2]",
    "null": lambda _: "null",
    "deep lists": lambda _: "[" * 200_000,
    "a deep member": lambda text: with_raw(text, '"parameters": ' + '{"a":' * 5_000 + "1" + "}" * 5_000),
    "huge": lambda _: '{"run_id": "' + "x" * 30_000_000,
    "a number of a million digits": lambda text: with_raw(text, '"more": ' + "9" * 1_000_000),
    "a key twice": lambda text: with_raw(text, '"more": 1, "more": 2'),
    "a key twice, deep inside": lambda text: with_raw(text, '"more": [{"a": {"b": 1, "b": 1}}]'),
    "half a character": lambda text: with_raw(text, '"more": "\\ud800"'),
    "a number for a text": lambda text: changed(text, run_id=3, step=4),
}
OWN = {
    HEADER: {"NaN for a text": {"run_id": float("nan")}, "the header of another run": {"run_id": "good-1"}},
    OPEN: {"NaN for a number": {"number": float("nan")}, "a step that is none": {"step": {"name": "A"}}},
    CLOSE: {"infinity for a number": {"number": float("inf")}, "a status that is none": {"status": "MAYBE"}},
    DOCUMENT: {"NaN for a text": {"status": float("nan")}, "steps that are none": {"steps": {"A": float("nan")}}},
}  # fmt: skip
CASES = [(key, name) for key in (HEADER, OPEN, CLOSE, DOCUMENT) for name in (*POISON, *OWN[key])]


@pytest.mark.parametrize("store", ["folder"], indirect=True)
@pytest.mark.parametrize(("key", "name"), CASES, ids=[f"{key}: {name}" for key, name in CASES])
def test_a_poisoned_object_is_named_and_all_other_runs_are_there(
    store: RunLogStore, parts: PartStore, key: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    if key == OPEN:
        store.open_attempt(BAD, A, "b", {})
    text = parts.read([key])[key]
    parts.put(key, POISON[name](text) if name in POISON else changed(text, **OWN[key][name]))
    _check_named(store, key, caplog)


@pytest.mark.parametrize("store", ["sqlite", "moto"], indirect=True)
@pytest.mark.parametrize("key", [HEADER, CLOSE, DOCUMENT])
def test_a_poisoned_object_of_another_store_is_named(
    store: RunLogStore, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    parts = store._parts
    parts.put(key, POISON["a key twice"](parts.read([key])[key]))
    _check_named(store, key, caplog)


def _check_named(store: RunLogStore, key: str, caplog: pytest.LogCaptureFixture) -> None:
    started = time.monotonic()
    if key == DOCUMENT:
        asks: list[Callable[[], Any]] = [lambda: store.read(BAD), lambda: store.find(BAD)]
    elif key == HEADER:
        asks = [lambda: store.header(BAD), lambda: store.assemble(BAD)]
    else:
        asks = [lambda: store.graph(BAD, ""), lambda: store.assemble(BAD), lambda: store.write_document(BAD)]
    for ask in asks:
        with pytest.raises(RecordError) as caught:
            ask()
        assert f"{store.location}/{key} cannot be read: " in str(caught.value)
        assert len(str(caught.value)) < 1_000, "and does not repeat what is there"
        str(caught.value).encode()
    with caplog.at_level(logging.WARNING):
        caplog.clear()
        listed = [log.run_id for log in store.summaries()]
    is_listed = key not in (HEADER, DOCUMENT)  # the list reads no parts
    assert listed == ["good-1", *([BAD] if is_listed else []), "good-2"]
    assert [f"{store.location}/{key}" in entry.getMessage() for entry in caplog.records] == [True] * (
        not is_listed
    )
    assert store.latest() == "good-2"
    assert store.find("good-1").parameters == {"x": 1, "y": 2}
    with pytest.raises(RunNotFoundError):
        store.find("manual__nowhere")
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("store", ["folder"], indirect=True)
def test_bytes_that_are_no_text_are_named(
    store: RunLogStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outside = open_object_store(str(tmp_path / "runs"))
    obstore.put(outside, HEADER, b"\xff\xfe\x00{")
    _check_named(store, HEADER, caplog)


@pytest.mark.parametrize("store", ["folder"], indirect=True)
def test_an_object_of_a_size_that_no_run_log_has_is_not_read(
    store: RunLogStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with (tmp_path / "runs" / DOCUMENT).open("r+b") as file:
        file.truncate(100 * 1024**3)  # there are no blocks of it on the disk
    _check_named(store, DOCUMENT, caplog)


@pytest.mark.parametrize("store", ["folder"], indirect=True)
def test_a_poisoned_document_is_made_anew_by_the_next_end_of_the_run(store: RunLogStore) -> None:
    for write in (store.write_document, store.reopen):
        store._parts.put(DOCUMENT, "{")
        write(BAD)
        assert store.read(BAD).parameters == {"x": 1, "y": 2}
    assert store.read(BAD).status == "PROCESSING"


@pytest.mark.parametrize("store", ["folder"], indirect=True)
@pytest.mark.parametrize(
    "values",
    [
        {"definition": {"start_at": "A", "steps": 3}},
        {"definition": {"start_at": ["A"], "steps": {"A": None}}},
        {"definition": {"start_at": "A", "steps": {"A": {"type": "task", "next": "A"}}}},
        {"definition": {"start_at": "A", "steps": {"A": {"type": "task"}, "fail": {"type": "fail"}}}},
        {"definition": {**DEFINITION, "steps": {**DEFINITION["steps"], "A": {"type": "task", "next": "A"}}}},  # type: ignore[dict-item]
        {"scheduler": {"type": "command", "pid": "x"}, "started": "yesterday"},
        {"parameters": {"a": "\u0000\u202e"}, "sub_definitions": {"A": {"start_at": "A"}}},
    ],
)
def test_a_header_that_says_nonsense_is_named_or_read_and_never_a_crash(
    store: RunLogStore, values: dict[str, Any]
) -> None:
    import socket

    parts = store._parts
    values.get("scheduler", {}).update(hostname=socket.gethostname())
    parts.put(HEADER, changed(parts.read([HEADER])[HEADER], **values))
    with suppress(RecordError):
        store.assemble(BAD)
    assert {"good-1", "good-2"} <= {log.run_id for log in store.summaries()}


@pytest.mark.parametrize("store", ["folder"], indirect=True)
def test_times_that_are_none_are_no_crash(store: RunLogStore) -> None:
    parts = store._parts
    times = {"start_time": "2026-01-01", "end_time": "in the morning"}
    parts.put(CLOSE, changed(parts.read([CLOSE])[CLOSE], **times))
    assert store.assemble(BAD).steps["A"].attempts[0].duration == ""


@pytest.mark.parametrize("store", ["folder"], indirect=True)
@pytest.mark.parametrize(
    "text", ["{", '{"run_id": 1}', '{"run_id": "good-1", "key": "good-1/run.json"}', "[" * 9_999]
)
def test_a_poisoned_fingerprint_means_that_the_step_runs(store: RunLogStore, text: str) -> None:
    store._parts.put(layout.fingerprint_key("f" * 64), text)
    assert store.with_fingerprint("f" * 64) is None


@pytest.mark.parametrize("store", ["folder"], indirect=True)
def test_keys_that_are_none_of_ours_are_passed_over(store: RunLogStore) -> None:
    before = store.assemble(BAD)
    for key in (
        "notes.txt",
        "A/0000.open.json.bak",
        "A/x.close.json",
        "A/0000.close.json.claims/1",
        "0000.open.json",
    ):
        store._parts.put(f"{BAD}/steps/@/{key}", "[[[")
    assert store.assemble(BAD) == before
    assert store.open_attempt(BAD, A, "next", {}).opened.number == 1


# run ids

ODD_IDS = ["1", "10", "1.2", "é", "e\u0301", "A", "a", "a b", "100%", "%2e%2e", "a%2Fb", "a+b&c=d", "*", "?", "~", "a#1",
           "$(id)", "${x}", "{{ run_id }}", "`id`", "'\"", "🙂", "x" * 240]  # fmt: skip


@pytest.mark.parametrize("run_id", ["../../x", "..", ".", "", " ", ".hidden", "/etc", "a/b", "a//b", "a\\b", "a\nb", "a\0b",
                                    "\udcff", "x" * 241, "é" * 121, "1.json", "\u202ea"])  # fmt: skip
def test_a_run_id_that_leads_elsewhere_is_refused_without_a_request(store: RunLogStore, run_id: str) -> None:
    before = store.run_ids()
    with pytest.raises(ConfigurationError, match="cannot be the id of a run"):
        store.claim(RunHeader.model_construct(run_id=run_id, token="t"))
    for ask in (store.header, store.read, store.find, store.locate, store.assemble):
        with pytest.raises(RunNotFoundError, match="no run"):
            ask(run_id)
    assert store.run_ids() == before


@pytest.mark.parametrize("kind", ["folder", "sqlite", "moto"])
def test_runs_whose_ids_differ_by_little_are_apart(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    from contract_writers import Place

    server = request.getfixturevalue("moto") if kind == "moto" else None
    urls = {"folder": str(tmp_path / "runs"), "sqlite": f"sqlite:///{tmp_path}/runs.db"}
    store = Place(kind, f"s3://{server.make_bucket()}/p" if server else urls[kind], server).run_log()
    for run_id in ODD_IDS:
        store.claim(RunHeader(run_id=run_id, token=run_id))
    for run_id in ODD_IDS:
        store.record(run_id, A, run_id, {}, status="SUCCESS", parameters={"own": run_id})
        store.write_document(run_id)
    assert store.run_ids() == sorted(ODD_IDS)
    assert sorted(log.run_id for log in store.summaries()) == sorted(ODD_IDS)
    for run_id in ODD_IDS:
        assert store.header(run_id).token == run_id
        assert store.read(run_id).parameters == store.assemble(run_id).parameters == {"own": run_id}
        assert [len(h.attempts) for h in store.graph(run_id, "").values()] == [1]


# what this package itself would write


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("levels", [200, 230, 300, 2_000])
def test_nothing_is_written_that_could_not_be_read_again(levels: int, tmp_path: Path) -> None:
    """Readers of JSON give up at 200 levels, writers only at 255: between them a run was lost by its own record."""
    parts = ObjectParts(open_object_store(str(tmp_path)), "there")
    store = RunLogStore(parts)
    with pytest.raises(RecordError, match="nested"):
        store.claim(RunHeader(run_id="1", token="t", parameters={"x": nested(levels)}))
    opened = store.open_attempt("1", A, "a", {}).opened
    with pytest.raises(RecordError, match=r"1/steps/@/A/0000\.close\.json cannot be recorded"):
        store.close("1", opened.ended(status="SUCCESS", parameters={"x": nested(levels)}))
    store.close("1", opened.ended(status="SUCCESS", parameters={"x": nested(100)}))
    assert store.graph("1", "")["A"].status == "SUCCESS"
    assert store.run_ids() == ["1"]
    with pytest.raises(MagnusError):
        store.header("1")


@pytest.mark.parametrize(("levels", "is_good"), [(1, True), (100, True), (101, False), (5_000, False)])
def test_a_parameter_that_is_nested_too_deeply_is_refused_when_it_is_set(levels: int, is_good: bool) -> None:
    session = StepSession.__new__(StepSession)
    session.parameters, session.set_parameters, session.metrics = {}, {}, {}
    if is_good:
        session.set_values({"x": nested(levels)})
        session._on_track({"m": nested(levels)})
        return
    with pytest.raises(ParameterError, match=r"'x'.*(nested deeper than 100 levels|recursion)"):
        session.set_values({"x": nested(levels)})
    with pytest.raises(ParameterError, match="'m' is nested deeper than 100 levels"):
        session._on_track({"m": nested(levels)})
    assert (session.parameters, session.metrics) == ({}, {})


def test_the_limit_of_an_object_is_far_from_any_run_log() -> None:
    assert parts_module.MAX_BYTES >= 256 * 1024**2
