"""Steps of type conditional and loop, and what composite steps give to the steps inside."""

from __future__ import annotations

import pytest

from airflow_magnus.errors import PipelineError
from airflow_magnus.pipeline.composites import renamed, unrolled
from airflow_magnus.pipeline.model import MAP_PLACEHOLDER, CompositeStep, Graph
from airflow_magnus.pipeline.parser import check_pipeline, load_pipeline

ENDS = "success: {type: success}, fail: {type: fail}"
TASK = "type: task, command_type: shell, command: ls"
BRANCH = f"{{start_at: s, steps: {{s: {{{TASK}, next: success}}, {ENDS}}}}}"
CHOICE = "type: conditional, next: success"
LOOP = "type: loop, next: success"


def dag(steps: str, start_at: str = "a") -> str:
    """A pipeline; the first of its steps stands in line 4 from column 5."""
    return f"dag:\n  start_at: {start_at}\n  steps:\n    {steps}\n    success: {{type: success}}\n    fail: {{type: fail}}\n"


def graph_of(step: str) -> str:
    """A branch of one step, called ``i``."""
    return f"{{start_at: i, steps: {{i: {step}, {ENDS}}}}}"


def names(graph: Graph) -> list[str]:
    return [step.internal_name for step in graph.walk() if not step.is_terminal]


def composite(graph: Graph, name: str = "a") -> CompositeStep:
    step = graph.steps[name]
    assert isinstance(step, CompositeStep)
    return step


def test_conditional_has_a_branch_for_each_value_and_the_default_last(load) -> None:
    keys = f"default: {BRANCH}, parameter: colour, branches: {{light red: {BRANCH}, blue: {BRANCH}}}"
    pipeline = load(dag(f"a: {{{CHOICE}, on_failure: success, {keys}}}"))
    step = composite(pipeline.graph)
    assert (step.kind, step.parameter, step.has_default) == ("conditional", "colour", True)
    assert step.on_failure == "success"
    assert list(step.branches) == ["light red", "blue", "default"]
    assert names(pipeline.graph) == ["a", "a.light red.s", "a.blue.s", "a.default.s"]
    assert [branch.internal_name for branch in step.branches.values()] == [
        "a.light red",
        "a.blue",
        "a.default",
    ]
    assert not pipeline.warnings


def test_conditional_has_no_default_when_only_a_value_is_called_so(load) -> None:
    step = composite(load(dag(f"a: {{{CHOICE}, parameter: p, branches: {{default: {BRANCH}}}}}")).graph)
    assert (list(step.branches), step.has_default) == (["default"], False)


def test_branch_names_are_the_text_of_values_when_they_are_written_plainly(load) -> None:
    branches = ", ".join(f"{key}: {BRANCH}" for key in ("True", "1", "null", "'yes'", "'010'"))
    step = composite(load(dag(f"a: {{{CHOICE}, parameter: p, branches: {{{branches}}}}}")).graph)
    assert list(step.branches) == ["true", "1", "null", "yes", "010"]


@pytest.mark.parametrize(
    ("written", "read"), [("yes", "true"), ("off", "false"), ("010", "8"), ("~", "null"), ("1_000", "1000")]
)
def test_fault_says_to_quote_when_yaml_reads_a_branch_name_as_another(
    faults, written: str, read: str
) -> None:
    (fault,) = faults(dag(f"a: {{{CHOICE}, parameter: p, branches: {{{written}: {BRANCH}}}}}"))
    assert fault.startswith(f"4:68 dag.steps.a.branches.{read}: {written} is {read} in YAML: ")
    assert f'write it in quotes, "{written}", or write {read}' in fault


@pytest.mark.parametrize("written", ["no", "yes", "on", "Off", "010", "~"])
def test_fault_says_to_quote_when_yaml_reads_the_name_of_a_step_as_another(faults, written: str) -> None:
    branch = f"{{start_at: i, steps: {{i: {{type: as-is, next: success}}, {written}: {{{TASK}, next: success}}, {ENDS}}}}}"
    (fault,) = faults(dag(f"a: {{type: parallel, next: success, branches: {{x: {branch}}}}}"))
    assert f"{written} is " in fault
    assert f'in YAML: write it in quotes, "{written}"' in fault
    (fault,) = faults(dag(f"a: {{type: parallel, next: success, branches: {{{written}: {BRANCH}}}}}"))
    assert f'in YAML: write it in quotes, "{written}"' in fault


def test_plain_and_quoted_names_of_steps_are_accepted(load) -> None:
    steps = ", ".join(f"{name}: {{{TASK}, next: success}}" for name in ("True", "7", "'no'", "nothing", "-x"))
    branch = f"{{start_at: 'no', steps: {{{steps}, {ENDS}}}}}"
    pipeline = load(dag(f"a: {{type: parallel, next: success, branches: {{x: {branch}}}}}"))
    assert list(composite(pipeline.graph).branches["x"].steps)[:5] == ["true", "7", "no", "nothing", "-x"]


