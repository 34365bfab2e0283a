"""Environment variables of a step and of its children."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_magnus.runlog.records import RunHeader

log = logging.getLogger(__name__)

PARAMETER = "MAGNUS_PRM_"
METRIC = "MAGNUS_TRACK_"
MAP_VARIABLE = "MAGNUS_PRM_MAP_VARIABLE"
"""Inside maps and loops: JSON mapping of the names that they offer to the values, outermost first. No parameter."""
PARAMETERS_FILE = "MAGNUS_PARAMETERS_FILE"
SCRATCH = "MAGNUS_SCRATCH"
SHIM = Path(__file__).resolve().parents[1] / "shim"
LONGEST = 128 * 1024 - 1
"""Bytes of one ``NAME=value`` that Linux hands to a program, its end included."""
_PRIVATE = ("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_", "_AIRFLOW", "MAGNUS_PRM_", "MAGNUS_VAR_")


def parameter_variables(parameters: Mapping[str, Any], warnings: list[str]) -> dict[str, str]:
    """``MAGNUS_PRM_<name>`` → JSON text; what is too long for the system, alone or together, is left out with a warning."""
    variables: dict[str, str] = {}
    room = os.sysconf("SC_ARG_MAX") // 2
    for name, value in parameters.items():
        variable, text = f"{PARAMETER}{name}", json.dumps(value)
        length = len(variable.encode()) + len(text.encode()) + 2
        if length > min(LONGEST, room):
            limit = f"at most {LONGEST}" if length > LONGEST else "too much with those before it"
            warnings.append(
                f"parameter {name!r} is too long for an environment variable ({len(text)} characters, "
                f"{limit}) and left out: read it from the file that {PARAMETERS_FILE} names"
            )
        else:
            variables[variable] = text
            room -= length
    return variables


def run_variables(header: RunHeader) -> dict[str, str]:
    """Which run it is."""
    return {"MAGNUS_RUN_ID": header.run_id, "MAGNUS_RUN_TAG": header.tag or ""}


def item_variable(items: Mapping[str, Any]) -> dict[str, str]:
    """The variable of the maps and loops around a step; none outside them."""
    return {MAP_VARIABLE: json.dumps(items)} if items else {}


def child_environment(own: Mapping[str, str]) -> dict[str, str]:
    """The environment of a step's children: this process's without Airflow's secrets and settings, and ``own``.

    The shim that gives ``import magnus`` is the last place that Python looks at.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_PRIVATE)}
    return with_shim(environment | dict(own))


def scratch_folder() -> str:
    """Where a step's sockets and files for its children are made: swept by the next ``magnus execute`` after a kill."""
    return os.environ.get(SCRATCH) or tempfile.gettempdir()


def with_shim(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which Python looks for modules in the shim's folder, last."""
    path = [
        part for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part and part != str(SHIM)
    ]
    return {**environment, "PYTHONPATH": os.pathsep.join([*path, str(SHIM)])}


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
def children_end_on_sigterm() -> Iterator[None]:
    """Let processes that are forked meanwhile end on SIGTERM, as those of a plain Python do.

    The task's process has a handler of Airflow's, which its forked children inherit: a ``multiprocessing.Pool`` would wait
    for them for ever.
    """
    _forking.add(os.getpid())
    try:
        yield
    finally:
        _forking.discard(os.getpid())


_forking: set[int] = set()
"""Processes whose forked children are to end on SIGTERM."""


def _in_forked_child() -> None:
    if os.getppid() in _forking:
        _forking.clear()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


os.register_at_fork(after_in_child=_in_forked_child)


@contextmanager
def code_path(folder: Path, beside: Path | None = None) -> Iterator[None]:
    """Run in ``folder``, with it first and the shim last on Python's path, as in a process started there.

    :param beside: looked into after ``folder``.
    """
    before_folder, before_path = Path.cwd(), list(sys.path)
    before_modules = set(sys.modules)
    os.chdir(folder)
    own = [folder] if beside is None or beside == folder else [folder, beside]
    sys.path[:0] = map(str, own)
    sys.path.append(str(SHIM))
    try:
        yield
    finally:
        sys.path[:] = before_path
        for place in own:
            _forget_modules(place, before_modules)
        os.chdir(before_folder)


@contextmanager
def preferred_module(name: str, folder: Path) -> Iterator[None]:
    """Let ``import name`` give the module of ``folder`` when this process has loaded another one of that name.

    A file called ``code.py`` or ``utils.py`` would else be hidden by whatever Airflow has imported.
    """
    has_own = bool(name) and any(
        place.is_file() for place in (folder / f"{name}.py", folder / name / "__init__.py")
    )
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if not has_own or loaded is None or Path(loaded).is_relative_to(folder):
        yield
        return
    hidden = _taken_out(name)
    try:
        yield
    finally:
        _taken_out(name)
        sys.modules.update(hidden)


def _taken_out(name: str) -> dict[str, ModuleType]:
    """Remove a module and those below it from the loaded ones."""
    names = [n for n in sys.modules if n == name or n.startswith(f"{name}.")]
    return {n: sys.modules.pop(n) for n in names}


def _forget_modules(folder: Path, before: set[str]) -> None:
    """Drop the modules that were imported from ``folder`` itself, and the shim: the next step imports its own afresh."""
    for name in set(sys.modules) - before:
        file = getattr(sys.modules.get(name), "__file__", None)
        places = [start.joinpath(*name.split(".")) for start in (folder, SHIM)]
        if file and any(Path(file) in (p.with_name(f"{p.name}.py"), p / "__init__.py") for p in places):
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
