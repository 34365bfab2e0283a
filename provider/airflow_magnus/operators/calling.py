"""Find a step's function and call it: on the worker, and as a script inside a container.

As a script it stands alone: only the standard library of Python 3.9 or later, nothing of this package. Beside it lie
``job.json``, ``parameters.json`` and the folder ``code`` with what gives ``import magnus``; it leaves ``output.json``.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import json
import keyword
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

try:
    from airflow_magnus.errors import ConfigurationError
except ImportError:  # in a container

    class ConfigurationError(ValueError):  # type: ignore[no-redef]
        """The command cannot be used as it is."""


def module_of(command: str) -> str:
    """The module of a dotted path; "" when it names none."""
    return command.strip().rpartition(".")[0]


def function_of(command: str, places: Sequence[str] = ()) -> Callable[..., Any]:
    """The function of a dotted path ``package.module.function``.

    :param places: for people: where modules are looked for before Python's own path; the path's folders if not given.
    :raises ConfigurationError: when there is none.
    :raises ModuleNotFoundError: when its module, or one that it imports, is not there; says where it was looked for.
    """
    module_name, name = module_of(command), command.strip().rpartition(".")[2]
    if not module_name:
        raise ConfigurationError(
            f"command {command!r} names no module: write module.function or package.module.function"
        )
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if not error.name:
            raise
        error.msg = _not_found(error, module_name, places or _own_places())
        if f"{module_name}.".startswith(f"{error.name}."):
            raise ModuleNotFoundError(error.msg, name=error.name) from None
        raise  # with the frames that lead to the import
    try:
        function: Callable[..., Any] = getattr(module, name)
    except AttributeError:
        there = sorted(n for n, v in vars(module).items() if inspect.isfunction(v))
        raise ConfigurationError(
            f"module {module_name!r} ({module.__file__}) has no function {name!r}; it has: "
            f"{', '.join(there) or 'none'}"
        ) from None
    if not callable(function):
        raise ConfigurationError(f"{command!r} is not callable: it is {type(function).__name__}")
    return function


def _not_found(error: ModuleNotFoundError, wanted: str, places: Sequence[str]) -> str:
    name = str(error.name)
    by = "" if f"{wanted}.".startswith(f"{name}.") else f" (module {wanted!r} imports it)"
    return (
        f"{error.msg}{by}: looked in {', '.join(places)} and on Python's own path. "
        f"Put {name.replace('.', '/')}.py there, correct the name, or install the package where the step runs"
    )


def _own_places() -> list[str]:
    """The folders that Python looks into before its own."""
    own = [p for p in sys.path if p and not p.startswith((sys.prefix, sys.base_prefix))]
    return list(dict.fromkeys([os.getcwd(), *(p for p in own if Path(p).name != "shim")]))


def lambda_of(command: str) -> Callable[..., Any]:
    """The function of the source of a lambda.

    :raises ConfigurationError: when it is something else.
    """
    try:
        source = ast.parse(command.strip(), mode="eval")
    except SyntaxError as error:
        raise ConfigurationError(f"command {command!r} is not an expression: {error}") from error
    function = eval(compile(source, "<python-lambda>", "eval"), {})
    if not callable(function):
        raise ConfigurationError(f"command {command!r} is not a lambda: write `lambda x: {{'y': x}}`")
    called: Callable[..., Any] = function
    return called


def arguments_for(function: Callable[..., Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Of the parameters those that the function has an argument for; ``**kwargs`` gets nothing (Source: spec §7.1)."""
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    signature = inspect.signature(function)
    names = [name for name, argument in signature.parameters.items() if argument.kind in by_name]
    missing = [
        name
        for name in names
        if name not in parameters and signature.parameters[name].default is inspect.Parameter.empty
    ]
    if missing:
        raise TypeError(
            f"missing parameters: {', '.join(missing)}; this run has: {', '.join(sorted(parameters)) or 'none'}. "
            "Give them at the start, return them from a step before, or give the argument a default"
        )
    return {name: parameters[name] for name in names if name in parameters}


