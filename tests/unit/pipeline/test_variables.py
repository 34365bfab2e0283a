from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_magnus.errors import PipelineError
from airflow_magnus.pipeline.hashing import dag_hash
from airflow_magnus.pipeline.variables import read_variables, substitute


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$a", "A"),
        ("${a}b", "Ab"),
        ("$ab", "$ab"),
        ("$$a", "$$a"),
        ("$$$a", "$$A"),
        ("echo $$ ${unset} $HOME ${a:-x}", "echo $$ ${unset} $HOME ${a:-x}"),
        ("$once", "$a"),
        ("$quote", '"\\\n'),
    ],
)
def test_text_is_substituted_once_when_name_is_known(text: str, expected: str) -> None:
    variables = {"a": "A", "once": "$a", "quote": '"\\\n'}
    assert substitute({"$a": [text, 1, None]}, variables) == {"$a": [expected, 1, None]}


def test_file_wins_over_environment_when_both_name_a_variable(write: Callable[..., Path]) -> None:
    file = write("a: file\nversion: 3.10\nflag: yes\nempty:\n", "vars.yaml")
    variables = read_variables(file, {"MAGNUS_VAR_a": "env", "MAGNUS_VAR_b": "env", "OTHER": "x"})
    assert variables == {"a": "file", "b": "env", "version": "3.10", "flag": "yes", "empty": ""}


def test_variables_are_empty_when_file_is_empty(write: Callable[..., Path]) -> None:
    assert read_variables(write("", "vars.yaml"), {}) == {}


@pytest.mark.parametrize("text", ["[a]", "a: [1]", "a-b: 1", "a: {b: 1}"])
def test_variables_are_refused_when_file_is_no_flat_mapping(write: Callable[..., Path], text: str) -> None:
    with pytest.raises(PipelineError):
        read_variables(write(text, "vars.yaml"), {})


def test_value_never_becomes_structure_when_substituted(load, faults, step_text) -> None:
    text = step_text("retry: $n, executor_config: {local: {a: $n}}")
    assert "must be an integer" in faults(text, variables={"n": "3"})[0]
    pipeline = load(step_text("executor_config: {local: {a: $n}}"), variables={"n": "{b: 1}"})
    assert pipeline.graph.steps["a"].executor_config == {"local": {"a": "{b: 1}"}}


def test_hash_is_of_substituted_section_when_variables_are_given(load, step_text) -> None:
    text = step_text().replace("ls", "$what")
    pipeline = load(text, variables={"what": "ls"})
    assert pipeline.dag_hash == load(step_text()).dag_hash == dag_hash(pipeline.definition)
    assert load(text).dag_hash != pipeline.dag_hash
