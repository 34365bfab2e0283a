"""What the ``dag`` section may hold, and what is said of what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_magnus.errors import PipelineError
from airflow_magnus.pipeline.model import MAP_PLACEHOLDER, CatalogRequest, CompositeStep, TaskStep
from airflow_magnus.pipeline.parser import check_pipeline, load_pipeline

ENDS = "success: {type: success}, fail: {type: fail}"
TASK = "type: task, command_type: shell, command: ls"
BRANCH = f"{{start_at: s, steps: {{s: {{{TASK}, next: success}}, {ENDS}}}}}"


def dag(steps: str, start_at: str = "a") -> str:
    """A pipeline; the first of its steps stands in line 4 from column 5."""
    return f"dag:\n  start_at: {start_at}\n  steps:\n    {steps}\n    success: {{type: success}}\n    fail: {{type: fail}}\n"


def test_model_has_every_setting_when_task_gives_them(load) -> None:
    pipeline = load(
        dag(
            f"a: {{{TASK}, next: success, on_failure: b, retry: 3, cache: true, mode_config: {{x: 1, y: 1}},"
            " catalog: {get: [a/*], put: ['*'], compute_data_folder: d},"
            " executor_config: {airflow: {queue: big, retry_delay: 5m}, local: {y: 2}, argo: null}}\n"
            f"    b: {{type: as-is, command: [ignored], command_type: python, render_string: x, next: fail}}"
        )
    )
    step = pipeline.graph.steps["a"]
    assert isinstance(step, TaskStep)
    assert (step.command_type, step.command, step.next, step.on_failure) == ("shell", "ls", "success", "b")
    assert (step.attempts, step.internal_name, step.position.line) == (3, "a", 4)
    assert step.catalog == CatalogRequest("d", ("a/*",), ("*",))
    assert step.executor_config == {
        "airflow": {"queue": "big", "retry_delay": "5m"},
        "local": {"x": 1, "y": 2},
    }
    assert pipeline.graph.after_failure(pipeline.graph.steps["b"]).name == "fail"
    assert [step.name for step in pipeline.graph.steps.values() if step.is_cached] == ["a"]
    assert not pipeline.warnings


def test_branches_have_internal_names_when_composites_are_nested(load) -> None:
    inner = f"{{start_at: m, steps: {{m: {{type: map, iterate_on: l, iterate_as: i, next: success, branch: {BRANCH}}}, {ENDS}}}}}"
    pipeline = load(dag(f"a: {{type: parallel, next: success, branches: {{x y: {inner}, z: {BRANCH}}}}}"))
    outer = pipeline.graph.steps["a"]
    assert isinstance(outer, CompositeStep)
    assert list(outer.branches) == ["x y", "z"]
    map_step = outer.branches["x y"].steps["m"]
    assert isinstance(map_step, CompositeStep)
    assert (map_step.iterate_on, map_step.iterate_as, map_step.internal_name) == ("l", "i", "a.x y.m")
    assert map_step.branches[MAP_PLACEHOLDER].steps["s"].internal_name == f"a.x y.m.{MAP_PLACEHOLDER}.s"


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (
            f"a: {{{TASK}, next: success, colour: red}}",
            '4:70 dag.steps.a.colour: unknown key "colour"; the nearest is',
        ),
        (f"a: {{{TASK}, nxt: success}}", '4:55 dag.steps.a.nxt: unknown key "nxt"; the nearest is "next"'),
        (f"a: {{{TASK}}}", "4:5 dag.steps.a: next is missing"),
        ("a: {type: task, next: success}", "4:5 dag.steps.a: command is missing"),
        (
            "a: {type: task, command: 3, next: success}",
            'dag.steps.a.command: must be text, not the number 3: write it in quotes, "3"',
        ),
        (
            f"a: {{{TASK}, next: no}}",
            '4:61 dag.steps.a.next: must be text, not the boolean false: write it in quotes, "no"',
        ),
        ("a: {command: x.y, next: success}", "4:5 dag.steps.a: type is missing; allowed: task, as-is"),
        (
            "a: {typ: task, command: x.y, next: success}",
            '4:9 dag.steps.a.typ: unknown key "typ"; the nearest is "type"',
        ),
        (
            "a: {type: tusk, next: success}",
            '4:15 dag.steps.a.type: unknown type of step "tusk"; the nearest is "task"',
        ),
        ("a: {type: stub, next: success}", 'unknown type of step "stub": a stub is called "as-is" here'),
        ("a: 3", "4:8 dag.steps.a: must be a mapping"),
        (
            "a: {type: task, command_type: shel, command: ls, next: success}",
            'unknown command type "shel"; the nearest is "shell"',
        ),
        (
            "a: {type: as-is, command_type: shel, next: success}",
            'unknown command type "shel"; the nearest is "shell"',
        ),
        (f"a: {{{TASK}, next: nowhere}}", '4:61 dag.steps.a.next: there is no step "nowhere" in this graph'),
        (
            f"a: {{{TASK}, next: success, on_failure: suxess}}",
            'no step "suxess" in this graph; the nearest is "success"',
        ),
        (f"a: {{{TASK}, next: a}}", "4:61 dag.steps.a.next: the steps go round in a circle: a → a;"),
        (
            f"a: {{{TASK}, next: b}}\n    b: {{{TASK}, next: fail, on_failure: a}}",
            "circle: a → b (on_failure) → a;",
        ),
        (
            f"a: {{{TASK}, next: fail}}\n    x: {{{TASK}, next: y}}\n    y: {{{TASK}, next: x}}",
            "circle: x → y → x;",
        ),
        (
            f"a: {{{TASK}, next: end}}\n    end: {{type: success}}",
            'exactly one success node, and "end" is one already',
        ),
        (
            f"a: {{{TASK}, next: end}}\n    end: {{type: fail}}",
            'exactly one fail node, and "end" is one already',
        ),
        (f"a%: {{{TASK}, next: success}}", '4:5 dag.steps.a%: the name "a%" holds "%"'),
        (f"a: {{{TASK}, next: success}}\n    '': {{{TASK}, next: success}}", "a name must not be empty"),
        (f"{MAP_PLACEHOLDER}: {{{TASK}, next: success}}", "is reserved"),
        (
            f"a: {{{TASK}, next: success, retry: true}}",
            "must be an integer of at least 0, not the boolean true",
        ),
        (f"a: {{{TASK}, next: success, retry: -1}}", "must be an integer of at least 0, not -1"),
        (f"a: {{{TASK}, next: success, retry: '3'}}", 'must be an integer of at least 0, not the text "3"'),
        (
            f"a: {{{TASK}, next: success, branches: {{}}}}",
            '"branches" has no place on a step of type task; allowed: cache, catalog',
        ),
        (
            f"a: {{{TASK}, next: success, catalog: {{put: '*'}}}}",
            "put: must be a list of text, not the text \"*\": write a list, ['*']",
        ),
        (
            f"a: {{{TASK}, next: success, catalog: {{get: [../x]}}}}",
            'get[0]: "../x" leads out of the compute data folder',
        ),
        (
            f"a: {{{TASK}, next: success, catalog: {{put: [/x]}}}}",
            'put[0]: "/x" leads out of the compute data folder',
        ),
        (
            f"a: {{{TASK}, next: success, catalog: {{compute_data_folder: a/../../b}}}}",
            "leads out of the working folder",
        ),
        (
            f"a: {{{TASK}, next: success, catalog: {{compute_data_folder: /a}}}}",
            "leads out of the working folder",
        ),
        (f"a: {{{TASK}, next: success, catalog: {{gets: []}}}}", 'unknown key "gets"; the nearest is "get"'),
        (f"a: {{{TASK}, next: success, command_config: {{x: 1}}}}", 'unknown key "x": none is allowed here'),
        ("a: {type: task, command_type: notebook, command: a.py, next: success}", "ends with .ipynb"),
        (
            "a: {type: task, command_type: notebook, command: a.ipynb, command_config: {output: b}, next: success}",
            'unknown key "output"; the nearest is "notebook_output_path"',
        ),
        ("a: {type: task, command_type: container, next: success}", "needs command_config: {image: …}"),
        (
            "a: {type: task, command_type: container, command: a, command_config: {image: i, command: b}, next: success}",
            "command and command_config.command differ",
        ),
        (
            f"a: {{{TASK}, next: success, executor_config: {{airflo: {{}}}}}}",
            'unknown key "airflo"; the nearest is "airflow"',
        ),
        (
            f"a: {{{TASK}, next: success, executor_config: {{airflow: {{trigger_rule: x}}}}}}",
            "next and on_failure alone decide",
        ),
        (
            f"a: {{{TASK}, next: success, executor_config: {{airflow: {{pool_slots: 0}}}}}}",
            "integer of at least 1",
        ),
        (
            f"a: {{{TASK}, next: success, executor_config: {{airflow: {{retry_delay: 5x}}}}}}",
            "'5x' is not a length of time",
        ),
        (
            f"a: {{{TASK}, next: success, executor_config: {{local: 3}}}}",
            "executor_config.local: must be a mapping",
        ),
        (f"a: {{{TASK}, next: success, command: 2024-01-01}}", 'the key "command" is here twice'),
        (
            f"a: {{{TASK}, next: success, mode_config: {{x: 2024-01-01}}}}",
            "must be a JSON value, not the date 2024-01-01",
        ),
        (f"a: {{{TASK}, next: success, cache: 'true'}}", 'cache: must be true or false, not the text "true"'),
        (f"a: {{{TASK}, next: success, cache: 1}}", "cache: must be true or false, not the number 1"),
        (f"a: {{{TASK}, next: success, cache: null}}", "cache: must be true or false, not nothing (null)"),
        ("a: {type: as-is, next: success, cache: true}", '"cache" has no place on a step of type as-is'),
        ("a: {type: parallel, next: success}", "branches is missing"),
        ("a: {type: parallel, next: success, branches: {}}", "needs at least one branch"),
        (
            f"a: {{type: parallel, next: success, branches: {{x.y: {BRANCH}}}}}",
            'branches.x.y: the name "x.y" holds "."',
        ),
        (
            f"a: {{type: parallel, next: success, branches: {{x: {BRANCH}}}, catalog: {{}}}}",
            '"catalog" has no place on a step of type parallel',
        ),
        (f"a: {{type: map, next: success, iterate_on: l, branch: {BRANCH}}}", "iterate_as is missing"),
        ("a: {type: map, next: success, iterate_on: l, iterate_as: i}", "branch is missing"),
        ("a: {type: dag, next: success}", "dag_definition is missing"),
        ("a: {type: dag, next: success, dag_definition: none.yaml}", "there is no such file"),
    ],
)
def test_one_fault_says_what_to_do_when_a_step_is_faulty(faults, steps: str, expected: str) -> None:
    start_at = steps.split(":")[0]
    (fault,) = faults(dag(steps, start_at=start_at))
    assert expected in fault


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["1:1 : {file} is empty; a pipeline file needs a dag section"]),
        ("- a", ["1:1 : {file} must hold a mapping with a dag section, not a list"]),
        ("x-a: 1", ["1:1 : {file} has no dag section"]),
        ("dag: []", ["1:6 dag: dag of {file} must be a mapping, not a list"]),
        ("dag: {start_at: a}", ["1:1 dag: steps is missing: a mapping of names to steps"]),
        ("dag: {start_at: a, steps: []}", ["1:27 dag.steps: must be a mapping (key: value), not a list"]),
        (
            "dag: {start_at: a, steps: {}}",
            ["1:27 dag.steps: there must be at least one step, one success node and one fail node"],
        ),
    ],
)
def test_fault_is_one_when_there_is_no_graph(faults, tmp_path: Path, text: str, expected: list[str]) -> None:
    assert faults(text) == [line.replace("{file}", str(tmp_path / "pipeline.yaml")) for line in expected]


def test_every_fault_is_reported_in_order_when_there_are_several(faults) -> None:
    found = faults(
        "dag:\n  start_at: zzz\n  max_time: 0\n  steps:\n"
        f"    a: {{{TASK}, next: nowhere, retry: x}}\n    b: {{type: wizard, next: gone}}\n    fail: {{type: fail}}\nrun_log: {{}}\n"
    )
    assert [line.split(":")[0] + ":" + line.split(": ")[0].split(":", 1)[1] for line in found] == [
        "2:13 dag.start_at",
        "3:13 dag.max_time",
        "4:3 dag.steps",
        "5:61 dag.steps.a.next",
        "5:77 dag.steps.a.retry",
        "6:15 dag.steps.b.type",
        "6:29 dag.steps.b.next",
        "8:1 run_log",
    ]
    assert "write run_log_store" in found[-1]


def test_consequences_are_not_reported_when_their_cause_is(faults) -> None:
    assert (
        len(
            faults(
                f"dag: {{start_at: a, steps: {{a: {{{TASK}, next: s}}, s: {{type: suxess}}, fail: {{type: fail}}}}}}"
            )
        )
        == 1
    )
    assert len(faults(dag(f"a: {{{TASK}, next: b}}\n    b: {{{TASK}, next: a, on_failure: gone}}"))) == 1


@pytest.mark.parametrize(
    ("steps", "place", "message"),
    [
        (
            f"a: {{{TASK}, next: success}}\n    b: {{{TASK}, next: success}}",
            "5:5 dag.steps.b",
            "it never runs",
        ),
        (f"a: {{{TASK}, next: fail}}", "5:5 dag.steps.success", "every run fails"),
        ("a: {type: task, command: nodot, next: success}", "4:30 dag.steps.a.command", "not a dotted name"),
        (
            "a: {type: task, command_type: python-lambda, command: 'lambda x: (', next: success}",
            "4:59 dag.steps.a.command",
            "no lambda",
        ),
        (
            "a: {type: task, command_type: python-lambda, command: 'dict', next: success}",
            "4:59 dag.steps.a.command",
            "another expression",
        ),
        (
            f"a: {{type: parallel, retry: 3, next: success, branches: {{x: {BRANCH}}}}}",
            "4:25 dag.steps.a.retry",
            "steps inside",
        ),
    ],
)
def test_warning_stands_at_its_place_when_file_is_accepted(
    load, steps: str, place: str, message: str
) -> None:
    (warning,) = load(dag(steps)).warnings
    assert f"{warning.position.line}:{warning.position.column} {warning.path}" == place
    assert message in warning.message


def test_keys_without_meaning_are_accepted_when_the_table_marks_them(load) -> None:
    load(
        dag(
            f"a: {{{TASK}, next: success, branch: 1, source_data: 2, catalog: null, on_failure: null, executor_config: null}}"
        )
    )
    load(
        dag(
            "a: {type: as-is, next: success, command_config: {x: 1}, branches: 1, catalog: {get: null, put: null}}"
        )
    )
    load(
        dag(
            f"a: {{type: map, next: success, iterate_on: l, iterate_as: i, branch: {BRANCH}, retry: 0, branches: 1}}"
        )
    )


def test_command_of_container_is_found_when_it_stands_in_either_place(load) -> None:
    for keys in ("command: run, command_config: {image: i}", "command_config: {image: i, command: run}"):
        step = load(dag(f"a: {{type: task, command_type: container, {keys}, next: success}}")).graph.steps[
            "a"
        ]
        assert isinstance(step, TaskStep)
        assert step.command == "run"


def test_sub_pipeline_is_relative_to_its_file_or_to_base_when_given(write, tmp_path: Path) -> None:
    path = write(dag("a: {type: dag, next: success, dag_definition: sub/one.yaml}"), "p/main.yaml")
    write(dag("b: {type: dag, next: success, dag_definition: two.yaml}", "b"), "p/sub/one.yaml")
    write(dag(f"c: {{{TASK.replace('ls', '$x')}, next: success}}", "c"), "p/sub/two.yaml")
    step = load_pipeline(path, variables={"x": "pwd"}).graph.steps["a"]
    assert isinstance(step, CompositeStep)
    inner = step.branches["dag"].steps["b"]
    assert isinstance(inner, CompositeStep)
    leaf = inner.branches["dag"].steps["c"]
    assert isinstance(leaf, TaskStep)
    assert (leaf.internal_name, leaf.command) == ("a.dag.b.dag.c", "pwd")
    assert load_pipeline(path, variables={"x": "pwd"}, base=tmp_path) == load_pipeline(
        path, variables={"x": "pwd"}
    )


def test_sub_pipeline_is_looked_for_beside_its_file_then_in_base(write, tmp_path: Path) -> None:
    path = write(dag("a: {type: dag, next: success, dag_definition: one.yaml}"), "p/main.yaml")
    with pytest.raises(PipelineError) as caught:
        load_pipeline(path, base=tmp_path)
    (fault,) = caught.value.faults
    assert fault.message.startswith('there is no such file "one.yaml": looked beside this file')
    assert f"({tmp_path}/p/one.yaml) and in the current folder ({tmp_path}/one.yaml)" in fault.message
    write(dag(f"b: {{{TASK}, next: success}}", "b"), "one.yaml")
    pipeline = load_pipeline(path, base=tmp_path)
    assert not pipeline.warnings
    with pytest.raises(PipelineError, match="there is no such file"):
        load_pipeline(path)
    write(dag(f"c: {{{TASK}, next: success}}", "c"), "p/one.yaml")
    pipeline = load_pipeline(path, base=tmp_path)
    step = pipeline.graph.steps["a"]
    assert isinstance(step, CompositeStep)
    assert "c" in step.branches["dag"].steps
    (warning,) = pipeline.warnings
    assert "lies beside this file and in the current folder" in warning.message


def test_name_of_a_sub_pipeline_may_be_anything(write, tmp_path: Path) -> None:
    for name in ("x" * 300, "pipeline.yaml/y", '"\\0"', ".."):
        path = write(dag(f"a: {{type: dag, next: success, dag_definition: {name}}}"))
        with pytest.raises(PipelineError) as caught:
            load_pipeline(path, base=tmp_path / "elsewhere")
        assert caught.value.faults[0].path == "dag.steps.a.dag_definition"


def test_faults_of_sub_pipelines_name_their_file_and_come_last_when_used_twice(write) -> None:
    path = write(
        dag(
            "a: {type: dag, next: b, dag_definition: s.yaml}\n    b: {type: dag, next: gone, dag_definition: s.yaml}"
        )
    )
    sub = write(dag("x: {type: task, next: success}", "x"), "s.yaml")
    faults, _ = check_pipeline(path)
    assert [(fault.position.file, fault.path) for fault in faults] == [
        (path, "dag.steps.b.next"),
        (sub, "dag.steps.x"),
    ]


def test_chain_of_files_is_named_when_pipelines_contain_each_other(write) -> None:
    path = write(dag("a: {type: dag, next: success, dag_definition: one.yaml}"), "main.yaml")
    one = write(dag("a: {type: dag, next: success, dag_definition: two.yaml}"), "one.yaml")
    two = write(dag("a: {type: dag, next: success, dag_definition: ./one.yaml}"), "two.yaml")
    (fault,), _ = check_pipeline(path)
    assert fault.position.file == two
    assert fault.message == f"the pipeline contains itself: {one} → {two} → {one}"


def test_digest_changes_when_a_sub_pipeline_does(write) -> None:
    path = write(dag("a: {type: dag, next: success, dag_definition: s.yaml}"))
    write(dag(f"x: {{{TASK}, next: success}}", "x"), "s.yaml")
    before = load_pipeline(path)
    write(dag(f"x: {{{TASK}, next: success, retry: 2}}", "x"), "s.yaml")
    after = load_pipeline(path)
    assert before.digest != after.digest
    assert before.dag_hash == after.dag_hash
    assert len(after.digest) == 64


def test_number_of_steps_is_limited_when_sub_pipelines_multiply(
    write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_magnus.pipeline.library.MAX_STEPS", 20)
    for level in range(6):
        inner = f"type: dag, dag_definition: f{level + 1}.yaml" if level < 5 else TASK
        write(dag(f"a: {{{inner}, next: b}}\n    b: {{{inner}, next: success}}"), f"f{level}.yaml")
    with pytest.raises(PipelineError, match="more than 20 steps"):
        load_pipeline(write("x-a: 1", "f0.yaml").with_name("f1.yaml"))
