"""Environment variables of a step and of its children."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

PARAMETER = "MAGNUS_PRM_"
METRIC = "MAGNUS_TRACK_"
PARAMETERS_FILE = "MAGNUS_PARAMETERS_FILE"
SHIM = Path(__file__).resolve().parents[1] / "shim"
LONGEST = 128 * 1024 - 1
"""Bytes of one ``NAME=value`` that Linux hands to a program, its end included."""
_PRIVATE = ("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_", "_AIRFLOW", "MAGNUS_PRM_", "MAGNUS_VAR_")


def parameter_variables(parameters: Mapping[str, Any], warnings: list[str]) -> dict[str, str]:
    """``MAGNUS_PRM_<name>`` → JSON text; one too long for the system is left out with a warning."""
    variables: dict[str, str] = {}
    for name, value in parameters.items():
        variable, text = f"{PARAMETER}{name}", json.dumps(value)
        if len(variable.encode()) + len(text.encode()) + 2 > LONGEST:
            warnings.append(
                f"parameter {name!r} is too long for an environment variable ({len(text)} characters, "
                f"at most {LONGEST}) and left out: read it from the file that {PARAMETERS_FILE} names"
            )
        else:
            variables[variable] = text
    return variables


def child_environment(own: Mapping[str, str]) -> dict[str, str]:
    """The environment of a step's children: this process's without Airflow's secrets and settings, and ``own``.

    The shim that gives ``import magnus`` is the last place that Python looks at.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_PRIVATE)}
    path = [part for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part]
    return environment | {"PYTHONPATH": os.pathsep.join([*path, str(SHIM)])} | dict(own)


@contextmanager
def replaced_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Run with exactly these environment variables."""
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(variables)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def code_path(folder: Path) -> Iterator[None]:
    """Run in ``folder``, with it first and the shim last on Python's path, as in a process started there."""
    before_folder, before_path = Path.cwd(), list(sys.path)
    before_modules = set(sys.modules)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.path.append(str(SHIM))
    try:
        yield
    finally:
        sys.path[:] = before_path
        _forget_modules(folder, before_modules)
        os.chdir(before_folder)


def _forget_modules(folder: Path, before: set[str]) -> None:
    """Drop the modules that were imported from ``folder`` itself: the next step imports its own copy afresh."""
    for name in set(sys.modules) - before:
        file = getattr(sys.modules.get(name), "__file__", None)
        place = folder.joinpath(*name.split("."))
        if file and Path(file) in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
            del sys.modules[name]


def variables_set(before: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """What code put into the environment under a prefix since ``before``: name → decoded value."""
    found: dict[str, Any] = {}
    for variable, text in os.environ.items():
        if variable.startswith(prefix) and before.get(variable) != text:
            try:
                found[variable.removeprefix(prefix)] = json.loads(text)
            except ValueError:
                found[variable.removeprefix(prefix)] = text
    return found
