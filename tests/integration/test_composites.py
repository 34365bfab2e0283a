"""Composite steps through ``magnus execute``: what their branches see, what they leave, and how they fail. Contract 6 to 9."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_magnus.runlog.records import BranchLog, RunLog, StepLog
from pipelines import (
    conditional,
    function,
    graph,
    linear,
    loop,
    mapped,
    notebook,
    parallel,
    python,
    shell,
    sub,
    task,
)

Execute = Callable[..., RunLog]
Magnus = Callable[..., tuple[int, str, str]]


def every(log: RunLog | BranchLog) -> Iterator[StepLog]:
    """All steps of a run, each followed by those of its branches."""
    for step in log.steps.values():
        yield step
        for branch in step.branches.values():
            yield from every(branch)


def steps_of(log: RunLog) -> dict[str, StepLog]:
    return {step.internal_name: step for step in every(log)}


def branches_of(log: RunLog) -> dict[str, str]:
    return {name: branch.status for step in every(log) for name, branch in step.branches.items()}


def succeeded(log: RunLog) -> RunLog:
    assert log.status == "SUCCESS", [
        (s.internal_name, s.message, [a.message for a in s.attempts]) for s in every(log)
    ]
    return log


def note(text: str, then: str = "true", **keys: Any) -> dict[str, Any]:
    """A step that writes a word to a file that all steps share."""
    return shell(f"echo {text} >> seen; {then}", **keys)


def noted(project: Path) -> list[str]:
    return (project / "seen").read_text().splitlines()


def seen(name: str) -> dict[str, Any]:
    """A step that sets, under another name, all that it sees."""
    return function(
        f"lambda: {{'{name}': {{k: v for k, v in __import__('magnus').get_parameter().items() if k[:4] != 'seen'}}}}"
    )


# what branches see and leave


def test_no_branch_sees_what_a_sibling_has_set_or_put_and_the_last_in_the_file_wins(
    execute: Execute, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def branch(name: str) -> dict[str, dict[str, Any]]:
        return {
            "set": function(f"lambda: {{'x': '{name}', '{name}': 1, 'same': 0}}"),
            "put": shell(f"rm -rf data; mkdir data; echo {name} > data/clash; echo 1 > data/of-{name}; echo = > data/equal",
                         catalog={"put": ["*"]}),
            "clear": shell("rm -r data"),
            "get": shell(f"ls data > {name}.ls; cat data/clash >> {name}.ls", catalog={"get": ["*"]}),
            "look": seen(f"seen {name}"),
        }  # fmt: skip

    text = linear(
        {
            "before": function("lambda: {'x': 'before', 'same': 0}"),
            "p": parallel({"zwei": branch("zwei"), "eins": branch("eins")}),
            "after": shell("rm -rf data; mkdir data"),
            "get": shell("cat data/clash > after.ls; ls data >> after.ls", catalog={"get": ["*"]}),
        }
    )
    log = succeeded(execute(text, "--run-id", "r1"))
    assert log.parameters["seen zwei"] == {"x": "zwei", "zwei": 1, "same": 0}
    assert log.parameters["seen eins"] == {"x": "eins", "eins": 1, "same": 0}
    assert {k: v for k, v in log.parameters.items() if "seen" not in k} == {
        "x": "eins", "same": 0, "zwei": 1, "eins": 1,
    }  # fmt: skip
    assert (project / "zwei.ls").read_text().split() == ["clash", "equal", "of-zwei", "zwei"]
    assert (project / "eins.ls").read_text().split() == ["clash", "equal", "of-eins", "eins"]
    assert (project / "after.ls").read_text().split() == ["eins", "clash", "equal", "of-eins", "of-zwei"]
    warning = "'clash' was put by branch 'zwei' and by 'eins': later steps get the latter's"
    assert log.steps["p"].message == warning
    assert caplog.text.count(warning) == 1
    assert (log.steps["p"].attempts, log.steps["p"].data_catalog) == ([], [])
    assert list(log.steps["p"].branches) == ["p.zwei", "p.eins"]
    folder = project / ".catalog" / "r1"
    assert {p.name: p.read_text().strip() for p in folder.iterdir() if p.is_file()} == {
        "clash": "eins", "equal": "=", "of-eins": "1", "of-zwei": "1",
    }  # fmt: skip


def test_failed_composite_step_leaves_what_its_successful_steps_set_and_put(
    execute: Execute, project: Path
) -> None:
    put = {"catalog": {"put": ["*"]}}
    text = linear(
        {
            "p": parallel(
                {
                    "bad": {
                        "good step": function("lambda: {'x': 'of bad', 'bad': 1}"),
                        "puts": shell("mkdir -p data; echo bad > data/f", **put),
                        "fails": shell("echo worse > data/f; echo reason; exit 3", **put),
                        "never": function("lambda: {'never': 1}"),
                    },
                    "good": {"s": function("lambda: {'good': 1}")},
                },
                on_failure="handler",
                next="success",
            ),
            "skipped": note("skipped"),
            "handler": shell("rm -r data; mkdir data", next="look"),
            "look": shell("cp data/f found", catalog={"get": ["*"]}),
        }
    )
    log = succeeded(execute(text))
    assert list(log.steps) == ["p", "handler", "look", "success"]
    assert log.parameters == {"x": "of bad", "bad": 1, "good": 1}
    assert (project / "found").read_text() == "bad\n"
    assert branches_of(log) == {"p.bad": "FAIL", "p.good": "SUCCESS"}
    assert log.steps["p"].status == "FAIL"
    assert log.steps["p"].message.startswith(
        "branch 'bad' failed in step 'fails': command exited with status 3"
    )
    assert "reason" in log.steps["p"].message
    bad = log.steps["p"].branches["p.bad"].steps
    assert list(bad) == ["p.bad.good step", "p.bad.puts", "p.bad.fails", "p.bad.fail"]


def test_failed_composite_step_without_a_handler_fails_the_run(execute: Execute, project: Path) -> None:
    text = linear(
        {"p": parallel({"a": {"s": note("a", "false")}, "b": {"s": note("b")}}), "after": note("after")}
    )
    log = execute(text)
    assert (log.status, list(log.steps)) == ("FAIL", ["p", "fail"])
    assert noted(project) == ["a", "b"], "all branches run though the first has failed"


def test_handler_inside_a_branch_makes_it_good(execute: Execute, project: Path) -> None:
    inner = {"s": shell("false", on_failure="h", next="success"), "h": note("handler", next="success")}
    log = succeeded(execute(linear({"p": parallel({"a": inner}), "after": note("after")})))
    assert branches_of(log) == {"p.a": "SUCCESS"}
    assert noted(project) == ["handler", "after"]


def test_branches_run_one_after_the_other_in_the_order_of_the_file_and_of_the_list(
    execute: Execute, project: Path
) -> None:
    def two(name: str) -> dict[str, dict[str, Any]]:
        return {"one": note(f"{name}1"), "two": note(f"{name}2")}

    text = linear(
        {
            "p": parallel(
                {"z": two("z"), "m": {"deep": parallel({"y": two("y"), "x": two("x")})}, "a": two("a")}
            ),
            "m": mapped({"one": note('"$MAGNUS_PRM_MAP_VARIABLE"'), "two": note("end")}, "items", "i"),
        },
        parameters={"items": ["b", "a", "c"]},
    )
    succeeded(execute(text))
    assert noted(project) == [
        "z1", "z2", "y1", "y2", "x1", "x2", "a1", "a2",
        '{"i": "b"}', "end", '{"i": "a"}', "end", '{"i": "c"}', "end",
    ]  # fmt: skip


# maps

VALUES = [
    "text",
    "",
    "a/b",
    "a.b%c~",
    1,
    1.5,
    True,
    False,
    None,
    ["x", 1],
    {"k": {"d": None}},
    "true",
    "text",
    1,
]
NAMES = [
    "text", "~e", "a/b", "a~db~pc~~", "1", "1~d5", "true", "false", "null", '["x",1]', '{"k":{"d":null}}',
    "true~2", "text~2", "1~2",
]  # fmt: skip


def test_items_of_every_type_keep_it_and_no_record_overwrites_another(
    execute: Execute, project: Path
) -> None:
    (project / "work.py").write_text(
        "import json, os\n"
        "def main(item, x):\n"
        "    shown = json.loads(os.environ['MAGNUS_PRM_MAP_VARIABLE'])\n"
        "    assert shown == {'item': item} and type(shown['item']) is type(item), shown\n"
        "    with open('seen', 'a') as file: print(json.dumps(item), file=file)\n"
        "    return {'last': item, 'type': type(item).__name__}\n"
    )
    text = linear(
        {
            "m": mapped(
                {"s": python("work.main"), "n": function("lambda item, last: {'same': item == last}")}
            ),
            "after": function("lambda item: {'outside': item}"),
        },
        parameters={"items": VALUES, "x": 0, "item": "a parameter"},
    )
    log = succeeded(execute(text))
    assert [json.loads(line) for line in noted(project)] == VALUES
    assert list(log.steps["m"].branches) == [f"m.{name}" for name in NAMES]
    assert set(branches_of(log).values()) == {"SUCCESS"}
    types = [branch.steps[f"{name}.s"].parameters["type"] for name, branch in log.steps["m"].branches.items()]
    assert types == [type(value).__name__ for value in VALUES]
    assert log.parameters["last"] == 1, "of the last item"
    assert log.parameters["outside"] == "a parameter", "the item is visible in the map alone"
    assert log.parameters["item"] == "a parameter"
    assert log.parameters["same"] is True


def test_steps_of_maps_inside_maps_have_all_items_and_nothing_of_the_inner_ones_is_seen_outside(
    execute: Execute, project: Path
) -> None:
    (project / "work.py").write_text(
        "import json, os\n"
        "def deep(a, b, c): return {'deep': [a, b, c], 'shown': os.environ['MAGNUS_PRM_MAP_VARIABLE']}\n"
        "def behind(a, b='none', c='none'): return {'behind': [a, b, c]}\n"
        "def after(a='none', b='none', c='none'): return {'after': [a, b, c]}\n"
    )
    text = linear(
        {
            "m": mapped(
                {
                    "list": function("lambda a: {'inner': [a, a * 2]}"),
                    "n": mapped({"o": mapped({"s": python("work.deep")}, "most", "c")}, "inner", "b"),
                    "behind": python("work.behind"),
                },
                "outer",
                "a",
            ),
            "after": python("work.after"),
        },
        parameters={"outer": [1, "x"], "most": [None, True]},
    )
    log = succeeded(execute(text))
    found = steps_of(log)
    assert [s.parameters["deep"] for name, s in found.items() if name.endswith(".s")] == [
        [1, 1, None], [1, 1, True], [1, 2, None], [1, 2, True],
        ["x", "x", None], ["x", "x", True], ["x", "xx", None], ["x", "xx", True],
    ]  # fmt: skip
    assert found["m.x.n.xx.o.true.s"].parameters["shown"] == '{"a": "x", "b": "xx", "c": true}'
    assert found["m.1.behind"].parameters == {"behind": [1, "none", "none"]}
    assert log.parameters["after"] == ["none"] * 3
    assert log.parameters["deep"] == ["x", "xx", True]
    assert log.parameters["inner"] == ["x", "xx"]
    assert not {"a", "b", "c"} & set(log.parameters)


def test_each_item_gets_the_file_that_it_has_put_and_later_steps_that_of_the_last(
    execute: Execute, project: Path
) -> None:
    inner = {
        "put": shell('mkdir -p data; echo "$MAGNUS_PRM_MAP_VARIABLE" > data/f', catalog={"put": ["f"]}),
        "clear": shell("rm data/f"),
        "get": shell("cat data/f >> seen", catalog={"get": ["f"]}),
    }
    text = linear(
        {
            "m": mapped(
                {
                    **inner,
                    "n": mapped(inner, "inner", "j"),
                    "again": shell("cat data/f >> seen", catalog={"get": ["f"]}),
                }
            ),
            "after": shell("cat data/f >> seen", catalog={"get": ["f"]}),
        },
        parameters={"items": ["a", "b"], "inner": [1, 2]},
    )
    log = succeeded(execute(text, "--run-id", "r1"))
    # A map inside a map begins when the steps before it have run for all items of the map around.
    outer, pairs = [{"item": i} for i in "ab"], [{"item": i, "j": j} for i in "ab" for j in (1, 2)]
    expected = [*outer, *pairs, pairs[1], pairs[3], pairs[3]]
    assert [json.loads(line) for line in noted(project)] == expected
    assert json.loads((project / ".catalog" / "r1" / "f").read_text()) == expected[-1]
    keys = [e.catalog_relative_path for s in every(log) for e in s.data_catalog if e.stage == "put"]
    assert len(set(keys)) == len(keys) == 6, "no bytes were overwritten"
    assert "'f' was put by branch 'a' and by 'b'" in log.steps["m"].message


def test_empty_list_is_a_success_without_branches(execute: Execute) -> None:
    inner = mapped({"s": shell("false")}, "none", "j")
    log = succeeded(
        execute(
            linear({"m": mapped({"s": shell("false")}, "none"), "n": mapped({"inner": inner, "t": shell("true")})}),
            "--run-id", "r1", "-p", _parameters(none=[], items=["a"]),
        )
    )  # fmt: skip
    assert branches_of(log) == {"n.a": "SUCCESS"}
    assert [s.status for s in every(log)] == ["SUCCESS"] * 6


def _parameters(**values: Any) -> str:
    Path("parameters.yaml").write_text(yaml.safe_dump(values))
    return "parameters.yaml"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "there is no parameter 'list' to iterate on; this run has: other"),
        ("a,b", "parameter 'list' is no list but str ('a,b')"),
        ("a, b", """by --list '["a", "b"]', which is a list only where the pipeline file declares list"""),
        ('["a"]', """in the run's configuration ({"list": ["a"]})"""),
        ("a", "Give one in a file (--parameters-file)"),
        ({"a": 1}, "parameter 'list' is no list but dict"),
    ],
)
def test_map_without_a_list_is_a_failure_that_its_handler_takes(
    execute: Execute, project: Path, value: Any, why: str
) -> None:
    text = linear(
        {
            "m": mapped({"s": note("s")}, "list", on_failure="h", next="success"),
            "unused": shell("true"),
            "h": note("handler"),
        },
        parameters={"other": 1, **({} if value is None else {"list": value})},
    )
    log = succeeded(execute(text))
    assert list(log.steps) == ["m", "h", "success"]
    assert (log.steps["m"].status, log.steps["m"].branches, log.steps["m"].attempts) == ("FAIL", {}, [])
    assert why in log.steps["m"].message
    assert noted(project) == ["handler"]


