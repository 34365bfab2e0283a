from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_magnus.runlog.difference import compare
from airflow_magnus.runlog.difference_records import RunDifference, StepDifference
from airflow_magnus.runlog.pairs import MISSING, Pair, differences, merged
from airflow_magnus.runlog.records import RunHeader, RunLog

GIT = {"code_identifier": "c5d2" * 10, "code_identifier_type": "git", "code_identifier_dependable": True}


def step(name: str, kind: str = "task", **fields: Any) -> dict[str, Any]:
    """One step of a document; ``got`` and ``put``: name → digest."""
    got, put = fields.pop("got", {}), fields.pop("put", {})
    entries = [(n, d, "get") for n, d in got.items()] + [(n, d, "put") for n, d in put.items()]
    return {
        "name": name.rpartition(".")[2],
        "internal_name": name,
        "status": "SUCCESS",
        "step_type": kind,
        "code_identities": [GIT],
        "attempts": [attempt()],
        "parameters": {},
        "data_catalog": [
            {
                "name": n,
                "data_hash": digest,
                "catalog_relative_path": n,
                "catalog_handler_location": "x",
                "stage": s,
            }
            for n, digest, s in entries
        ],
        **fields,
    }


def attempt(status: str = "SUCCESS", seconds: int = 1, message: str = "") -> dict[str, Any]:
    return {
        "attempt_number": 0,
        "start_time": "2026-01-01 00:00:00+00:00",
        "end_time": f"2026-01-01 00:00:{seconds:02}+00:00",
        "duration": "",
        "status": status,
        "message": message,
    }


def composite(name: str, branches: dict[str, list[dict[str, Any]]], **fields: Any) -> dict[str, Any]:
    found = {
        f"{name}.{branch}": {
            "internal_name": f"{name}.{branch}",
            "steps": {s["internal_name"]: s for s in steps},
        }
        for branch, steps in branches.items()
    }
    return step(name, fields.pop("kind", "map"), branches=found, **fields)


def run(*steps: dict[str, Any], **fields: Any) -> RunLog:
    content = {"run_id": "r", "dag_hash": "ce06", "status": "SUCCESS", **fields}
    return RunLog.model_validate({**content, "steps": {s["internal_name"]: s for s in steps}})


def header(**fields: Any) -> RunHeader:
    return RunHeader(run_id="r", token="t", dag_hash="ce06", **fields)


def compared(a: dict[str, Any], b: dict[str, Any], **fields: Any) -> StepDifference:
    """The comparison of one step of two runs that began alike."""
    [found] = compare(run(a), run(b), (header(**fields), header(**fields))).steps
    return found


def names_of(difference: RunDifference) -> list[str]:
    return [found.internal_name for found in difference.steps]


def test_runs_are_equal_when_only_times_attempts_and_tag_differ() -> None:
    a = run(step("a", put={"x": "1"}), tag="monday", scheduler={"dag_id": "d"}, run_id="r1")
    b = run(step("a", put={"x": "1"}, attempts=[attempt("FAIL"), attempt(seconds=9)]), run_id="r2")
    difference = compare(a, b)
    assert difference.is_equal
    assert difference.first_difference is None
    [found] = difference.steps
    assert (found.attempts, found.seconds) == (Pair(1, 2), Pair(1.0, 10.0))
    assert (found.reason, difference.tag) == ("", Pair("monday", None))


