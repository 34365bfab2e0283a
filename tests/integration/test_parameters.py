"""Parameters: where they come from, who sees them, what a step leaves behind. Contract 10-12."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.runlog.records import RunLog
from pipelines import conditional, function, linear, loop, mapped, only, python, shell

Execute = Callable[..., RunLog]
Magnus = Callable[..., tuple[int, str, str]]


def test_values_keep_type_and_case_when_they_pass_between_steps(execute: Execute, project: Path) -> None:
    values = {"Text": "a", "text": "b", "no": None, "yes": True, "pi": 1.5, "list": [1, {"ö": "✓"}], "": 0}
    del values[""]
    (project / "work.py").write_text(
        f"def make():\n    return {values!r}\n"
        "def look(Text, text, no, yes, pi, list):\n"
        "    return {'seen': [Text, text, no, yes, pi, list]}\n"
    )
    log = execute(linear({"make": python("work.make"), "look": python("work.look")}))
    assert log.parameters == {**values, "seen": list(values.values())}


def test_long_value_passes_between_python_steps_and_is_left_out_of_shell_with_warning(
    execute: Execute, project: Path
) -> None:
    text = linear(
        {
            "make": function("lambda: {'long': 'x' * 200000, 'short': 1}"),
            "count": function("lambda long: {'length': len(long)}"),
            "shell": shell(
                'test -z "$MAGNUS_PRM_long" && test "$MAGNUS_PRM_short" = 1 && '
                "python3 -c 'import json, os;"
                ' assert len(json.load(open(os.environ["MAGNUS_PARAMETERS_FILE"]))["long"]) == 200000\''
            ),
        }
    )
    log = execute(text)
    assert log.status == "SUCCESS"
    assert log.parameters["length"] == 200000
    assert "'long'" in log.steps["shell"].message
    assert "MAGNUS_PARAMETERS_FILE" in log.steps["shell"].message
    assert log.steps["count"].message == ""


def test_shell_step_starts_when_parameters_together_are_longer_than_the_system_allows(
    execute: Execute,
) -> None:
    text = linear(
        {
            "make": function("lambda: {f'p{i}': 'x' * 100000 for i in range(40)}"),
            "shell": shell('test -n "$MAGNUS_PRM_p0"'),
        }
    )
    log = execute(text)
    assert log.status == "SUCCESS", log.steps["shell"].attempts
    assert "'p39'" in log.steps["shell"].message


def test_source_that_is_nearer_wins_when_several_give_a_parameter(
    execute: Execute, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "given.yaml").write_text("b: file\nc: file\nd: file\nn: 2\n")
    monkeypatch.setenv("MAGNUS_PRM_c", '"environment"')
    monkeypatch.setenv("MAGNUS_PRM_d", "not json")
    text = only(
        shell("true"), parameters={"a": "default", "b": "default", "n": {"type": "integer", "default": 1}}
    )
    log = execute(text, "-p", "given.yaml", "--d", "option", "--N", "7")
    assert log.parameters == {
        "a": "default", "b": "file", "c": "environment", "d": "option", "n": 2, "N": "7",
    }  # fmt: skip


def test_option_has_declared_type_when_the_file_declares_one(execute: Execute) -> None:
    text = only(
        function("lambda n, flag, items: {'seen': [n + 1, flag, items]}"),
        parameters={"n": 1, "flag": False, "items": [], "text": "1"},
    )
    log = execute(text, "--n", "-3", "--flag=true", "--items", "[1]", "--text", "5")
    assert log.parameters["seen"] == [-2, True, [1]]
    assert log.parameters["text"] == "5"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--x=3"], {"x": "3"}),
        (["-x", "3"], {"x": "3"}),
        (["--x", "-3"], {"x": "-3"}),
        (["--x", "-3.5e2"], {"x": "-3.5e2"}),
        (["--x", ""], {"x": ""}),
        (["--x="], {"x": ""}),
        (["--x", "a=b c"], {"x": "a=b c"}),
        (["--my-name", "v"], {"my-name": "v"}),
        (["--ta", "v", "--fil", "w"], {"ta": "v", "fil": "w"}),
        (["--x", "ü✓"], {"x": "ü✓"}),
        (["--x", "[1, 2]"], {"x": "[1, 2]"}),
    ],
)
def test_value_is_text_when_it_is_given_as_option(
    execute: Execute, options: list[str], expected: dict[str, str]
) -> None:
    assert execute(only({"type": "as-is"}), *options).parameters == expected


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--x"], "has no value"),
        (["--x", "1", "--x", "2"], "given twice"),
        (["--x", "1", "2"], "'2' is not an option"),
        (["shop.yaml", "--x", "1"], "and the pipeline file by --file shop.yaml"),
        (["--x", "1", "my shop.yml"], "and the pipeline file by --file 'my shop.yml'"),
        (["--x", "\udcff"], "not text"),
        (["--", "--x", "1"], ""),
    ],
)
def test_nothing_is_run_when_options_are_wrong(
    magnus: Magnus, project: Path, options: list[str], sentence: str
) -> None:
    (project / "pipeline.yaml").write_text(only(shell("touch ran")))
    code, out, err = magnus("execute", *options)
    assert (code, out) == (2, "") if sentence else code in (0, 2)
    assert sentence in err
    assert sentence == "" or [p.name for p in project.iterdir()] == ["pipeline.yaml"]


def test_plan_does_not_speak_of_an_option_that_it_has_not(magnus: Magnus, project: Path) -> None:
    (project / "pipeline.yaml").write_text(only(shell("true")))
    code, _, err = magnus("plan", "pipeline.yaml", "other.yaml", "--use-cached", "r")
    assert (code, err) == (
        2,
        "magnus: 'other.yaml' is not an option: parameters are given as --NAME VALUE\n",
    )


STEPS = {
    "make": function("lambda region_count, _y=1: {}", next="each"),
    "each": mapped({"one": function("lambda item: {}")}, over="regions"),
    "pick": conditional("weekday", {"mon": {"a": {"type": "as-is"}}}, default={"b": {"type": "as-is"}}),
    "turn": loop({"a": shell("echo $MAGNUS_PRM_limit")}, 2, break_on="finished"),
}


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("region", "regions"),
        ("Regions", "regions"),
        ("regioncount", "region_count"),
        ("week-day", "weekday"),
        ("finish", "finished"),
        ("limits", "limit"),
        ("use-cache", "use-cached"),
        ("paramters-file", "parameters-file"),
    ],
)
def test_warning_asks_for_the_parameter_or_option_that_is_near(
    magnus: Magnus, project: Path, option: str, meant: str
) -> None:
    (project / "pipeline.yaml").write_text(linear(STEPS))
    # The parameters file is faulty: nothing is run.
    code, _, err = magnus("execute", f"--{option}", "1", "-p", "none.yaml")
    assert code == 2
    assert f"warning: --{option} gives a parameter that no step names; did you mean --{meant}?" in err


@pytest.mark.parametrize("option", ["regions", "weekday", "limit", "anything", "x"])
def test_parameter_that_a_step_may_read_is_no_warning(magnus: Magnus, project: Path, option: str) -> None:
    (project / "pipeline.yaml").write_text(linear(STEPS))
    assert "warning" not in magnus("execute", f"--{option}", "1", "-p", "none.yaml")[2]


def test_warning_names_the_declared_parameter_that_is_near(magnus: Magnus, project: Path) -> None:
    (project / "pipeline.yaml").write_text(only(shell("true"), parameters={"regions": ["a"]}))
    for option, meant in (("region", "; did you mean --regions?"), ("x", "")):
        err = magnus("execute", f"--{option}", "1", "-p", "none.yaml")[2]
        assert (
            f"warning: --{option} gives a parameter that the file does not declare{meant}" in err.splitlines()
        )


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"n": {"type": "whole"}}, "is no JSON Schema"),
        ({"n": {"type": "integer", "default": "a"}}, "the default does not fit"),
        ({"n": {"type": "integer"}}, "has no value"),
        ({"a=b": 1}, "cannot name a parameter"),
    ],
)
def test_nothing_is_run_when_declared_parameters_are_wrong(
    magnus: Magnus, project: Path, parameters: dict[str, Any], sentence: str
) -> None:
    (project / "pipeline.yaml").write_text(only(shell("touch ran"), parameters=parameters))
    code, out, err = magnus("execute")
    assert (code, out) == (2, "")
    assert sentence in err
    assert [p.name for p in project.iterdir()] == ["pipeline.yaml"]


def test_nothing_is_written_when_run_id_is_taken(execute: Execute, magnus: Magnus, project: Path) -> None:
    execute(only(shell("mkdir -p data; echo 1 > data/a", catalog={"put": ["*"]})), "--run-id", "one")
    before = {p: p.read_bytes() for p in project.rglob("*") if p.is_file()}
    code, out, err = magnus("execute", "--run-id", "one", "--x", "2")
    assert (code, out) == (2, "")
    assert "'one' is taken" in err
    assert {p: p.read_bytes() for p in project.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("run_id", ["../out", "a/b", "..", ".hidden", "", "x" * 300, "a\nb", "\udcff"])
def test_nothing_is_written_when_run_id_cannot_be_a_folder(
    magnus: Magnus, project: Path, run_id: str
) -> None:
    (project / "pipeline.yaml").write_text(only(shell("touch ran")))
    code, out, err = magnus("execute", "--run-id", run_id)
    assert (code, out) == (2, "")
    assert "run id" in err
    assert [p.name for p in project.parent.rglob("*.*")] == ["pipeline.yaml"]


@pytest.mark.parametrize("run_id", ["a run", "größe-1", "2024-01-01T00:00:00+00:00", "x" * 150])
def test_run_log_is_found_when_run_id_is_unusual(execute: Execute, magnus: Magnus, run_id: str) -> None:
    log = execute(only(shell("mkdir data; echo 1 > data/a", catalog={"put": ["*"]})), "--run-id", run_id)
    assert (log.run_id, log.status) == (run_id, "SUCCESS")
    code, out, _ = magnus("runlog", "show", run_id)
    assert code == 0
    assert json.loads(out)["run_id"] == run_id


def test_every_attempt_sees_the_same_and_a_failed_one_leaves_nothing(execute: Execute, project: Path) -> None:
    (project / "work.py").write_text(
        "import magnus, os, pathlib\n"
        "def flaky(x):\n"
        "    tries = pathlib.Path('tries')\n"
        "    with tries.open('a') as f: f.write(f'{x} {magnus.get_parameter()}\\n')\n"
        "    magnus.store_parameter(x='changed', half='done')\n"
        "    magnus.track_this(half=1)\n"
        "    os.environ['MAGNUS_PRM_by_environment'] = '1'\n"
        "    if len(tries.read_text().splitlines()) < 3: raise RuntimeError('again')\n"
    )
    log = execute(only(python("work.flaky", retry=3)), "--x", "1")
    assert (project / "tries").read_text().splitlines() == ["1 {'x': '1'}"] * 3
    assert log.parameters == {"x": "changed", "half": "done", "by_environment": 1}
    assert [a.status for a in log.steps["only"].attempts] == ["FAIL", "FAIL", "SUCCESS"]
    failed = execute(only(python("work.flaky", retry=1)).replace("flaky", "fails"), "--x", "1")
    assert failed.parameters == {"x": "1"}
    assert failed.steps["only"].user_defined_metrics == {}


def test_step_writes_back_only_what_it_set(execute: Execute, project: Path) -> None:
    execute(
        linear({"a": function("lambda: {'y': 2}"), "b": shell("MAGNUS_PRM_x=5; export MAGNUS_PRM_x")}),
        "--x", "1", "--run-id", "r",
    )  # fmt: skip
    closed = {
        p.parent.name: json.loads(p.read_text())["parameters"]
        for p in (project / ".run_log_store" / "r" / "steps").rglob("*.close.json")
    }
    assert closed == {"a": {"y": 2}, "b": {}, "success": {}}


def test_caller_s_variable_is_not_seen_when_a_step_has_replaced_the_parameter_by_a_long_one(
    execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAGNUS_PRM_x", "old")
    seen = "lambda: {'seen': __import__('os').environ.get('MAGNUS_PRM_x', 'nothing')}"
    log = execute(linear({"make": function("lambda: {'x': 'n' * 200000}"), "look": function(seen)}))
    assert log.parameters["seen"] == "nothing"


def test_nan_and_unicode_pass_between_steps(execute: Execute) -> None:
    text = linear(
        {
            "make": function("lambda: {'n': float('nan'), 'ünï': {'k': ['✓', '\\n\"']}}"),
            "look": function("lambda n, ünï: {'is_nan': n != n, 'copy': ünï}"),
        }
    )
    log = execute(text)
    assert log.status == "SUCCESS"
    assert log.parameters["is_nan"] is True
    assert log.parameters["copy"] == {"k": ["✓", '\n"']}
    assert math.isnan(log.parameters["n"])


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("lambda: {'x': object()}", "parameter 'x' has a value of type object"),
        ("lambda: {'x': {1, 2}}", "parameter 'x' has a value of type set"),
        ("lambda: {1: 2}", "cannot be the name of a parameter"),
        ("lambda: {'a=b': 2}", "cannot be the name of a parameter"),
        ("lambda: [1]", "returned list"),
        ("lambda: {'x': chr(0xdcff)}", "parameter 'x'"),
    ],
)
def test_step_fails_when_result_cannot_be_stored(execute: Execute, source: str, sentence: str) -> None:
    log = execute(only(function(source)))
    assert log.status == "FAIL"
    assert sentence in log.steps["only"].attempts[0].message
    assert log.parameters == {}