@pytest.mark.parametrize(
    ("steps", "most", "given", "is_told"),
    [
        ({"s": function("lambda n: {'n': n + 1}")}, 3, {}, True),
        ({"s": function("lambda n: {'n': n + 1}")}, 1, {}, True),
        ({"s": function("lambda n: {'n': n + 1}")}, 3, {"done": False}, False),
        ({"s": function("lambda n: {'n': n + 1, 'done': False}")}, 2, {}, False),
        ({"s": function("lambda n: {'n': n + 1, 'done': n > 0}")}, 3, {}, False),
        ({"s": shell("exit 1")}, 2, {}, False),
    ],
)
def test_loop_says_so_when_nothing_has_set_the_parameter_that_ends_it(
    execute: Execute, steps: dict[str, Any], most: int, given: dict[str, Any], is_told: bool
) -> None:
    log = execute(linear({"l": loop(steps, most, break_on="done")}, parameters={"n": 0, **given}))
    told = log.steps["l"].message
    assert ("nothing has set the parameter 'done' that break_on names" in told) == is_told
    assert ("the steps inside have set: n." in told) == is_told
    assert log.steps["l"].status == ("FAIL" if "shell" in str(steps) else "SUCCESS")


def test_inner_map_without_a_list_fails_for_its_item_alone(execute: Execute, project: Path) -> None:
    inner = {
        "choose": function("lambda item: {'list': [1] if item == 'good' else item}"),
        "n": mapped({"s": note('"$MAGNUS_PRM_MAP_VARIABLE"')}, "list", "j", on_failure="h", next="z"),
        "z": note("z", next="success"),
        "h": note("h", next="fail"),
    }
    log = execute(linear({"m": mapped(inner)}, parameters={"items": ["bad", "good"]}))
    assert log.status == "FAIL"
    assert branches_of(log) == {"m.bad": "FAIL", "m.good": "SUCCESS", "m.good.n.1": "SUCCESS"}
    assert sorted(noted(project)) == ["h", "z", '{"item": "good", "j": 1}']
    assert steps_of(log)["m.bad.n"].message.endswith("no list but str ('bad'): a map iterates on a list")
    assert "branch 'bad'" in log.steps["m"].message