def test_the_interesting_step_is_named_when_nothing_but_its_output_differs() -> None:
    found = compared(
        step("a", got={"i": "1"}, put={"o": "2", "p": "4"}),
        step("a", got={"i": "1"}, put={"o": "3", "p": "4"}),
    )
    assert found.outputs == {"o": Pair("2", "3")}
    assert found.inputs == {}
    assert found.reason == "same code, same inputs, other output (o)"


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        ({"got": {"i": "1"}}, {"got": {"i": "2"}}, "other input (i); the same results"),
        (
            {"got": {"i": "1"}, "put": {"o": "1"}},
            {"got": {"i": "2"}, "put": {"o": "2"}},
            "other input (i) → other output (o)",
        ),
        ({"parameters": {"x": 1}}, {"parameters": {"x": 2}}, "same code, same inputs, sets other parameters (x)"),
        (
            {"user_defined_metrics": {"m": 1}},
            {"user_defined_metrics": {}},
            "same code, same inputs, other metrics (m)",
        ),
        ({}, {"status": "FAIL"}, "same code, same inputs, status SUCCESS | FAIL"),
        ({"message": "w"}, {}, "same code, same inputs, another message"),
        ({}, {"step_type": "as-is"}, "another type of step; the same results"),
        (
            {},
            {"code_identities": [{**GIT, "code_identifier": "9"}]},
            "other code (git); the same results",
        ),
        (
            {},
            {"code_identities": [{**GIT, "code_identifier_dependable": False}]},
            "other code (git); the same results",
        ),
        (
            {"put": {"1": "a", "2": "a", "3": "a", "4": "a", "5": "a"}},
            {},
            "same code, same inputs, other output (1, 2, 3 and 2 more)",
        ),
    ],
)  # fmt: skip
def test_reason_names_causes_before_effects(a: dict[str, Any], b: dict[str, Any], reason: str) -> None:
    found = compared(step("a", **a), step("a", **b))
    assert not found.is_equal
    assert found.reason == reason


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"code_identities": [{**GIT, "code_identifier_dependable": False}]},
            "same commit (but with uncommitted changes, which may differ), same inputs, other output (o)",
        ),
        (
            {"code_identities": []},
            "same definition (which code it called is not recorded), same inputs, other output (o)",
        ),
        ({"code_identities": [], "fingerprint": "f"}, "same code, same inputs, other output (o)"),
    ],
)
def test_code_is_not_called_the_same_when_that_is_not_certain(fields: dict[str, Any], reason: str) -> None:
    assert compared(step("a", put={"o": "1"}, **fields), step("a", put={"o": "2"}, **fields)).reason == reason


def test_another_fingerprint_is_a_cause_when_no_other_is_found() -> None:
    found = compared(step("a", put={"o": "1"}, fingerprint="f"), step("a", put={"o": "2"}, fingerprint="g"))
    assert found.reason == "another fingerprint of command, code, parameters and inputs → other output (o)"


def test_definition_is_not_called_the_same_when_dag_hashes_differ_and_headers_are_missing() -> None:
    a, b = run(step("a", put={"o": "1"})), run(step("a", put={"o": "2"}), dag_hash="other")
    [found] = compare(a, b).steps
    assert found.reason.startswith("same code (but its definition may differ), ")
    defined = header(definition={"steps": {"a": {"type": "task", "command": "x"}}})
    [found] = compare(a, b, (defined, defined)).steps
    assert found.reason == "same code, same inputs, other output (o)"


def test_changed_keys_of_the_pipeline_file_are_named_at_any_depth() -> None:
    def definition(command: str, retry: int) -> dict[str, Any]:
        inner = {"steps": {"s": {"type": "task", "command": command}}}
        return {
            "steps": {
                "m": {"type": "map", "branch": inner, "executor_config": {"airflow": {"retry": retry}}},
                "p": {"type": "parallel", "branches": {"left": inner}},
            }
        }

    log = run(
        composite("m", {"1": [step("m.1.s")]}),
        composite("p", {"left": [step("p.left.s")]}, kind="parallel"),
    )
    difference = compare(
        log, log, (header(definition=definition("x", 1)), header(definition=definition("y", 2)))
    )
    assert {found.internal_name: dict(found.definition) for found in difference.steps} == {
        "m": {"executor_config.airflow.retry": Pair(1, 2)},
        "m.1.s": {"command": Pair("x", "y")},
        "p": {},
        "p.left.s": {"command": Pair("x", "y")},
    }


