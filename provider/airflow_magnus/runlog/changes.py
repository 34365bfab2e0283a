"""What a change of a pipeline, or of a run's parameters, means for steps that have run."""

from __future__ import annotations

import ast
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from airflow_magnus.pipeline.grammar import DEFAULT_BRANCH
from airflow_magnus.runlog.records import COMPOSITE_TYPES, ENDS

_ONLY_THE_WAY = ("next", "on_failure")
"""Keys that say nothing of what a step makes."""
_INSIDE = ("branches", "branch", "default", "max_iterations")
"""Keys of composite steps whose graphs are compared branch by branch and step by step."""

_READS = {"map": "iterate_on", "conditional": "parameter", "loop": "break_on"}
"""The key of a composite step that names the parameter it reads."""


def makes(step: Mapping[str, Any]) -> dict[str, Any]:
    """What the file says of what a step makes, and not of where it stands."""
    return {key: value for key, value in step.items() if key not in _ONLY_THE_WAY}


def own_settings(step: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a step itself, without the graphs inside it."""
    return {key: value for key, value in makes(step).items() if key not in _INSIDE}


def is_same_value(one: Any, other: Any) -> bool:
    """Whether two values are the same to JSON: 1 is not true, and not 1.0."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def branches_now(
    step: Mapping[str, Any], old: Mapping[str, Any], recorded: Sequence[str]
) -> tuple[Sequence[str], bool]:
    """The branches of a composite step that are looked at, and whether it would have the same ones again.

    :param recorded: those that ran.
    """
    kind = step["type"]
    if kind == "parallel":
        return list(step["branches"]), list(step["branches"]) == list(recorded)
    if kind == "conditional":
        took_default = DEFAULT_BRANCH in old and DEFAULT_BRANCH in recorded
        if took_default:
            is_same = DEFAULT_BRANCH in step and set(step["branches"]) <= set(old["branches"])
        else:
            is_same = set(recorded) <= set(step["branches"])
        return (recorded if is_same else []), is_same
    if kind == "loop":
        was_ended = len(recorded) < old["max_iterations"]  # by its parameter, or by a failure
        is_same = len(recorded) <= step["max_iterations"] and (
            was_ended or step["max_iterations"] == old["max_iterations"]
        )
        return recorded[: step["max_iterations"]], is_same
    return recorded, True


def could_read(step: Mapping[str, Any], names: Collection[str]) -> list[str]:
    """Which of the parameters a step could read. Only of a lambda, and of steps that run nothing, that is known."""
    kind = step["type"]
    if not names or kind in ("as-is", *ENDS):
        return []
    if kind in COMPOSITE_TYPES:
        own = step.get(_READS.get(kind, ""))
        return [name for name in names if name == own]
    if step.get("command_type") == "python-lambda":
        arguments = lambda_arguments(str(step.get("command", "")))
        return sorted(name for name in names if arguments is None or name in arguments)
    return sorted(names)


def lambda_arguments(source: str) -> set[str] | None:
    """Names of a lambda's arguments; None when the source is none."""
    try:
        body = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not isinstance(body, ast.Lambda):
        return None
    return {argument.arg for argument in (*body.args.posonlyargs, *body.args.args, *body.args.kwonlyargs)}