def cell_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Of the parameters those that can be variables of a notebook."""
    return {n: v for n, v in parameters.items() if n.isidentifier() and not keyword.iskeyword(n)}


def executed_copy(notebook: str, output: str | None = None, items: Sequence[str] = ()) -> str:
    """Where the executed copy of a notebook is written; inside maps with ``_<item>`` for each (Source: spec §7.4).

    :param output: what the pipeline file says.
    :param items: names of the items; they hold any character but "." and "%".
    """
    path = Path(output) if output else Path(notebook).with_name(f"{Path(notebook).stem}_out.ipynb")
    ending = "".join(f"_{_UNSAFE.sub(_escaped, item)}" for item in items)
    if len(ending.encode()) > _LONGEST_ENDING:
        digest = hashlib.sha256(ending.encode()).hexdigest()[:32]
        ending = f"{ending.encode()[: _LONGEST_ENDING - 33].decode(errors='ignore')}~{digest}"
    return str(path.with_name(f"{path.stem}{ending}{path.suffix}"))


_UNSAFE = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]')
"""Characters that file names cannot hold, or that are patterns."""
_LONGEST_ENDING = 120
"""Bytes: a file's name may have 255."""


def _escaped(match: re.Match[str]) -> str:
    return f"%{ord(match[0]):02X}"


def main() -> None:
    """Run the job that lies beside this script."""
    here = Path(__file__).resolve().parent
    job = json.loads((here / "job.json").read_text(encoding="utf-8"))
    parameters = json.loads((here / "parameters.json").read_text(encoding="utf-8"))
    shim = str(here / "code" / "shim")
    sys.path[0:1] = [os.getcwd(), *sys.argv[1:]]
    sys.path.append(shim)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), shim]))
    before = dict(os.environ)
    result = _notebook(job, parameters) if job["kind"] == "notebook" else _called(job, parameters)
    output = {
        "parameters": {**result, **_set_since(before, "MAGNUS_PRM_")},
        "metrics": _set_since(before, "MAGNUS_TRACK_"),
    }
    (here / "output.json").write_text(json.dumps(output), encoding="utf-8")


def _called(job: Mapping[str, Any], parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    function = lambda_of(job["command"]) if job["kind"] == "python-lambda" else function_of(job["command"])
    result = function(**arguments_for(function, {**parameters, **job["variables"]}))
    if not result:
        return {}
    if not isinstance(result, Mapping):
        raise TypeError(f"the step returned {type(result).__name__}: return a dict of parameters, or nothing")
    for name, value in result.items():
        try:
            json.dumps({name: value})
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"parameter {name!r} has a value of type {type(value).__name__} that cannot be stored ({error}): "
                "return text, numbers, true, false, null, lists and mappings of them; "
                "for other objects use put_object"
            ) from error
    return result


def _notebook(job: Mapping[str, Any], parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    if not Path(job["command"]).is_file():
        raise FileNotFoundError(
            f"there is no notebook {job['command']!r}: write its path from the pipeline's folder"
        )
    try:
        import papermill
    except ImportError as error:
        raise ImportError(f"notebook steps need papermill and ipykernel in the image: {error}") from error
    Path(job["output"]).parent.mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(
        job["command"],
        job["output"],
        parameters=cell_parameters(parameters),
        kernel_name=job["kernel"],
        log_output=True,
        progress_bar=False,
    )
    return {}


def _set_since(before: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """What code put into the environment under a prefix: name → decoded value."""
    found: dict[str, Any] = {}
    for variable, text in os.environ.items():
        if variable.startswith(prefix) and before.get(variable) != text:
            try:
                found[variable[len(prefix) :]] = json.loads(text)
            except ValueError:
                found[variable[len(prefix) :]] = text
    return found


if __name__ == "__main__":
    main()