@pytest.mark.parametrize(
    ("keys", "key", "other"),
    [
        (f"type: parallel, branch: {BRANCH}", "branches", "branch"),
        (f"{CHOICE.removesuffix(', next: success')}, parameter: p, branch: {BRANCH}", "branches", "branch"),
        (f"type: map, iterate_on: l, iterate_as: i, branches: {{x: {BRANCH}}}", "branch", "branches"),
        (f"type: loop, max_iterations: 2, branches: {{x: {BRANCH}}}", "branch", "branches"),
    ],
)
def test_fault_asks_for_the_other_key_when_branch_and_branches_are_mixed_up(
    faults, keys: str, key: str, other: str
) -> None:
    (fault,) = faults(dag(f"a: {{{keys}, next: success}}"))
    assert f'{key} is missing (there is "{other}": did you mean "{key}"?): a step of type ' in fault


@pytest.mark.parametrize("keys", ["", ", max_iterations: null"])
def test_fault_says_what_to_write_when_a_loop_has_no_maximum(faults, keys: str) -> None:
    (fault,) = faults(dag(f"a: {{{LOOP}{keys}, branch: {BRANCH}}}"))
    assert "how often it may run at most, such as max_iterations: 10 (1 to 100)" in fault


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (f"a: {{{CHOICE}, branches: {{x: {BRANCH}}}}}", "4:5 dag.steps.a: parameter is missing"),
        (f"a: {{{CHOICE}, parameter: p}}", "4:5 dag.steps.a: branches is missing"),
        (f"a: {{{CHOICE}, parameter: p, default: {BRANCH}}}", "dag.steps.a: branches is missing"),
        (
            f"a: {{{CHOICE}, parameter: 3, branches: {{x: {BRANCH}}}}}",
            '4:54 dag.steps.a.parameter: must be text, not the number 3: write it in quotes, "3"',
        ),
        (
            f"a: {{{CHOICE}, parameter: p, branches: {{}}}}",
            "4:67 dag.steps.a.branches: a conditional step needs at least one branch",
        ),
        (
            f"a: {{{CHOICE}, parameter: p, branches: [x]}}",
            "branches: must be a mapping (key: value), not a list",
        ),
        (
            f"a: {{{CHOICE}, parameter: p, branches: {{1.5: {BRANCH}}}}}",
            '4:68 dag.steps.a.branches.1.5: the name "1.5" holds "."',
        ),
        (
            f"a: {{{CHOICE}, parameter: p, branches: {{2024-01-01: {BRANCH}}}}}",
            "the key 2024-01-01 is not text: write it in quotes",
        ),
        (
            f"a: {{{CHOICE}, parameter: p, branches: {{default: {BRANCH}}}, default: {BRANCH}}}",
            '4:68 dag.steps.a.branches.default: "default" is the name of the branch below default: rename',
        ),
        (
            f"a: {{{CHOICE}, parameter: p, branches: {{x: {BRANCH}}}, default: null}}",
            "dag.steps.a.default: must be a mapping (key: value), not nothing (null)",
        ),
        (
            f"a: {{{CHOICE}, parameter: p, branches: {{x: {BRANCH}}}, default: {graph_of('{type: as-is, nxt: success}')}}}",
            'dag.steps.a.default.steps.i.nxt: unknown key "nxt"; the nearest is "next"',
        ),
        (
            f"a: {{{CHOICE}, parameter: p, branches: {{x: {BRANCH}}}, iterate_on: l}}",
            '"iterate_on" has no place on a step of type conditional; allowed: branches, default,',
        ),
        (f"a: {{{LOOP}, max_iterations: 3}}", "4:5 dag.steps.a: branch is missing"),
        (f"a: {{{LOOP}, branch: {BRANCH}}}", "4:5 dag.steps.a: max_iterations is missing"),
        (
            f"a: {{{LOOP}, max_iterations: 0, branch: {BRANCH}}}",
            "4:52 dag.steps.a.max_iterations: must be an integer of at least 1, not 0",
        ),
        (
            f"a: {{{LOOP}, max_iterations: 101, branch: {BRANCH}}}",
            "4:52 dag.steps.a.max_iterations: must be an integer from 1 to 100, not 101",
        ),
        (
            f"a: {{{LOOP}, max_iterations: '3', branch: {BRANCH}}}",
            'max_iterations: must be an integer of at least 1, not the text "3"',
        ),
        (
            f"a: {{{LOOP}, max_iterations: true, branch: {BRANCH}}}",
            "must be an integer of at least 1, not the boolean",
        ),
        (
            f"a: {{{LOOP}, max_iterations: 3, break_on: true, branch: {BRANCH}}}",
            '4:65 dag.steps.a.break_on: must be text, not the boolean true: write it in quotes, "true"',
        ),
        (
            f"a: {{{LOOP}, max_iterations: 3, index_as: '', branch: {BRANCH}}}",
            "4:65 dag.steps.a.index_as: must not be empty",
        ),
        (
            f"a: {{{LOOP}, max_iterations: 3, catalog: {{}}, branch: {BRANCH}}}",
            '"catalog" has no place on a step of type loop; allowed: branch, break_on,',
        ),
        (
            f"a: {{{LOOP}, max_iterations: 3, branch: {graph_of('{type: as-is, next: gone}')}}}",
            '4:108 dag.steps.a.branch.steps.i.next: there is no step "gone" in this graph',
        ),
    ],
)
def test_one_fault_says_what_to_do_when_a_composite_is_faulty(faults, steps: str, expected: str) -> None:
    (fault,) = faults(dag(steps))
    assert expected in fault