def test_runs_part_where_results_do_when_an_earlier_step_ran_other_code_to_the_same_end() -> None:
    other = [{**GIT, "code_identifier": "9999"}]
    a = run(step("a", put={"x": "1"}), step("b", put={"o": "1"}))
    b = run(
        step("a", put={"x": "1"}, code_identities=other),
        step("b", put={"o": "2"}, code_identities=other),
    )
    first = compare(a, b).first_difference
    assert first is not None
    assert (first.step, first.reason) == ("b", "other code (git) → other output (o)")
    only_code = compare(a, run(step("a", put={"x": "1"}, code_identities=other), step("b", put={"o": "1"})))
    assert only_code.first_difference is not None
    assert only_code.first_difference.step == "a"


def test_steps_of_one_run_alone_stand_in_their_place() -> None:
    a = run(step("1"), step("2", status="FAIL"), step("fail", "fail"), status="FAIL")
    b = run(step("1"), step("new"), step("2"), step("3"), step("success", "success"))
    difference = compare(a, b)
    assert names_of(difference) == ["1", "new", "2", "fail", "3", "success"]
    assert [found.presence for found in difference.steps] == ["both", "b", "both", "a", "b", "b"]
    assert difference.first_difference is not None
    assert (difference.first_difference.step, difference.first_difference.reason) == (
        "new",
        "only run B has it",
    )
    assert difference.steps[1].status == Pair(MISSING, "SUCCESS")


@pytest.mark.parametrize(
    ("a", "b", "both"),
    [
        ("", "xy", "xy"), ("xy", "", "xy"), ("abc", "axbyc", "axbyc"), ("abc", "xabcy", "xabcy"),
        ("apq", "axy", "apqxy"), ("ab", "ba", "ab"), ("abc", "cxb", "abcx"),
    ],
)  # fmt: skip
def test_merged_keeps_each_name_once(a: str, b: str, both: str) -> None:
    assert "".join(merged(a, b)) == both


def test_the_inner_step_is_the_first_when_a_composite_differs_for_it() -> None:
    def log(digest: str, status: str) -> RunLog:
        inner = composite("m.1.p", {"left": [step("m.1.p.left.s", put={"o": digest})]}, status=status)
        return run(step("a"), composite("m", {"0": [step("m.0.s")], "1": [inner]}, status=status))

    difference = compare(log("1", "SUCCESS"), log("2", "FAIL"))
    assert names_of(difference) == ["a", "m", "m.0.s", "m.1.p", "m.1.p.left.s"]
    assert [found.depth for found in difference.steps] == [0, 0, 1, 1, 2]
    assert difference.first_difference is not None
    assert difference.first_difference.step == "m.1.p.left.s"


def test_map_items_match_by_the_name_of_their_branch() -> None:
    a = run(composite("m", {"x": [step("m.x.s", put={"o": "1"})], "y": [step("m.y.s")]}))
    b = run(composite("m", {"z": [step("m.z.s")], "x": [step("m.x.s", put={"o": "1"})]}))
    found = {one.internal_name: one.presence for one in compare(a, b).steps if not one.is_equal}
    assert found == {"m.y.s": "a", "m.z.s": "b"}


def test_parameters_that_steps_set_are_what_later_steps_began_with() -> None:
    def log(value: int) -> RunLog:
        branches = {"l": [step("p.l.s", parameters={"inner": value})]}
        return run(
            step("a", parameters={"x": value}),
            step("b", put={"o": str(value)}),
            composite("p", branches, kind="parallel"),
            step("c", put={"o": str(value)}),
            parameters={"x": value, "inner": value},
        )

    difference = compare(log(1), log(2), (header(parameters={"w": 0}), header(parameters={"w": 0})))
    found = {one.internal_name: one for one in difference.steps}
    assert found["a"].began_with == {}
    assert found["b"].reason == "other parameters to begin with (x) → other output (o)"
    assert list(found["p.l.s"].began_with) == ["x"]
    assert list(found["c"].began_with) == ["x", "inner"]
    assert difference.initial_parameters == {}
    assert difference.parameters == {"x": Pair(1, 2), "inner": Pair(1, 2)}
    assert difference.first_difference is not None
    assert difference.first_difference.step == "a"


