"""Parameters: what a file declares, and the values a run begins with. Source: contract 10."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from airflow_magnus.errors import Fault, PipelineError, Position
from airflow_magnus.pipeline.cursor import Cursor, Report, described
from airflow_magnus.pipeline.model import Parameter
from airflow_magnus.pipeline.schemas import has_type, is_schema, schema_fault, value_fault
from airflow_magnus.pipeline.text import read_document

PREFIX = "MAGNUS_PRM_"
"""How the environment names a parameter."""
NOT_A_PARAMETER = "MAP_VARIABLE"
"""The name behind :data:`PREFIX` that carries the items of maps."""


def declared_parameters(section: Cursor) -> dict[str, Parameter]:
    """Read the ``parameters`` section of a pipeline file: name → default value, or name → JSON Schema."""
    if section.value is None or section.as_mapping() is None:
        return {}
    return {
        name: _declared(name, entry)
        for name, entry in section.items()
        if _has_good_name(name, entry) & entry.is_json()
    }


def _has_good_name(name: str, entry: Cursor) -> bool:
    is_good = bool(name.strip()) and "=" not in name and name.isprintable()
    if not is_good:
        entry.fault(
            f"{name!r} cannot name a parameter: write text without = and control characters", at_key=True
        )
    entry.check_key()
    return is_good


def _declared(name: str, entry: Cursor) -> Parameter:
    if not is_schema(entry.value):
        return Parameter(name, entry.value)
    schema = {key: value for key, value in entry.value.items() if key != "default"}
    parameter = Parameter(name, entry.value.get("default"), schema, entry.has("default"))
    if reason := schema_fault(schema):
        hint = "if the mapping is the value itself, write it below default: with type: object"
        entry.fault(f"is no JSON Schema: {reason}; {hint}")
    elif parameter.has_default and (reason := value_fault(parameter.default, schema)):
        entry.at("default").fault(f"the default does not fit its schema: {reason}")
    return parameter


def initial_parameters(
    declared: Mapping[str, Parameter],
    parameters_file: Path | None,
    environ: Mapping[str, str],
    options: Mapping[str, str],
) -> dict[str, Any]:
    """Give the parameters a run begins with; each source wins over those before it.

    The sources are the declared defaults, a file, the environment (``MAGNUS_PRM_<name>``: JSON, else text) and options.
    An option is text. When its parameter is declared with another type (by a schema or by the type of the default) and the
    text is JSON of that type, it is that value: so ``--x 3`` gives what the trigger form on Airflow gives.

    :param parameters_file: a YAML mapping of names to JSON values; it may be empty.
    :raises PipelineError: the file is faulty, a declared schema refuses a value, or a parameter that is declared without
        a default has no value.
    """
    report = Report()
    values = {name: parameter.default for name, parameter in declared.items() if parameter.has_default}
    places: dict[str, Position] = {}
    if parameters_file is not None:
        for name, entry in _of_file(parameters_file, report):
            values[name] = entry.value
            places[name] = entry.document.position(entry.keys)
    for source, read in ((_of_environment(environ), _environment_value), (options, _option_value)):
        for name, text in source.items():
            values[name] = read(text, declared.get(name))
            places.pop(name, None)
    for name, parameter in declared.items():
        _check(name, parameter, values, places.get(name), report)
    if report.faults:
        raise PipelineError(report.faults)
    return values


def given_names(
    parameters_file: Path | None, environ: Mapping[str, str], options: Mapping[str, str]
) -> list[str]:
    """Names of the parameters that :func:`initial_parameters` takes from anywhere but the declared defaults, sorted."""
    of_file = [name for name, _ in _of_file(parameters_file, Report())] if parameters_file else []
    return sorted({*of_file, *_of_environment(environ), *options})


def _of_file(file: Path, report: Report) -> list[tuple[str, Cursor]]:
    document = read_document(file)
    top = Cursor(document, report, document.value)
    if document.value is not None and top.as_mapping() is not None:
        top.is_json()
    for _, entry in top.items():
        entry.check_key()
    return list(top.items())


def _of_environment(environ: Mapping[str, str]) -> dict[str, str]:
    found = {name.removeprefix(PREFIX): text for name, text in environ.items() if name.startswith(PREFIX)}
    return {name: text for name, text in found.items() if name not in ("", NOT_A_PARAMETER)}


def _check(
    name: str, parameter: Parameter, values: Mapping[str, Any], place: Position | None, report: Report
) -> None:
    path = f"parameters.{name}"
    if name not in values:
        how = f"give --{name} VALUE, {PREFIX}{name} or a parameters file, or write a default"
        report.add(Fault(place, path, f"the parameter {name} has no value: {how}"))
    elif reason := value_fault(values[name], parameter.schema):
        report.add(Fault(place, path, f"the parameter {name} cannot be {described(values[name])}: {reason}"))


def _json(text: str) -> tuple[bool, Any]:
    """Whether the text is JSON (nan and infinity are not), and its value."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        return True, json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return False, None


def _environment_value(text: str, parameter: Parameter | None) -> Any:
    is_json, value = _json(text)
    if not is_json:
        return text
    schema = parameter.schema if parameter is not None else {}
    is_text_only = bool(value_fault(value, schema)) and not value_fault(text, schema)
    return text if is_text_only else value


def _option_value(text: str, parameter: Parameter | None) -> Any:
    is_json, value = _json(text)
    if parameter is None or not is_json:
        return text
    if not parameter.schema:
        return value if _is_like(value, parameter.default) else text
    schema = parameter.schema
    if not value_fault(text, schema):
        return text
    return value if has_type(value, schema) or not value_fault(value, schema) else text


def _is_like(value: Any, default: Any) -> bool:
    """True when the value has the type of a default that is not text; integers and other numbers are one type."""
    checks: tuple[Callable[[Any], bool], ...] = (
        lambda item: isinstance(item, bool),
        lambda item: isinstance(item, int | float) and not isinstance(item, bool),
        lambda item: isinstance(item, list),
        lambda item: isinstance(item, dict),
    )
    return any(check(value) and check(default) for check in checks)
