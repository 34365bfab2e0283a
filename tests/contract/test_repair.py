"""Bringing a run log in line with what Airflow says, whatever its parts are kept in."""

from __future__ import annotations

import pytest

from airflow_magnus.runlog.records import CatalogEntry, RunHeader, StepIdentity
from airflow_magnus.stores.parts import PartStore
from airflow_magnus.stores.runlogs import RunLogStore

RUN = "run"
DEFINITION = {
    "start_at": "A",
    "steps": {
        "A": {"type": "task", "next": "B"},
        "B": {"type": "parallel", "next": "success", "branches": {}},
        "success": {"type": "success"},
        "fail": {"type": "fail"},
    },
}
A = StepIdentity(name="A", internal_name="A", step_type="task")
B = StepIdentity(name="B", internal_name="B", step_type="parallel")
TASK_A = {"task_id": "A", "map_index": -1}
ENTRY = CatalogEntry(
    name="f", data_hash="0" * 64, catalog_relative_path="run/f", catalog_handler_location="c", stage="put"
)


@pytest.fixture
def store(parts: PartStore) -> RunLogStore:
    store = RunLogStore(parts)
    store.claim(RunHeader(run_id=RUN, token="t", definition=DEFINITION, scheduler={"type": "airflow"}))
    return store


def test_a_killed_attempt_is_closed_and_the_run_ends_as_airflow_says(store: RunLogStore) -> None:
    store.open_attempt(RUN, A, "a", TASK_A)
    log = store.repair(RUN, {("A", -1): "FAIL"}, "FAIL")
    assert (log.status, log.steps["A"].status) == ("FAIL", "FAIL")
    assert "killed" in log.steps["A"].attempts[0].message
    assert store.read(RUN).status == "FAIL"


def test_a_task_that_was_marked_counts_as_it_was_marked(store: RunLogStore) -> None:
    store.record(RUN, A, "a", TASK_A, status="FAIL", message="wrong")
    log = store.repair(RUN, {("A", -1): "SUCCESS"}, "SUCCESS")
    assert (log.status, log.steps["A"].status) == ("SUCCESS", "SUCCESS")
    assert [attempt.status for attempt in log.steps["A"].attempts] == ["FAIL"], "a mark is no attempt"


def test_what_is_right_already_is_left_alone(store: RunLogStore, parts: PartStore) -> None:
    store.record(RUN, A, "a", TASK_A, status="SUCCESS")
    before = parts.list_keys(RUN)
    store.repair(RUN, {("A", -1): "SUCCESS"}, "SUCCESS")
    assert parts.list_keys(RUN) == before
    assert not store.reconcile(RUN, [(A, store.graph(RUN, "")["A"], "SUCCESS")])


def test_a_composite_step_that_is_marked_keeps_what_its_branches_have_left(store: RunLogStore) -> None:
    store.record(RUN, A, "a", TASK_A, status="SUCCESS")
    store.record(RUN, B, "b", {}, status="FAIL", parameters={"x": 1}, data_catalog=[ENTRY])
    assert store.reconcile(RUN, [(B, store.graph(RUN, "")["B"], "SUCCESS")])
    closed = store.graph(RUN, "")["B"].latest.closed
    assert closed is not None
    assert (closed.status, closed.parameters, closed.puts()) == ("SUCCESS", {"x": 1}, [ENTRY])


def test_a_step_without_a_record_gets_one_when_its_task_was_marked(store: RunLogStore) -> None:
    assert store.reconcile(RUN, [(A, None, "SUCCESS")])
    assert store.graph(RUN, "")["A"].status == "SUCCESS"


def test_steps_of_the_top_graph_are_known_by_their_tasks(store: RunLogStore) -> None:
    """A composite step by its end, and a step that never ran and was marked."""
    store.record(RUN, B, "b", {"task_id": "B.start", "map_index": -1}, status="SUCCESS", parameters={"x": 1})
    top = [(A, "A"), (B, "B.end")]
    log = store.repair(RUN, {("A", -1): "SUCCESS", ("B.end", -1): "FAIL"}, "FAIL", top)
    assert (log.status, log.steps["A"].status, log.steps["B"].status) == ("FAIL", "SUCCESS", "FAIL")
    assert log.parameters == {"x": 1}


def test_the_status_is_that_of_airflows_run(store: RunLogStore) -> None:
    """All tasks were marked green, and the DAG run stays red."""
    success = StepIdentity(name="success", internal_name="success", step_type="success")
    store.record(RUN, A, "a", TASK_A, status="SUCCESS")
    assert store.repair(RUN, {("success", -1): "SUCCESS"}, "FAIL", [(success, "success")]).status == "FAIL"


def test_a_run_that_has_ended_keeps_its_end_when_airflow_knows_nothing_of_it(store: RunLogStore) -> None:
    """Deleted from Airflow's database: what the run log says is all there is."""
    success = StepIdentity(name="success", internal_name="success", step_type="success")
    store.record(RUN, A, "a", TASK_A, status="SUCCESS")
    assert store.repair(RUN, {}, "").status == "FAIL", "it has reached no end"
    store.record(RUN, B, "b", {}, status="SUCCESS")
    store.record(RUN, success, "s", {}, status="SUCCESS")
    assert store.repair(RUN, {}, "").status == "SUCCESS"