def test_a_failed_step_leaves_no_parameters() -> None:
    def log(value: int) -> RunLog:
        return run(step("a", parameters={"x": value}, status="FAIL"), step("b"))

    assert compare(log(1), log(2), (header(), header())).steps[1].began_with == {}


def test_initial_parameters_are_the_cause_when_headers_have_them() -> None:
    a, b = run(step("a", put={"o": "1"})), run(step("a", put={"o": "2"}))
    difference = compare(a, b, (header(parameters={"x": 1}), header(parameters={"x": None})))
    assert difference.initial_parameters == {"x": Pair(1, None)}
    assert difference.steps[0].reason == "other parameters to begin with (x) → other output (o)"
    same_steps = compare(a, a, (header(parameters={"x": 1}), header()))
    assert (same_steps.is_equal, same_steps.first_difference) == (False, None)


def test_initial_parameters_are_read_from_the_final_ones_when_there_is_no_header() -> None:
    a, b = (run(step("a", put={"o": str(x)}), parameters={"x": x}) for x in (1, 2))
    [found] = compare(a, b).steps
    assert found.reason == "other parameters to begin with (x) → other output (o)"
    a, b = (run(step("a", put={"o": str(x)}, parameters={"x": 0}), parameters={"x": 0}) for x in (1, 2))
    [found] = compare(a, b).steps
    assert found.reason == "same code, same input files (parameters not recorded), other output (o)"


def test_inputs_are_not_called_the_same_when_an_earlier_step_kept_no_record_of_what_it_set() -> None:
    def log(digest: str) -> RunLog:
        silent = step("a")
        del silent["parameters"]
        return run(silent, step("b", put={"o": digest}))

    found = compare(log("1"), log("2"), (header(), header())).steps[1]
    assert found.reason == "same code, same input files (parameters not recorded), other output (o)"


def test_a_step_that_a_rerun_took_over_is_equal_when_it_is_the_other_runs() -> None:
    a = run(step("a", put={"o": "1"}, parameters={"y": 5}), step("b", status="FAIL"), run_id="r1")
    reused = step("a", mock=True, attempts=[], code_identities=[], parameters={"y": 5})
    b = run(reused, step("b"), run_id="r2", original_run_id="r1", use_cached=True)
    difference = compare(a, b, (header(), header(parameters={"y": 5})))
    assert difference.steps[0].taken_over == "same"
    assert difference.steps[0].is_equal
    assert difference.initial_parameters == {}
    assert difference.first_difference is not None
    assert difference.first_difference.step == "b"


def test_a_step_taken_over_from_a_third_run_is_not_called_equal() -> None:
    a = run(step("a", put={"o": "1"}), run_id="r1")
    b = run(step("a", mock=True, attempts=[]), run_id="r2", original_run_id="r0")
    difference = compare(a, b)
    assert not difference.is_equal
    assert difference.steps[0].outputs == {}
    assert "taken over from a third run" in difference.steps[0].reason
    twice = run(step("a", mock=True, attempts=[]), run_id="r3", original_run_id="r0")
    assert compare(b, twice).is_equal


def test_steps_inside_a_composite_that_was_taken_over_are_not_missing() -> None:
    a = run(composite("m", {"1": [step("m.1.s")]}), run_id="r1")
    b = run(step("m", "map", mock=True, attempts=[]), run_id="r2", original_run_id="r1")
    assert names_of(compare(a, b)) == ["m"]
    assert compare(a, b).is_equal


def test_services_are_compared_by_key() -> None:
    a = {
        "catalog": {"type": "s3", "config": {"s3_bucket": "x", "prefix": "p"}},
        "secrets": {"type": "dotenv"},
    }
    b = {"catalog": {"type": "s3", "config": {"s3_bucket": "y", "prefix": "p"}}, "executor": {}}
    difference = compare(run(run_config=a), run(run_config=b))
    assert {service: dict(pairs) for service, pairs in difference.run_config.items()} == {
        "catalog": {"config.s3_bucket": Pair("x", "y")},
        "secrets": {"type": Pair("dotenv", MISSING)},
        "executor": {"": Pair(MISSING, {})},
    }
    assert not difference.is_equal


