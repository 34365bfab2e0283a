"""What the code of a step calls; ``import magnus`` gives the same names.

Everything works in the step's own process, in its children (a notebook's kernel, a script that a shell step starts, a
forked worker): they speak to the step over a socket named by ``MAGNUS_SESSION``, so that no child holds credentials.
Needs only the standard library. Source: seed 001, spec §14.
"""

from __future__ import annotations

import builtins
import functools
import importlib.util
import json
import os
import pickle
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

SESSION_VARIABLE = "MAGNUS_SESSION"
UNREACHABLE = "MAGNUS_NO_SESSION"
"""Says why code cannot reach the step that it belongs to."""
_SCRATCH = "MAGNUS_SCRATCH"
_owner: tuple[int, Session] | None = None


class Session(Protocol):
    """The step that code runs in."""

    def call(self, operation: str, arguments: Mapping[str, Any]) -> Any:
        """Answer one of the calls below; raises what the caller should see."""


def enter(session: Session | None) -> None:
    """Make ``session`` the step of this process; None: there is none."""
    global _owner
    _owner = None if session is None else (os.getpid(), session)


def get_parameter(key: str | None = None) -> Any:
    """One parameter's value, or all of them by name.

    :raises ParameterError: when there is no parameter of this name.
    """
    return _call("get_parameter", key=key)


def set_parameter(update: bool = True, **parameters: Any) -> None:
    """Set parameters for the steps that follow; values are anything that JSON can say.

    :param update: False leaves alone those that have a value already.
    """
    _call("set_parameter", values={n: _as_json(n, v) for n, v in parameters.items()}, update=update)


store_parameter = set_parameter


def get_secret(name: str | None = None) -> Any:
    """One secret's value, or all of them by name. Its value is masked in logs and refused as a parameter.

    :raises SecretNotFoundError: when the store has no secret of this name.
    """
    return _call("get_secret", name=name)


def track_this(step: int = 0, **metrics: Any) -> None:
    """Record metrics in the step's ``user_defined_metrics``.

    :param step: other than 0: the names become ``<step>_<name>``.
    """
    prefix = f"{step}_" if step else ""
    _call("track", metrics={prefix + name: _as_json(name, value) for name, value in metrics.items()})


def get_from_catalog(name: str, destination_folder: str | os.PathLike[str] | None = None) -> None:
    """Fetch the files of this run that the glob ``name`` matches.

    :param destination_folder: made if it is not there; None: the step's compute data folder.
    :raises CatalogEntryNotFoundError: when no file matches.
    """
    folder = None if destination_folder is None else os.path.abspath(destination_folder)
    _call("get_from_catalog", name=name, folder=folder)


def put_in_catalog(filepath: str | os.PathLike[str]) -> None:
    """Store a file under its path below the compute data folder, or its bare name when it lies elsewhere."""
    _call("put_in_catalog", path=os.path.abspath(filepath), name=None)


def put_object(data: Any, name: str) -> None:
    """Pickle any object into the catalog, for :func:`get_object` of a later step."""
    with _object_folder() as folder:
        path = folder / "object.pickle"
        path.write_bytes(pickle.dumps(data))
        _call("put_in_catalog", path=str(path), name=f"{name}.pickle")


def get_object(name: str) -> Any:
    """The object that an earlier step stored by :func:`put_object`. Unpickling runs code: trust your catalog."""
    with _object_folder() as folder:
        _call("get_from_catalog", name=f"{name}.pickle", folder=str(folder), literal=True)
        return pickle.loads((folder / f"{name}.pickle").read_bytes())


@contextmanager
def _object_folder() -> Iterator[Path]:
    """A folder that the step can reach too: in a container, one that it shares."""
    with tempfile.TemporaryDirectory(prefix="magnus-object-", dir=os.environ.get(_SCRATCH)) as name:
        yield Path(name).resolve()


def get_run_id() -> str:
    """The id of this run."""
    return str(_call("get_run_id"))


def get_tag() -> str | None:
    """The tag of this run, None when it has none."""
    tag: str | None = _call("get_tag")
    return tag


def _as_json(name: str, value: Any) -> Any:
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name!r} cannot be stored: {error}; only what JSON can say is allowed (text, numbers, true, false, "
            "null, lists and mappings of them). Put other objects in the catalog: put_object"
        ) from error


def _call(operation: str, **arguments: Any) -> Any:
    if _owner is not None and _owner[0] == os.getpid():
        return _owner[1].call(operation, arguments)
    address = os.environ.get(SESSION_VARIABLE)
    if not address and os.environ.get(UNREACHABLE):
        raise RuntimeError(
            f"{operation}: not available here, as {os.environ[UNREACHABLE]}. Let the function have the parameters as "
            "arguments and return others, name files in the step's catalog section, secrets in a container step's"
        )
    if not address:
        raise RuntimeError(
            f"{operation}: this code does not run inside a step of a pipeline; run it by `magnus execute` or on Airflow"
        )
    return _over_socket(address, operation, arguments)


def _over_socket(address: str, operation: str, arguments: Mapping[str, Any]) -> Any:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(address)
            connection.sendall(json.dumps({"operation": operation, "arguments": arguments}).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline()
    except OSError as error:
        raise RuntimeError(f"{operation}: the step that this code belongs to has ended ({error})") from error
    if not line:
        raise RuntimeError(f"{operation}: the step that this code belongs to has ended")
    answer = json.loads(line)
    if "error" in answer:
        raise _error_class(answer["error"])(answer["message"])
    return answer["result"]


def _error_class(name: str) -> type[Exception]:
    found = getattr(_errors(), name, None) or getattr(builtins, name, None)
    return found if isinstance(found, type) and issubclass(found, Exception) else RuntimeError


@functools.cache
def _errors() -> Any:
    """The module of this package's errors, also where this file was loaded by path, without the package."""
    try:
        return importlib.import_module("airflow_magnus.errors")
    except ImportError:
        spec = importlib.util.spec_from_file_location("_magnus_errors", Path(__file__).with_name("errors.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up there
        spec.loader.exec_module(module)
        return module