@pytest.mark.parametrize(
    "keys",
    [
        f"{CHOICE}, parameter: p, branches: {{x: {BRANCH}}}, command_type: shell, retry: 1, branch: 3",
        f"{LOOP}, max_iterations: 1, branch: {BRANCH}, command_type: shell, retry: 1, branches: 3",
        f"{LOOP}, max_iterations: 1, branch: {BRANCH}, break_on: null, index_as: null, on_failure: null",
        f"{LOOP}, max_iterations: 1, branch: {BRANCH}, mode_config: {{x: 1}}, executor_config: {{local: {{y: 2}}}}",
    ],
)
def test_keys_are_accepted_when_the_table_marks_them(load, keys: str) -> None:
    pipeline = load(dag(f"a: {{{keys}}}"))
    assert not pipeline.warnings
    assert composite(pipeline.graph).break_on == composite(pipeline.graph).index_as == ""


def test_loop_has_one_graph_for_each_iteration(load) -> None:
    pipeline = load(dag(f"a: {{{LOOP}, max_iterations: 3, break_on: done, index_as: n, branch: {BRANCH}}}"))
    step = composite(pipeline.graph)
    assert (step.kind, step.max_iterations, step.break_on, step.index_as) == ("loop", 3, "done", "n")
    assert list(step.branches) == ["0", "1", "2"]
    assert [branch.internal_name for branch in step.branches.values()] == ["a.0", "a.1", "a.2"]
    assert names(pipeline.graph) == ["a", "a.0.s", "a.1.s", "a.2.s"]
    assert {branch.success.internal_name for branch in step.branches.values()} == {
        "a.0.success",
        "a.1.success",
        "a.2.success",
    }


def test_hundred_iterations_are_the_most(load) -> None:
    assert (
        len(composite(load(dag(f"a: {{{LOOP}, max_iterations: 100, branch: {BRANCH}}}")).graph).branches)
        == 100
    )


def test_inner_names_follow_when_a_loop_holds_composites(load) -> None:
    inner = f"{{{LOOP}, max_iterations: 2, branch: {graph_of(f'{{type: map, next: success, iterate_on: l, iterate_as: x, branch: {BRANCH}}}')}}}"
    pipeline = load(dag(f"a: {{{LOOP}, max_iterations: 2, branch: {graph_of(inner)}}}"))
    place = MAP_PLACEHOLDER
    assert [name for name in names(pipeline.graph) if name.endswith(".s")] == [
        f"a.{outer}.i.{inner}.i.{place}.s" for outer in "01" for inner in "01"
    ]
    second = composite(composite(pipeline.graph).branches["1"], "i").branches["0"]
    assert second.internal_name == "a.1.i.0"
    assert composite(second, "i").branches[place].internal_name == f"a.1.i.0.i.{place}"


def test_first_graph_stays_when_it_is_unrolled_or_renamed(load) -> None:
    pipeline = load(dag(f"a: {{{LOOP}, max_iterations: 1, branch: {BRANCH}}}"))
    first = composite(pipeline.graph).branches["0"]
    graphs = unrolled(first, 2)
    assert graphs["0"] is first
    assert first.steps["s"].internal_name == "a.0.s"
    assert graphs["1"] != first
    assert renamed(graphs["1"], "a.0") == first


def test_warning_of_a_loops_branch_stands_once(load) -> None:
    branch = f"{{start_at: s, steps: {{s: {{{TASK}, next: success}}, t: {{{TASK}, next: success}}, {ENDS}}}}}"
    (warning,) = load(dag(f"a: {{{LOOP}, max_iterations: 3, branch: {branch}}}")).warnings
    assert (warning.path, warning.message) == (
        "dag.steps.a.branch.steps.t",
        "no path from start_at leads to this step: it never runs",
    )


