"""What a run log promises, whatever its parts are kept in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from airflow_magnus.errors import AttemptLostError, RunIdTakenError, RunNotFoundError
from airflow_magnus.runlog import layout
from airflow_magnus.runlog.history import before_first_step, visible
from airflow_magnus.runlog.records import AttemptClosed, AttemptOpened, RunHeader, RunLog, StepIdentity
from airflow_magnus.stores.parts import PartStore
from airflow_magnus.stores.runlogs import RunLogStore
from contract_backends import CountedParts
from run_log_builders import entry

RUN = "run-1"
DEFINITION = {
    "start_at": "A",
    "steps": {
        "A": {"type": "task", "next": "B", "on_failure": "H"},
        "H": {"type": "task", "next": "C"},
        "B": {"type": "task", "next": "C"},
        "C": {"type": "task", "next": "success"},
        "success": {"type": "success"},
        "fail": {"type": "fail"},
    },
}
KINDS = {"success": "success", "fail": "fail"}


def identity(name: str, graph: str = "") -> StepIdentity:
    return StepIdentity(
        name=name,
        internal_name=f"{graph}.{name}" if graph else name,
        graph_name=graph,
        step_type=KINDS.get(name, "task"),
        position="ABHC".find(name),
    )


def header(run_id: str = RUN, token: str = "mine") -> RunHeader:
    return RunHeader(run_id=run_id, token=token, definition=DEFINITION)


def airflow(token: str = "mine", start: str = "10:00", clear: int = 0, run_after: str = "09:59") -> RunHeader:
    scheduler = {
        "type": "airflow",
        "dag_id": "dag",
        "run_id": "manual",
        "run_after": run_after,
        "first_start": start,
        "clear_number": clear,
    }
    return header("dag.manual", token).model_copy(update={"scheduler": scheduler})


@pytest.fixture
def store(parts: PartStore) -> RunLogStore:
    return RunLogStore(parts)


@pytest.fixture
def memory(counted: CountedParts) -> RunLogStore:
    """In memory, with its calls counted, for what the kind of store has no part in."""
    return RunLogStore(counted)  # type: ignore[arg-type]


def run(store: RunLogStore, name: str, status: str = "SUCCESS", graph: str = "", **outcome: Any) -> None:
    """One attempt of a step, from its beginning to its end."""
    store.record(RUN, identity(name, graph), f"{name}-id", {}, status=status, **outcome)


def identity_opened(name: str) -> AttemptOpened:
    return AttemptOpened(step=identity(name), number=0, attempt_id="id")


def end_of(opened: Any, **outcome: Any) -> AttemptClosed:
    return AttemptClosed(
        step=opened.step,
        number=opened.number,
        attempt_id=opened.attempt_id,
        start_time=opened.start_time,
        **{"status": "SUCCESS", **outcome},
    )


# run ids


def test_a_run_id_is_used_once(store: RunLogStore) -> None:
    store.claim(header(token="first"))
    with pytest.raises(RunIdTakenError, match=f"'{RUN}' is taken"):
        store.claim(header(token="second"))
    assert store.header(RUN).token == "first"


def test_the_document_of_another_tool_is_kept(store: RunLogStore, parts: PartStore) -> None:
    parts.put(layout.document_key(RUN), '{"run_id": "run-1"}')
    with pytest.raises(RunIdTakenError, match=f"'{RUN}' is taken"):
        store.claim(header())
    parts.put(layout.document_key("dag.manual"), '{"run_id": "dag.manual"}')
    assert store.claim_for(airflow(), lambda candidate: candidate).run_id == "dag.manual.2"
    assert parts.read(["dag.manual.json"])["dag.manual.json"] == '{"run_id": "dag.manual"}'


def test_a_run_that_is_not_there_is_named(store: RunLogStore) -> None:
    for ask in (store.header, store.read, store.assemble, store.find):
        with pytest.raises(RunNotFoundError, match="'nowhere'"):
            ask("nowhere")


def test_tasks_of_one_airflow_run_find_one_header(store: RunLogStore) -> None:
    first = store.claim_for(airflow("task 1"), lambda h: h.model_copy(update={"tag": "found out"}))
    second = store.claim_for(airflow("task 2"), _never)
    assert first == second == store.header("dag.manual")
    assert (first.run_id, first.token, first.tag) == ("dag.manual", "task 1", "found out")


def _never(_: RunHeader) -> RunHeader:
    raise AssertionError("the run has its header already")


def test_tasks_that_start_at_once_find_one_header(store: RunLogStore) -> None:
    if not store.is_conditional:
        return _one_after_the_other(store)
    start = Barrier(4)

    def claim(number: int) -> RunHeader:
        start.wait()
        return store.claim_for(airflow(f"task {number}"), lambda h: h)

    with ThreadPoolExecutor(4) as pool:
        headers = list(pool.map(claim, range(4)))
    assert len({(h.run_id, h.token) for h in headers}) == 1
    assert store.run_ids() == ["dag.manual"]
    return None


def _one_after_the_other(store: RunLogStore) -> None:
    """Where a server ignores conditions nobody can promise more."""
    headers = [store.claim_for(airflow(f"task {number}"), lambda h: h) for number in range(4)]
    assert {(h.run_id, h.token) for h in headers} == {("dag.manual", "task 0")}


def test_a_run_made_again_under_its_old_id_gets_a_number(store: RunLogStore) -> None:
    def same(h: RunHeader) -> RunHeader:
        return h

    first = store.claim_for(airflow("1", start="10:00"), same)
    second = store.claim_for(airflow("2", start="11:00"), same)
    third = store.claim_for(airflow("3", start="12:00", run_after="11:59"), same)
    assert [h.run_id for h in (first, second, third)] == ["dag.manual", "dag.manual.2", "dag.manual.3"]
    assert store.claim_for(airflow("4", start="11:00"), _never).token == "2"


def test_a_cleared_run_finds_its_own_header(store: RunLogStore) -> None:
    def same(h: RunHeader) -> RunHeader:
        return h

    store.claim_for(airflow("old", start="10:00"), same)
    store.claim_for(airflow("mine", start="11:00"), same)
    store.claim_for(airflow("other", start="12:00", run_after="11:59"), same)
    assert store.claim_for(airflow("cleared", start="13:00", clear=1), _never).token == "mine"
    assert store.claim_for(airflow("cleared", start="14:00", clear=2), _never).token == "mine"


def test_a_run_that_is_cleared_before_it_had_a_header_gets_one(store: RunLogStore) -> None:
    assert store.claim_for(airflow("mine", clear=3), lambda h: h).token == "mine"


def test_runs_are_found_by_airflows_id(store: RunLogStore) -> None:
    store.claim_for(airflow("1"), lambda h: h)
    assert store.find("manual").run_id == "dag.manual"
    store.claim_for(airflow("2", start="11:00"), lambda h: h)
    with pytest.raises(RunNotFoundError, match=r"dag\.manual, dag\.manual\.2"):
        store.find("manual")
    assert [h.run_id for h in store.headers()] == ["dag.manual", "dag.manual.2"]
    assert [(s.run_id, s.status) for s in store.summaries()] == [
        ("dag.manual", "PROCESSING"),
        ("dag.manual.2", "PROCESSING"),
    ]


# attempts


def test_attempts_are_numbered_on(store: RunLogStore) -> None:
    a = identity("A")
    for number in range(3):
        attempt = store.open_attempt(RUN, a, f"try {number}", {"try_number": number + 1})
        assert attempt.opened.number == number
        assert attempt.carried is None
        store.close(RUN, attempt.opened.ended(status="SUCCESS" if number == 2 else "FAIL"))
    found = store.graph(RUN, "")["A"]
    assert [(n, t.status) for n, t in sorted(found.attempts.items())] == [
        (0, "FAIL"),
        (1, "FAIL"),
        (2, "SUCCESS"),
    ]
    assert found.attempts[1].opened.scheduler == {"try_number": 2}


def test_an_attempt_that_was_left_open_is_closed_by_the_next(store: RunLogStore) -> None:
    a = identity("A")
    store.open_attempt(RUN, a, "killed", {"hostname": "gone"})
    second = store.open_attempt(RUN, a, "next", {})
    assert second.opened.number == 1
    first = store.graph(RUN, "")["A"].attempts[0]
    assert first.status == "FAIL"
    assert first.closed is not None
    assert "killed" in first.closed.message
    assert first.closed.scheduler == {"hostname": "gone"}


def test_a_zombie_learns_that_it_was_taken_for_dead(store: RunLogStore) -> None:
    a = identity("A")
    zombie = store.open_attempt(RUN, a, "zombie", {}).opened
    later = store.open_attempt(RUN, a, "later", {}).opened
    with pytest.raises(AttemptLostError, match="taken for dead"):
        store.close(RUN, end_of(zombie, parameters={"x": "of the zombie"}))
    store.close(RUN, end_of(later, parameters={"x": "of the later"}))
    with pytest.raises(AttemptLostError):
        store.close(RUN, end_of(zombie, parameters={"x": "of the zombie"}, data_catalog=[entry("f")]))
    seen = visible(before_first_step(header()), ["A"], store.graph(RUN, "", ["A"]))
    assert (dict(seen.parameters), dict(seen.entries)) == ({"x": "of the later"}, {})


def test_a_step_that_was_closed_is_not_closed_again_from_outside(store: RunLogStore) -> None:
    opened = store.open_attempt(RUN, identity("A"), "id", {}).opened
    store.close(RUN, end_of(opened))
    store.close_left_open(RUN, opened)
    assert store.graph(RUN, "")["A"].status == "SUCCESS"


def test_a_resumed_attempt_goes_on_with_what_it_carried(store: RunLogStore) -> None:
    a = identity("A")
    store.record(RUN, a, "earlier try", {}, status="FAIL")
    first = store.open_attempt(RUN, a, "deferred", {}).opened
    store.carry(RUN, end_of(first, parameters={"x": 1}))
    store.carry(RUN, end_of(first, parameters={"x": 2}, data_catalog=[entry("f")]))
    resumed = store.open_attempt(RUN, a, "deferred", {})
    assert resumed.opened == first
    assert resumed.carried is not None
    assert resumed.carried.parameters == {"x": 2}
    assert [e.name for e in resumed.carried.data_catalog] == ["f"]
    assert store.graph(RUN, "")["A"].status == "PROCESSING"
    assert store.graph(RUN, "", ["A"])["A"].status == "PROCESSING"
    store.close(RUN, end_of(resumed.opened))
    assert store.open_attempt(RUN, a, "cleared", {}).opened.number == 2


def test_an_attempt_that_is_opened_twice_is_one(store: RunLogStore) -> None:
    a = identity("A")
    assert store.open_attempt(RUN, a, "id", {}) == store.open_attempt(RUN, a, "id", {})


def test_steps_whose_names_differ_by_little_are_apart(store: RunLogStore) -> None:
    for name in ("a", "A", "a ", "a_", "a%", "ab", "a/b", "x" * 300 + "1", "x" * 300 + "2"):
        assert store.open_attempt(RUN, identity(name), "id", {}).opened.number == 0, name
    assert len(store.graph(RUN, "")) == 9


def test_graphs_are_apart(store: RunLogStore) -> None:
    run(store, "A")
    run(store, "A", graph="p.one")
    run(store, "A", graph="p.one.m.item")
    assert list(store.graph(RUN, "")) == ["A"]
    for graph, name in (("", "A"), ("p.one", "p.one.A"), ("p.one.m.item", "p.one.m.item.A")):
        assert {key: found.internal_name for key, found in store.graph(RUN, graph).items()} == {"A": name}
    assert sorted(store.graphs(RUN)) == ["", "p.one", "p.one.m.item"]
    assert store.graph(RUN, "p") == {}


@pytest.mark.parametrize("others", [0, 20])
def test_the_graphs_that_are_named_are_read_and_no_others(store: RunLogStore, others: int) -> None:
    """Of few graphs and of many, whatever their names: of each step the latest attempt."""
    odd = ["@", "a/b", "x" * 300 + "1", "x" * 300 + "2", "ü~2", ""]
    names = [f"m.{text}" for text in odd] + [f"m.{number}" for number in range(others)]
    for name in ["", "not asked for", *names]:
        run(store, "A", "FAIL", graph=name)
        run(store, "A", graph=name)
    found = store.graphs(RUN, names)
    assert sorted(found) == sorted(names)
    assert {tuple(graph) for graph in found.values()} == {("A",)}
    assert {tuple(graph["A"].attempts) for graph in found.values()} == {(1,)}
    assert store.graphs(RUN, [*names[:2], "never ran"]).keys() == set(names[:2])
    assert store.graphs(RUN, []) == {}


def test_the_branches_of_an_attempt_are_kept_with_it(store: RunLogStore) -> None:
    items: list[Any] = [1, 1.0, True, None, "1", {"b": [1]}, ""]
    names = ["1", "1.0", "true", "null", "1~2", "x", "~e"]
    opened = store.open_attempt(RUN, identity("A"), "id", {}, branches=names, items=items).opened
    found = store.graph(RUN, "")["A"].latest.opened
    assert (found, found.branches) == (opened, names)
    assert [(type(item), item) for item in found.items] == [(type(item), item) for item in items]
    store.close(RUN, opened.ended(status="SUCCESS"))
    closed = store.graph(RUN, "", ["A"])["A"].latest.closed
    assert closed is not None
    assert (closed.branches, closed.items) == (names, items)


def test_an_attempt_is_the_first_until_one_has_ended_by_itself(store: RunLogStore) -> None:
    a = identity("A")
    first = store.open_attempt(RUN, a, "killed", {})
    second = store.open_attempt(RUN, a, "next", {})
    assert (first.is_first, second.is_first, second.opened.number) == (True, True, 1)
    store.close(RUN, end_of(second.opened))
    for _ in range(2):  # and again when it resumes
        third = store.open_attempt(RUN, a, "cleared", {})
        assert (third.is_first, third.opened.number) == (False, 2)


def test_an_outcome_is_appended_under_the_next_number_that_is_free(store: RunLogStore) -> None:
    a = identity("A")
    opened = store.open_attempt(RUN, a, "id", {}).opened
    store.append(RUN, opened.ended(status="SUCCESS", message="first"))
    store.append(RUN, opened.ended(status="FAIL", message="second"))
    store.append_all(RUN, [opened.ended(status="SUCCESS", message="third")])
    found = store.graph(RUN, "")["A"]
    assert [(n, t.status, t.closed.message) for n, t in sorted(found.attempts.items()) if t.closed] == [
        (0, "SUCCESS", "first"),
        (1, "FAIL", "second"),
        (2, "SUCCESS", "third"),
    ]


def test_many_outcomes_are_appended_at_once(store: RunLogStore) -> None:
    ends = [
        AttemptClosed(
            step=identity("success", f"m.{number}"), number=0, attempt_id=str(number), start_time="", status="SUCCESS"
        )
        for number in range(30)
    ]  # fmt: skip
    store.append_all(RUN, ends)
    store.append_all(RUN, [])
    found = store.graphs(RUN)
    assert sorted(found) == sorted(f"m.{number}" for number in range(30))
    assert {tuple(graph["success"].attempts) for graph in found.values()} == {(0,)}


def test_only_the_steps_asked_for_are_read(memory: RunLogStore, counted: CountedParts) -> None:
    for name in "ABC":
        for _ in range(3):
            run(memory, name)
    counted.spent()
    found = memory.graph(RUN, "", ["A", "C", "never ran"])
    assert counted.spent() == {"list_keys": 1, "read": 2}
    assert sorted(found) == ["A", "C"]
    assert found["A"].latest.opened.number == 2


# documents


def test_the_document_follows_the_way_of_the_run(store: RunLogStore) -> None:
    store.claim(header().model_copy(update={"parameters": {"x": 0}}))
    assert store.read(RUN).status == "PROCESSING"
    run(store, "A", "FAIL", message="boom")
    run(store, "B", parameters={"x": "stale"})
    run(store, "H", parameters={"x": 1})
    run(store, "C")
    assert store.read(RUN).status == "PROCESSING"
    run(store, "success")
    written = store.write_document(RUN)
    assert store.read(RUN) == written
    assert (written.status, list(written.steps)) == ("SUCCESS", ["A", "H", "C", "success"])
    assert written.parameters == {"x": 1}
    assert written.steps["A"].attempts[0].message == "boom"
    assert store.run_ids() == [RUN]


def test_a_reopened_run_says_so_and_can_be_ended_again(store: RunLogStore) -> None:
    store.claim(header())
    store.reopen(RUN)
    for name in ("A", "B", "C"):
        run(store, name)
    run(store, "success")
    store.write_document(RUN)
    store.reopen(RUN)
    assert store.read(RUN).status == "PROCESSING"
    store.reopen(RUN)
    run(store, "C", "FAIL")
    run(store, "fail")
    written = store.write_document(RUN)
    assert (written.status, [t.attempt_number for t in written.steps["C"].attempts]) == ("FAIL", [0, 1])
    assert store.read(RUN) == written


def test_a_run_without_a_graph_has_all_its_steps(store: RunLogStore) -> None:
    """Of a hand-written DAG."""
    store.claim(header().model_copy(update={"definition": {}}))
    run(store, "B")
    run(store, "A")
    assert list(store.assemble(RUN).steps) == ["A", "B"]


# costs, as the docstrings promise them


def test_what_calls_cost(memory: RunLogStore, counted: CountedParts) -> None:
    memory.claim(header())
    assert counted.spent() == {"read": 1, "create": 1, "put": 1}, "the index is told too"
    memory.header(RUN)
    assert counted.spent() == {"read": 1}
    memory.claim_for(airflow(), lambda h: h)
    assert counted.spent() == {"read": 2, "create": 1, "put": 1}
    memory.claim_for(airflow(), _never)
    assert counted.spent() == {"read": 1}
    opened = memory.open_attempt(RUN, identity("A"), "id", {}).opened
    assert counted.spent() == {"list_keys": 1, "create": 1}
    memory.carry(RUN, end_of(opened))
    assert counted.spent() == {"put": 1}
    memory.open_attempt(RUN, identity("A"), "id", {})
    assert counted.spent() == {"list_keys": 1, "read": 2}
    memory.close(RUN, end_of(opened))
    assert counted.spent() == {"create": 1}
    memory.write_document(RUN)
    assert counted.spent() == {"read": 2, "list_keys": 3, "put": 2}, (
        "it looks whether a part has come meanwhile; the index is told"
    )
    memory.reopen(RUN)
    assert counted.spent() == {"read": 1}
    memory.run_ids()
    assert counted.spent() == {"list_runs": 1}
    memory.append(RUN, end_of(identity_opened("B")))
    assert counted.spent() == {"create": 1}
    memory.append(RUN, end_of(opened))
    assert counted.spent() == {"create": 2}, "one more for each number that is taken"


@pytest.mark.parametrize("graphs", [1, 8, 9, 40])
def test_graphs_cost_a_list_each_until_one_for_all_is_less(
    memory: RunLogStore, counted: CountedParts, graphs: int
) -> None:
    names = [f"m.{number}" for number in range(graphs)]
    for name in names:
        run(memory, "A", "FAIL", graph=name)
        run(memory, "A", graph=name)
    counted.spent()
    memory.graphs(RUN, names)
    assert counted.spent() == {"list_keys": graphs if graphs <= 8 else 1, "read": graphs}


@pytest.mark.parametrize("others", [0, 300])
def test_a_write_costs_the_same_in_a_run_of_any_size(
    memory: RunLogStore, counted: CountedParts, others: int
) -> None:
    for number in range(others):
        run(memory, f"step {number}")
    counted.spent()
    opened = memory.open_attempt(RUN, identity("A"), "id", {}).opened
    memory.close(RUN, end_of(opened))
    assert counted.spent() == {"list_keys": 1, "create": 2}


def test_documents_are_json_of_the_seed(store: RunLogStore, parts: PartStore) -> None:
    store.claim(header())
    run(store, "A", parameters={"ü": float("inf")})
    text = store.write_document(RUN).to_json()
    assert parts.read([f"{RUN}.json"])[f"{RUN}.json"] == text
    assert RunLog.model_validate_json(text).parameters == {"ü": float("inf")}