def test_values_are_compared_as_json() -> None:
    nan = float("nan")
    same = {"n": nan, "d": {"a": 1, "b": [2]}}
    assert differences(same, {"n": nan, "d": {"b": [2], "a": 1}}) == {}
    found = differences({"i": 1, "t": True, "gone": None}, {"i": True, "t": 1.0})
    assert list(found) == ["i", "t", "gone"]
    assert found["gone"] == Pair(None, MISSING)


def test_plain_values_leave_out_the_side_that_has_nothing() -> None:
    a = run(step("a", put={"o": "1"}), parameters={"x": None})
    plain = compare(a, run(step("b"))).to_plain()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["parameters"] == {"x": {"a": None}}
    assert plain["first_difference"] == {"step": "a", "reason": "only run A has it"}
    assert [(s["internal_name"], s["status"], s["is_equal"]) for s in plain["steps"]] == [
        ("a", {"a": "SUCCESS"}, False),
        ("b", {"b": "SUCCESS"}, False),
    ]


def test_a_log_with_broken_times_is_compared() -> None:
    broken = {**attempt(), "end_time": "soon"}
    assert compared(step("a", attempts=[broken]), step("a")).seconds == Pair(None, 1.0)


def test_parameters_are_no_cause_when_the_results_are_the_same() -> None:
    a, b = run(step("a", got={"i": "1"})), run(step("a", got={"i": "2"}))
    [found] = compare(a, b, (header(parameters={"x": 1}), header(parameters={"x": 2}))).steps
    assert found.reason == "other input (i); the same results"


def test_a_parameter_that_one_run_lacks_is_no_cause_when_not_all_are_known() -> None:
    silent = step("quiet")
    del silent["parameters"]

    def log(digest: str) -> RunLog:
        return run(silent, step("a", put={"o": digest}))

    found = compare(log("1"), log("2"), (header(parameters={"x": 1}), header())).steps[1]
    assert found.began_with == {}
    assert found.reason.startswith("same code, same input files (parameters not recorded)")


def test_what_follows_a_branch_is_uncertain_when_the_branch_kept_no_record() -> None:
    silent = step("p.l.s")
    del silent["parameters"]

    def log(digest: str) -> RunLog:
        return run(composite("p", {"l": [silent]}, kind="parallel"), step("a", put={"o": digest}))

    found = compare(log("1"), log("2"), (header(), header())).steps[-1]
    assert found.reason == "same code, same input files (parameters not recorded), other output (o)"


@pytest.mark.parametrize(
    ("kind", "dag_hash", "is_known"), [("map", "ce06", True), ("dag", "ce06", False), ("map", "", False)]
)
def test_a_definition_is_known_to_be_the_same_when_the_dag_hash_covers_it(
    kind: str, dag_hash: str, is_known: bool
) -> None:
    """The hash of a pipeline does not cover the files of its dag steps."""
    log = run(composite("m", {"1": [step("m.1.s")]}, kind=kind), dag_hash=dag_hash)
    assert compare(log, log).steps[1].is_definition_known is is_known


def test_code_is_said_to_be_unknown_when_neither_commit_nor_definition_is() -> None:
    a, b = (
        run(step("a", put={"o": digest}, code_identities=[]), dag_hash=digest, parameters={})
        for digest in ("1", "2")
    )
    assert compare(a, b).steps[0].reason == "code and definition not recorded, same inputs, other output (o)"


def test_no_branch_sees_what_a_sibling_set() -> None:
    def log(value: int) -> RunLog:
        first, second = step("p.l.s", parameters={"x": value}), step("p.r.s")
        return run(composite("p", {"l": [first], "r": [second]}, kind="parallel"), step("after"))

    found = {one.internal_name: one for one in compare(log(1), log(2), (header(), header())).steps}
    assert found["p.r.s"].began_with == {}
    assert found["after"].began_with == {"x": Pair(1, 2)}