def test_number_of_steps_is_limited_when_loops_are_unrolled(
    load, faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_magnus.pipeline.library.MAX_STEPS", 18)
    text = dag(f"a: {{{LOOP}, max_iterations: 5, branch: {BRANCH}}}")
    assert len(list(load(text).graph.walk())) == 3 + 5 * 3 == 18
    (fault,) = faults(text.replace("iterations: 5", "iterations: 6"))
    assert fault.startswith("4:36 dag.steps.a.max_iterations: the pipeline has more than 18 steps, counting")
    nested = graph_of(f"{{{LOOP}, max_iterations: 2, branch: {BRANCH}}}")
    (fault,) = faults(dag(f"a: {{{LOOP}, max_iterations: 2, branch: {nested}}}"))
    assert fault.startswith("4:36 dag.steps.a.max_iterations: the pipeline has more than 18 steps")


def test_loops_are_not_unrolled_when_their_product_is_too_large(faults) -> None:
    branch = BRANCH
    for _ in range(8):
        branch = graph_of(f"{{{LOOP}, max_iterations: 100, branch: {branch}}}")
    (fault,) = faults(dag(f"a: {{{LOOP}, max_iterations: 100, branch: {branch}}}"))
    assert "more than 50000 steps" in fault


def test_sub_definition_is_found_by_every_internal_name_when_files_are_nested(write) -> None:
    inner = graph_of("{type: dag, next: success, dag_definition: one.yaml}")
    path = write(
        dag(
            f"a: {{{LOOP}, max_iterations: 2, branch: {inner}}}\n"
            f"    b: {{type: map, next: a, iterate_on: l, iterate_as: x, branch: {inner}}}",
            start_at="b",
        )
    )
    write(dag("c: {type: dag, next: success, dag_definition: two.yaml}", "c"), "one.yaml")
    write(dag(f"d: {{{TASK.replace('ls', '$x')}, next: success}}", "d"), "two.yaml")
    pipeline = load_pipeline(path, variables={"x": "pwd"})
    outer = [f"{name}.i" for name in ("a.0", "a.1", f"b.{MAP_PLACEHOLDER}")]
    assert sorted(pipeline.sub_definitions) == sorted([*outer, *(f"{name}.dag.c" for name in outer)])
    for name in outer:
        assert pipeline.sub_definitions[name]["start_at"] == "c"
        assert pipeline.sub_definitions[f"{name}.dag.c"]["steps"]["d"]["command"] == "pwd"
    assert pipeline.definition["start_at"] == "b"
    assert load_pipeline(write(dag(f"a: {{{TASK}, next: success}}"), "plain.yaml")).sub_definitions == {}


def test_warning_names_the_inner_step_when_it_hides_what_an_outer_one_gives(write) -> None:
    each = "type: map, next: success, iterate_on: l, iterate_as: x"
    write(dag(f"s: {{{each}, branch: {BRANCH}}}", "s"), "sub.yaml")
    sub = graph_of("{type: dag, next: success, dag_definition: sub.yaml}")
    cases = {
        graph_of(f"{{{each}, branch: {BRANCH}}}"): "dag.steps.a.branch.steps.i.iterate_as",
        graph_of(f"{{{LOOP}, max_iterations: 2, index_as: x, branch: {BRANCH}}}"): (
            "dag.steps.a.branch.steps.i.index_as"
        ),
        sub: "dag.steps.s.iterate_as",
    }
    for branch, place in cases.items():
        faults, warnings = check_pipeline(write(dag(f"a: {{{each}, branch: {branch}}}")))
        assert (faults, [warning.path for warning in warnings]) == ((), [place])
        assert 'gives "x" already' in warnings[0].message


def test_no_warning_when_maps_beside_each_other_give_the_same_name(load) -> None:
    each = f"type: map, iterate_on: l, iterate_as: x, branch: {BRANCH}"
    pipeline = load(dag(f"a: {{{each}, next: b}}\n    b: {{{each}, next: success}}"))
    assert not pipeline.warnings
    other = graph_of(f"{{type: map, next: success, iterate_on: l, iterate_as: y, branch: {BRANCH}}}")
    text = dag(f"a: {{type: map, next: success, iterate_on: l, iterate_as: x, branch: {other}}}")
    assert not load(text).warnings


def test_file_that_contains_itself_is_named_when_a_loop_stands_between(write) -> None:
    inner = graph_of("{type: dag, next: success, dag_definition: pipeline.yaml}")
    with pytest.raises(PipelineError, match="the pipeline contains itself") as caught:
        load_pipeline(write(dag(f"a: {{{LOOP}, max_iterations: 9, branch: {inner}}}")))
    assert len(caught.value.faults) == 1
