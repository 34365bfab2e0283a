"""Texts of pipeline files for tests."""

from __future__ import annotations

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


def linear(steps: dict[str, dict[str, Any]], **sections: Any) -> str:
    """The pipeline of steps in this order; each step's own ``next`` wins."""
    names = [*steps, "success"]
    made = {name: {"next": names[i + 1], **step} for i, (name, step) in enumerate(steps.items())}
    made |= {"success": {"type": "success"}, "fail": {"type": "fail"}}
    return yaml.safe_dump(
        {**sections, "dag": {"start_at": names[0], "steps": made}}, sort_keys=False, allow_unicode=True
    )


def only(step: dict[str, Any], **sections: Any) -> str:
    """The pipeline of one step, called ``only``."""
    return linear({"only": step}, **sections)