def test_retry_inside_a_branch_is_of_its_step_and_item_alone(execute: Execute, project: Path) -> None:
    (project / "work.py").write_text(
        "import pathlib\n"
        "def main(item, x):\n"
        "    mark = pathlib.Path(f'tried-{item}')\n"
        "    tries = len(mark.read_text()) if mark.exists() else 0\n"
        "    mark.write_text('x' * (tries + 1))\n"
        "    assert x == 0\n"
        "    if tries < item: raise ValueError(f'not yet {tries}')\n"
        "    return {'x': item}\n"
    )
    inner = {"s": python("work.main", retry=3)}
    log = execute(linear({"m": mapped(inner)}, parameters={"items": [0, 2, 5], "x": 0}))
    assert branches_of(log) == {"m.0": "SUCCESS", "m.2": "SUCCESS", "m.5": "FAIL"}
    attempts = {
        name: [a.status for a in s.attempts] for name, s in steps_of(log).items() if name.endswith(".s")
    }
    assert attempts == {"m.0.s": ["SUCCESS"], "m.2.s": ["FAIL", "FAIL", "SUCCESS"], "m.5.s": ["FAIL"] * 3}
    assert log.parameters["x"] == 2
    assert "branch '5' failed in step 's': ValueError: not yet 2" in log.steps["m"].message


