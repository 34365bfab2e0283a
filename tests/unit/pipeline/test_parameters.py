from __future__ import annotations

from typing import Any

import pytest

from airflow_magnus.errors import PipelineError
from airflow_magnus.pipeline.model import Parameter
from airflow_magnus.pipeline.parameters import initial_parameters


def test_later_source_wins_when_several_give_a_value(write) -> None:
    declared = {name: Parameter(name, "default") for name in "abcd"}
    file = write("b: file\nc: file\nd: file\ne: [1]\n", "params.yaml")
    environ = {
        "MAGNUS_PRM_c": "env",
        "MAGNUS_PRM_d": "env",
        "MAGNUS_PRM_Case": "1",
        "MAGNUS_PRM_MAP_VARIABLE": "x",
        "PATH": "/",
    }
    values = initial_parameters(declared, file, environ, {"d": "option", "f": "3"})
    assert values == {"a": "default", "b": "file", "c": "env", "d": "option", "e": [1], "Case": 1, "f": "3"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", 3),
        ('{"k": 1}', {"k": 1}),
        ("word", "word"),
        ("NaN", "NaN"),
        ("", ""),
        ('"q"', "q"),
        ("null", None),
        ("[" * 9999, "[" * 9999),
    ],
)
def test_environment_is_json_else_text_when_read(text: str, expected: Any) -> None:
    assert initial_parameters({}, None, {"MAGNUS_PRM_x": text}, {}) == {"x": expected}


@pytest.mark.parametrize(
    ("parameter", "text", "expected"),
    [
        (None, "3", "3"),
        (Parameter("x", "word"), "3", "3"),
        (Parameter("x", None), "3", "3"),
        (Parameter("x", 1), "3", 3),
        (Parameter("x", 1), "3.5", 3.5),
        (Parameter("x", 1), "true", "true"),
        (Parameter("x", 1), "three", "three"),
        (Parameter("x", True), "false", False),
        (Parameter("x", True), "0", "0"),
        (Parameter("x", [1]), "[2]", [2]),
        (Parameter("x", {"a": 1}), '{"b": 2}', {"b": 2}),
        (Parameter("x", None, {"type": "integer"}, False), "3", 3),
        (Parameter("x", None, {"type": "string"}, False), "3", "3"),
        (Parameter("x", None, {"type": ["integer", "string"]}, False), "3", "3"),
        (Parameter("x", None, {"enum": [1, 2]}, False), "2", 2),
        (Parameter("x", None, {"enum": ["1", 2]}, False), "1", "1"),
        (Parameter("x", None, {"type": ["integer", "null"]}, False), "null", None),
    ],
)
def test_option_is_typed_when_declared_type_is_not_text(
    parameter: Parameter | None, text: str, expected: Any
) -> None:
    declared = {"x": parameter} if parameter else {}
    value = initial_parameters(declared, None, {}, {"x": text})["x"]
    assert (value, type(value)) == (expected, type(expected))


def test_environment_stays_text_when_schema_accepts_only_text() -> None:
    declared = {"x": Parameter("x", "", {"type": "string"})}
    assert initial_parameters(declared, None, {"MAGNUS_PRM_x": "007"}, {}) == {"x": "007"}
    assert initial_parameters(declared, None, {"MAGNUS_PRM_x": "7"}, {}) == {"x": "7"}


@pytest.mark.parametrize(
    ("schema", "text", "words"),
    [
        ({"type": "integer", "maximum": 10}, "30", ["the parameter x", "the number 30", "maximum 10"]),
        ({"type": "integer"}, "three", ["the parameter x", 'the text "three"', 'type "integer"']),
        ({"enum": ["a", "b"]}, "c", ["the parameter x", 'the text "c"', '["a", "b"]']),
    ],
)
def test_fault_names_parameter_value_and_allowed_when_schema_refuses(
    schema: dict, text: str, words: list[str]
) -> None:
    with pytest.raises(PipelineError) as caught:
        initial_parameters({"x": Parameter("x", None, schema, False)}, None, {}, {"x": text})
    assert all(word in str(caught.value) for word in words)


def test_fault_says_how_to_give_a_value_when_there_is_none() -> None:
    with pytest.raises(PipelineError, match="--x VALUE, MAGNUS_PRM_x or a parameters file"):
        initial_parameters({"x": Parameter("x", None, {"type": "string"}, False)}, None, {}, {})


def test_parameters_are_those_of_other_sources_when_file_is_empty(write) -> None:
    assert initial_parameters({}, write("", "params.yaml"), {}, {"a": "1"}) == {"a": "1"}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("- a", "1:1"),
        ("a: 2024-01-01", "1:4"),
        ("a: 1\na: 2", "2:1"),
        ("x: 1\nn: 99", "2:4"),
        ("n: .nan", "1:4"),
    ],
)
def test_fault_has_position_when_parameters_file_is_faulty(write, text: str, place: str) -> None:
    declared = {"n": Parameter("n", 1, {"maximum": 9})}
    with pytest.raises(PipelineError) as caught:
        initial_parameters(declared, write(text, "params.yaml"), {}, {})
    position = caught.value.faults[0].position
    assert f"{position.line}:{position.column}" == place


def test_fault_says_to_quote_when_yaml_reads_the_name_of_a_parameter_as_another(write) -> None:
    with pytest.raises(PipelineError) as caught:
        initial_parameters({}, write("on: 1\nx: 2\n", "params.yaml"), {}, {})
    (fault,) = caught.value.faults
    assert fault.message == 'on is true in YAML: write it in quotes, "on", or write true'
