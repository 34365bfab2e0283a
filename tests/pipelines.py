"""Texts of pipeline files for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml


def task(command: str, command_type: str = "shell", **keys: Any) -> dict[str, Any]:
    """A task step, without its ``next``."""
    return {"type": "task", "command_type": command_type, "command": command, **keys}


def shell(command: str, **keys: Any) -> dict[str, Any]:
    """A shell step."""
    return task(command, **keys)


def python(command: str, **keys: Any) -> dict[str, Any]:
    """A step of a function."""
    return task(command, "python", **keys)


def function(source: str, **keys: Any) -> dict[str, Any]:
    """A step of a lambda."""
    return task(source, "python-lambda", **keys)


def graph(steps: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The graph of steps in this order; each step's own ``next`` wins."""
    names = [*steps, "success"]
    made = {name: {"next": names[i + 1], **step} for i, (name, step) in enumerate(steps.items())}
    made |= {"success": {"type": "success"}, "fail": {"type": "fail"}}
    return {"start_at": names[0], "steps": made}


def parallel(branches: dict[str, dict[str, dict[str, Any]]], **keys: Any) -> dict[str, Any]:
    """A parallel step; of each branch its steps, as of :func:`graph`."""
    return {"type": "parallel", "branches": {n: graph(steps) for n, steps in branches.items()}, **keys}


def mapped(
    steps: dict[str, dict[str, Any]], over: str = "items", name: str = "item", **keys: Any
) -> dict[str, Any]:
    """A map step over a parameter that holds a list."""
    return {"type": "map", "iterate_on": over, "iterate_as": name, "branch": graph(steps), **keys}


def conditional(
    parameter: str,
    branches: dict[str, dict[str, dict[str, Any]]],
    default: dict[str, dict[str, Any]] | None = None,
    **keys: Any,
) -> dict[str, Any]:
    """A conditional step."""
    made = {"type": "conditional", "parameter": parameter, **keys}
    made["branches"] = {n: graph(steps) for n, steps in branches.items()}
    return made if default is None else {**made, "default": graph(default)}


def loop(steps: dict[str, dict[str, Any]], most: int, **keys: Any) -> dict[str, Any]:
    """A loop of at most so many repetitions."""
    return {"type": "loop", "max_iterations": most, "branch": graph(steps), **keys}


def sub(path: str, **keys: Any) -> dict[str, Any]:
    """A dag step: the pipeline of another file."""
    return {"type": "dag", "dag_definition": path, **keys}


def linear(steps: dict[str, dict[str, Any]], **sections: Any) -> str:
    """The pipeline of steps in this order; each step's own ``next`` wins."""
    return yaml.safe_dump({**sections, "dag": graph(steps)}, sort_keys=False, allow_unicode=True)


def only(step: dict[str, Any], **sections: Any) -> str:
    """The pipeline of one step, called ``only``."""
    return linear({"only": step}, **sections)


def notebook(path: Path, *cells: str, tags: dict[int, list[str]] | None = None) -> None:
    """Write a notebook of code cells."""
    made = [
        {
            "cell_type": "code", "id": f"c{i}", "metadata": {"tags": (tags or {}).get(i, [])},
            "source": source, "outputs": [], "execution_count": None,
        }
        for i, source in enumerate(cells)
    ]  # fmt: skip
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    document = {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