def test_next_attempt_of_an_item_waits_as_long_as_the_file_says(execute: Execute, project: Path) -> None:
    wait = {"airflow": {"retry_delay": 2}}
    step = shell("test -e tried || { touch tried; false; }", retry=2, executor_config=wait)
    log = succeeded(execute(linear({"m": mapped({"s": step})}, parameters={"items": [1]})))
    first, second = steps_of(log)["m.1.s"].attempts
    waited = datetime.fromisoformat(second.start_time) - datetime.fromisoformat(first.end_time)
    assert 2 <= waited.total_seconds() < 15


def test_executed_notebook_is_named_for_the_items(execute: Execute, project: Path) -> None:
    notebook(
        project / "report.ipynb",
        "x = None",
        "import json, os, magnus\nmagnus.store_parameter(found=[x, json.loads(os.environ['MAGNUS_PRM_MAP_VARIABLE'])])",
        tags={0: ["parameters"]},
    )
    inner = {"set": function("lambda i: {'x': i}"), "s": task("report.ipynb", "notebook")}
    log = succeeded(
        execute(
            linear({"m": mapped(inner, "items", "i")}, parameters={"items": ["a/b", "c", "c"]}),
            "--run-id",
            "r1",
        )
    )
    found = [s.parameters["found"] for name, s in steps_of(log).items() if name.endswith(".s")]
    assert found == [[v, {"i": v}] for v in ("a/b", "c", "c")]
    names = ["report_out_a%2Fb.ipynb", "report_out_c.ipynb", "report_out_c~2.ipynb"]
    for folder in (project, project / ".catalog" / "r1"):
        assert sorted(p.name for p in folder.glob("report_out*")) == names
    assert log.steps["m"].message == ""


