"""Executor ``mocked``: nothing runs, but what patches say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_magnus.runlog.records import RunLog
from pipelines import function, linear, only, python, shell

Execute = Callable[..., RunLog]
Magnus = Callable[..., tuple[int, str, str]]


def mocked(**patches: Any) -> dict[str, Any]:
    return {"executor": {"type": "mocked", "config": {"patches": patches} if patches else {}}}


def test_steps_pass_without_running(execute: Execute, project: Path) -> None:
    log = execute(
        linear(
            {
                "a": shell("touch ran", catalog={"put": ["*"]}),
                "b": python("no.such.function", catalog={"get": ["*"]}, retry=3),
                "c": {"type": "as-is", "catalog": {"put": ["*"]}},
            },
            **mocked(),
        )
    )
    assert log.status == "SUCCESS"
    assert not (project / "ran").exists()
    for name in "abc":
        step = log.steps[name]
        assert (step.status, step.mock, step.attempts, step.data_catalog) == ("SUCCESS", True, [], [])
        assert step.message == ""
    assert not log.steps["success"].mock
    assert log.run_config["executor"]["type"] == "mocked"


def test_patch_runs_its_command_in_place_of_the_file_s(execute: Execute, project: Path) -> None:
    log = execute(
        linear(
            {
                "a step": python("no.such.function", catalog={"put": ["*"]}),
                "b": function("lambda: {'never': 1}"),
                "c": function("lambda y: {'never': 1}"),
                "d": {"type": "as-is"},
            },
            **mocked(
                **{
                    "a step": {"command": "mkdir -p data; echo 1 > data/a.txt", "command_type": "shell"},
                    "b": {"returns": {"y": [1, 2]}},
                    "c": {"command": "lambda y: {'z': y[1]}"},
                    "d": {"command": "lambda z: {'of_stub': z}", "command_type": "python-lambda"},
                }
            ),
        )
    )
    assert log.status == "SUCCESS"
    assert log.parameters == {"y": [1, 2], "z": 2, "of_stub": 2}
    assert [(name, step.mock) for name, step in log.steps.items()] == [
        ("a step", False), ("b", True), ("c", False), ("d", False), ("success", False),
    ]  # fmt: skip
    assert [e.name for e in log.steps["a step"].data_catalog] == ["a.txt"]


def test_patched_step_fails_and_its_failure_edge_is_taken(execute: Execute) -> None:
    text = linear(
        {"a": shell("true", on_failure="c"), "b": shell("true", next="success"), "c": shell("true")},
        **mocked(a={"command": "exit 3"}, c={}, b=None),
    )
    log = execute(text)
    assert list(log.steps) == ["a", "c", "success"]
    assert "status 3" in log.steps["a"].attempts[0].message


def test_steps_pass_when_dag_runs_on_airflow(run_dag: Callable[..., Any], tmp_path: Path) -> None:
    from airflow_magnus.dags.builder import pipeline_dag

    (tmp_path / "mocked.yaml").write_text(only(shell("exit 1"), **mocked()))
    log, states = run_dag(pipeline_dag(tmp_path / "mocked.yaml", start_date=None, schedule=None))
    assert states == {"only": "success", "success": "success", "fail": "skipped"}
    assert log.steps["only"].mock


def graph(**steps: Any) -> dict[str, Any]:
    """A branch of these steps, one after the other."""
    document = yaml.safe_load(linear(steps))
    found: dict[str, Any] = document["dag"]
    return found


def test_patches_reach_steps_inside_others(execute: Execute) -> None:
    steps = {
        "list": shell("exit 1"),
        "each": {
            "type": "map", "iterate_on": "names", "iterate_as": "name", "branch": graph(inner=shell("exit 1")),
        },
        "both": {"type": "parallel", "branches": {"left": graph(same=shell("exit 1")), "right": graph(same=shell("exit 1"))}},
    }  # fmt: skip
    patches = {
        "list": {"returns": {"names": ["a", "b"]}},
        "inner": {"command": "lambda name: {'seen': name}", "command_type": "python-lambda"},
        "both.left.same": {"returns": {"side": "left"}},
    }
    log = execute(linear(steps, **mocked(**patches)))
    assert log.status == "SUCCESS"
    assert log.parameters == {"names": ["a", "b"], "seen": "b", "side": "left"}


@pytest.mark.parametrize(
    ("patches", "sentence"),
    [
        ({"onli": {}}, 'unknown step "onli"; the nearest is "only"'),
        ({"only.left.x": {}}, 'unknown step "only.left.x"'),
        ({"only": {"comand": "x"}}, 'unknown key "comand"; the nearest is "command"'),
        (
            {"only": {"command": "x", "command_type": "shel"}},
            'unknown command type "shel"; the nearest is "shell"',
        ),
        ({"only": {"command_type": "shell"}}, "command_type means nothing without a command"),
        ({"only": {"command": "x", "returns": {"y": 1}}}, "runs its command or returns these values"),
        ({"only": {"returns": [1]}}, "must be a mapping"),
        ({"only": "true"}, "must be a mapping"),
    ],
)
def test_pipeline_is_refused_when_patch_is_wrong(
    magnus: Magnus, project: Path, patches: dict[str, Any], sentence: str
) -> None:
    (project / "pipeline.yaml").write_text(only(shell("true"), **mocked(**patches)))
    status, out, err = magnus("execute")
    assert (status, out) == (2, "")
    assert sentence in err


def test_run_log_is_what_readers_of_a_re_run_know(magnus: Magnus, project: Path) -> None:
    (project / "pipeline.yaml").write_text(only(shell("true"), **mocked(only={"returns": {"y": 1}})))
    _, out, _ = magnus("execute", "--run-id", "r1")
    assert json.loads(out)["steps"]["only"]["mock"] is True
    status, shown, _ = magnus("runlog", "show", "r1")
    assert status == 0
    assert json.loads(shown) == json.loads(out)
