"""Variables: ``$name`` and ``${name}`` in the text values of a file, replaced after it was parsed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from airflow_magnus.errors import PipelineError
from airflow_magnus.pipeline.cursor import Cursor, Report, described
from airflow_magnus.pipeline.text import Document, read_document

PREFIX = "MAGNUS_VAR_"
"""How the environment names a variable."""

_NAME = r"[_a-zA-Z][_a-zA-Z0-9]*"
_REFERENCE = re.compile(rf"\$(?:\$|(?P<plain>{_NAME})|\{{(?P<braced>{_NAME})\}})")


def read_variables(file: Path | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Give the variables of a file and of the environment; the file wins.

    :param file: a YAML mapping of names to scalars, each taken as the text that is written there; None: no file.
    :param environ: of which the names that begin with :data:`PREFIX` are taken.
    :raises PipelineError: the file cannot be read or is no such mapping.
    """
    found = {name.removeprefix(PREFIX): value for name, value in environ.items() if name.startswith(PREFIX)}
    if file is not None:
        found.update(_of_file(read_document(file)))
    return found


def _of_file(document: Document) -> dict[str, str]:
    report = Report()
    top = Cursor(document, report, document.value)
    found: dict[str, str] = {}
    if document.value is not None:
        top.as_mapping()
    for name, entry in top.items():
        if not re.fullmatch(_NAME, name):
            entry.fault("the name of a variable holds letters, digits and _ only", at_key=True)
        elif isinstance(entry.value, dict | list):
            entry.fault(f"must be a single value, not {described(entry.value)}")
        else:
            found[name] = document.source(entry.keys) or ""
    if report.faults:
        raise PipelineError(report.faults)
    return found


def substituted(document: Document, variables: Mapping[str, str]) -> Document:
    """Give the document with its text values substituted; keys, and values that are not text, stay as they are."""
    return replace(document, value=substitute(document.value, variables)) if variables else document


def substitute(value: Any, variables: Mapping[str, str]) -> Any:
    """Replace variables in every text of a plain value, once.

    ``$$`` stays ``$$``; a name that ``variables`` does not have stays as it is. Source: contract 3.
    """
    if isinstance(value, str):
        return _REFERENCE.sub(lambda match: _replacement(match, variables), value)
    if isinstance(value, dict):
        return {key: substitute(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [substitute(item, variables) for item in value]
    return value


def _replacement(match: re.Match[str], variables: Mapping[str, str]) -> str:
    name = match["plain"] or match["braced"]
    return variables.get(name, match[0]) if name else match[0]