# conditional


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("text", "text"), (True, "true"), (False, "false"), (1, "1"), ("1", "1"), (None, "null"), (-2, "-2"),
        ("True", "default"), (1.0, "default"), ([], "default"), ("", "default"),
    ],
)  # fmt: skip
def test_value_of_the_parameter_names_the_branch_that_runs(
    execute: Execute, project: Path, value: Any, taken: str
) -> None:
    names = ("text", "true", "false", "1", "null", "-2")
    choice = conditional("p", {name: {"s": note(f"'{name}'")} for name in names}, {"s": note("default")})
    log = succeeded(execute(linear({"c": choice, "after": note("after")}, parameters={"p": value})))
    assert noted(project) == [taken, "after"]
    assert branches_of(log) == {f"c.{taken}": "SUCCESS"}


def test_value_without_a_branch_fails_the_step_with_the_names_there_are(
    execute: Execute, project: Path
) -> None:
    choice = conditional("p", {"x": {"s": note("x")}, "y": {"s": note("y")}}, on_failure="h", next="success")
    text = linear({"c": choice, "unused": shell("true"), "h": note("handler")}, parameters={"q": 0})
    log = succeeded(execute(text, "--p", "z"))
    assert noted(project) == ["handler"]
    assert log.steps["c"].status == "FAIL"
    assert log.steps["c"].message.startswith(
        "parameter 'p' is 'z', and there is no such branch: there are x, y"
    )
    log = succeeded(execute(text))
    assert "there is no parameter 'p' to choose a branch by; this run has: q" in log.steps["c"].message


