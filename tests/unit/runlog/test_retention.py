"""Which runs' files are removed. Each test fails for a rule that looks at ages alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_magnus.runlog.retention import Policy, RunFacts, decide

NOW = datetime(2026, 6, 30, tzinfo=UTC)
MONTH = Policy(timedelta(days=30))


def run(run_id: str, age: float, pipeline: str = "p", lasted: float = 0, **facts: Any) -> RunFacts:
    """A run that ended ``age`` days ago."""
    ended = NOW - timedelta(days=age)
    facts.setdefault("refers_to", frozenset())
    return RunFacts(run_id, pipeline, ended - timedelta(days=lasted), ended, **facts)


def actions(runs: Sequence[RunFacts], policy: Policy = MONTH, **more: Any) -> dict[str, str]:
    return {verdict.run_id: verdict.action for verdict in decide(runs, policy, NOW, **more)}


def test_old_runs_go_and_young_ones_stay() -> None:
    assert actions([run("old", 31), run("young", 29)]) == {"old": "collect", "young": "keep"}


def test_age_counts_from_the_end_when_a_run_took_long() -> None:
    assert actions([run("a", 1, lasted=60)]) == {"a": "keep"}


def test_a_run_that_is_needed_stays_and_the_reason_is_told() -> None:
    (verdict,) = decide([run("a", 99, needed="it goes on")], MONTH, NOW)
    assert (verdict.action, verdict.why, verdict.is_told) == ("keep", "it goes on", True)


def test_the_last_of_each_pipeline_stay() -> None:
    runs = [run(f"{pipeline}{age}", age, pipeline) for pipeline in "pq" for age in (40, 50, 60)]
    kept = {name for name, action in actions(runs, Policy(timedelta(days=30), 2)).items() if action == "keep"}
    assert kept == {"p40", "p50", "q40", "q50"}


def test_failures_do_not_push_out_the_last_success() -> None:
    runs = [run("good", 60, is_success=True), *(run(f"bad{age}", age) for age in (40, 41, 42))]
    found = actions(runs, Policy(timedelta(days=30), 2))
    assert found == {"good": "keep", "bad42": "collect", "bad41": "keep", "bad40": "keep"}


def test_runs_without_files_do_not_count_among_the_last() -> None:
    runs = [run("a", 60), run("b", 50, left="nothing"), run("c", 40, left="part")]
    assert actions(runs, Policy(timedelta(days=30), 1)) == {"a": "keep", "b": "gone", "c": "finish"}


def test_what_a_kept_run_refers_to_stays_through_any_number_of_runs() -> None:
    runs = [
        run("a", 90),
        run("b", 80, refers_to=frozenset({"a"})),
        run("c", 70, refers_to=frozenset({"b"})),
        run("d", 1, refers_to=frozenset({"c"})),
        run("other", 90, refers_to=frozenset({"lost"})),
    ]
    found = actions(runs)
    assert found == {"a": "keep", "other": "collect", "b": "keep", "c": "keep", "d": "keep"}
    whys = {verdict.run_id: verdict.why for verdict in decide(runs, MONTH, NOW)}
    assert whys["a"] == "run b refers to it"


def test_old_runs_that_refer_to_each_other_go_together() -> None:
    runs = [run("a", 90), run("b", 80, refers_to=frozenset({"a"}))]
    assert set(actions(runs).values()) == {"collect"}


def test_a_run_that_refers_to_itself_does_not_stay_for_that() -> None:
    assert actions([run("a", 90, refers_to=frozenset({"a"})), run("young", 1)])["a"] == "collect"


def test_references_of_records_count_and_only_those_of_kept_runs_are_asked_for() -> None:
    asked: list[str] = []

    def named(run_ids: Sequence[str]) -> Mapping[str, Collection[str]]:
        asked.extend(run_ids)
        return {"young": {"b"}, "b": {"a"}}

    runs = [run("a", 90), run("b", 80), run("c", 70), run("young", 1)]
    assert actions(runs, records_name=named) == {"a": "keep", "b": "keep", "c": "collect", "young": "keep"}
    assert sorted(asked) == ["a", "b", "young"]


def test_records_are_not_asked_where_nothing_can_go() -> None:
    def named(run_ids: Sequence[str]) -> Mapping[str, Collection[str]]:
        raise AssertionError("every attempt of every run would be read for nothing")

    assert actions([run("young", 1)], records_name=named) == {"young": "keep"}


def test_an_interrupted_removal_is_finished_whatever_the_age() -> None:
    assert actions([run("a", 1, left="part")]) == {"a": "finish"}


def test_an_interrupted_removal_waits_when_the_run_is_needed() -> None:
    runs = [
        run("a", 90, left="part"),
        run("b", 90, left="part", needed="it is pinned"),
        run("c", 1, refers_to=frozenset({"a"})),
    ]
    assert actions(runs) == {"a": "keep", "b": "keep", "c": "keep"}


def test_what_is_gone_refers_to_nothing() -> None:
    runs = [run("a", 90), run("b", 80, left="nothing", refers_to=frozenset({"a"})), run("young", 1)]
    assert actions(runs) == {"a": "collect", "b": "gone", "young": "keep"}