def test_conditional_inside_a_map_chooses_for_each_item(execute: Execute, project: Path) -> None:
    inner = {
        "c": conditional("item", {"a": {"s": note("took-a")}, "b": {"s": note("took-b", "false")}}),
        "z": note("behind"),
    }
    log = execute(linear({"m": mapped(inner)}, parameters={"items": ["a", "b", "c", "a"]}))
    assert branches_of(log) == {
        "m.a": "SUCCESS", "m.a.c.a": "SUCCESS", "m.b": "FAIL", "m.b.c.b": "FAIL", "m.c": "FAIL",
        "m.a~2": "SUCCESS", "m.a~2.c.a": "SUCCESS",
    }  # fmt: skip
    assert noted(project) == ["took-a", "behind", "took-b", "took-a", "behind"]


# loops


def test_loop_ends_when_its_parameter_is_true_and_each_repetition_sees_the_one_before(
    execute: Execute, project: Path
) -> None:
    inner = {
        "s": function("lambda x, n: {'x': x * 10 + n, 'done': n == 2}"),
        "put": shell(
            "mkdir -p data; cat data/log 2>/dev/null; echo $MAGNUS_PRM_n >> data/log", catalog={"put": ["*"]}
        ),
        "c": note('"$MAGNUS_PRM_x $MAGNUS_PRM_MAP_VARIABLE"'),
    }
    text = linear(
        {
            "l": loop(inner, 5, break_on="done", index_as="n"),
            "after": function("lambda x, n='no': {'y': [x, n]}"),
        },
        parameters={"x": 1},
    )
    log = succeeded(execute(text))
    assert branches_of(log) == {"l.0": "SUCCESS", "l.1": "SUCCESS", "l.2": "SUCCESS"}
    assert noted(project) == ['10 {"n": 0}', '101 {"n": 1}', '1012 {"n": 2}']
    assert log.parameters["y"] == [1012, "no"]
    assert log.steps["l"].message == "", "repetitions come one after the other: their files are no clash"


def test_loop_runs_its_maximum_and_stops_at_a_repetition_that_fails(execute: Execute, project: Path) -> None:
    count = {"s": function("lambda n: {'n': n + 1}"), "c": note("$MAGNUS_PRM_n")}
    log = succeeded(execute(linear({"l": loop(count, 3, break_on="never set")}, parameters={"n": 0})))
    assert (log.parameters["n"], noted(project)) == (3, ["1", "2", "3"])
    fails = {**count, "f": shell("test $MAGNUS_PRM_n -lt 2")}
    text = linear({"l": loop(fails, 5, on_failure="h", next="success"), "u": shell("true"), "h": note("handler")},
                  parameters={"n": 0})  # fmt: skip
    log = succeeded(execute(text))
    assert branches_of(log) == {"l.0": "SUCCESS", "l.1": "FAIL"}
    assert log.parameters["n"] == 2, "what its successful steps have set"
    assert noted(project)[3:] == ["1", "2", "handler"]


def test_loop_whose_parameter_is_no_boolean_fails(execute: Execute, project: Path) -> None:
    text = linear({"l": loop({"s": function("lambda: {'done': 'yes'}"), "n": note("n")}, 3, break_on="done")})
    log = execute(text)
    assert (log.status, noted(project)) == ("FAIL", ["n"])
    assert log.steps["l"].status == "FAIL"
    assert "'done'" in log.steps["l"].message
    assert "'yes'" in log.steps["l"].message


def test_loop_with_a_map_and_a_map_with_a_loop(execute: Execute, project: Path) -> None:
    step = note('"$MAGNUS_PRM_MAP_VARIABLE"')
    until = {"s": step, "d": function("lambda item, k: {'done': k + 1 == item}")}
    text = linear(
        {
            "l": loop({"m": mapped({"s": step}, "items", "i")}, 2, index_as="k"),
            "m": mapped({"l": loop(until, 4, break_on="done", index_as="k"), "z": note("z")}),
        },
        parameters={"items": [1, 2]},
    )
    log = succeeded(execute(text))
    assert noted(project) == [
        '{"k": 0, "i": 1}', '{"k": 0, "i": 2}', '{"k": 1, "i": 1}', '{"k": 1, "i": 2}',
        '{"item": 1, "k": 0}', "z", '{"item": 2, "k": 0}', '{"item": 2, "k": 1}', "z",
    ]  # fmt: skip
    assert list(branches_of(log)) == [
        "l.0", "l.1", "l.0.m.1", "l.0.m.2", "l.1.m.1", "l.1.m.2",
        "m.1", "m.2", "m.1.l.0", "m.2.l.0", "m.2.l.1",
    ]  # fmt: skip


# sub-pipelines


def test_sub_pipeline_sees_and_leaves_parameters_and_may_be_used_often(
    execute: Execute, project: Path
) -> None:
    inner = {"s": function("lambda x: {'x': x + 1}"), "p": parallel({"b": {"t": note("$MAGNUS_PRM_x")}})}
    (project / "inner.yaml").write_text(yaml.safe_dump({"dag": graph(inner), "parameters": {"x": 99}}))
    outer = {"again": sub("inner.yaml"), "m": mapped({"d": sub("inner.yaml")})}
    (project / "outer.yaml").write_text(yaml.safe_dump({"dag": graph(outer)}))
    text = linear({"d": sub("inner.yaml"), "e": sub("outer.yaml")}, parameters={"x": 0, "items": ["a", "b"]})
    log = succeeded(execute(text))
    assert noted(project) == ["1", "2", "3", "3"]
    assert log.parameters["x"] == 3
    assert list(branches_of(log)) == [
        "d.dag", "d.dag.p.b", "e.dag", "e.dag.again.dag", "e.dag.again.dag.p.b", "e.dag.m.a", "e.dag.m.b",
        "e.dag.m.a.d.dag", "e.dag.m.a.d.dag.p.b", "e.dag.m.b.d.dag", "e.dag.m.b.d.dag.p.b",
    ]  # fmt: skip


def test_failure_deep_inside_is_told_at_every_level(execute: Execute, project: Path) -> None:
    (project / "inner.yaml").write_text(
        yaml.safe_dump({"dag": graph({"bad step": shell("echo because; exit 7")})})
    )
    text = linear(
        {"p": parallel({"x": {"m": mapped({"d": sub("inner.yaml")})}})}, parameters={"items": ["a"]}
    )
    log = execute(text)
    assert log.status == "FAIL"
    assert set(branches_of(log).values()) == {"FAIL"}
    message = log.steps["p"].message
    for part in ("branch 'x'", "branch 'a'", "branch 'dag'", "step 'bad step'", "status 7", "because"):
        assert part in message
