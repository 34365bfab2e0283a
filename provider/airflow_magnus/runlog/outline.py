"""The outline of a pipeline: of each step what a reader wants to see, as plain values for JSON. Made of a definition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow_magnus.pipeline.describe import one_line
from airflow_magnus.pipeline.model import MAP_PLACEHOLDER
from airflow_magnus.runlog.definition import branch_of
from airflow_magnus.runlog.records import ENDS

_LONGEST_COMMAND = 120
_MOST_PATTERNS = 8


def outline(definition: Mapping[str, Any], subs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The graph as ``{"start": name, "about": description, "steps": [step, …]}``; {} without a definition.

    A step has ``name`` and ``type`` and, where there are any, ``command``, ``next``, ``on_failure``, ``get``, ``put``
    and ``branches``: name → graph.

    :param definition: the ``dag`` section.
    :param subs: as ``sub_definitions`` of a run's header.
    """
    return _graph(definition, subs, []) if definition.get("steps") else {}


def _graph(
    section: Mapping[str, Any], subs: Mapping[str, Mapping[str, Any]], path: list[str]
) -> dict[str, Any]:
    steps = [_step(name, step, subs, path) for name, step in section["steps"].items()]
    told = {"start": section.get("start_at", ""), "about": section.get("description") or "", "steps": steps}
    return {key: value for key, value in told.items() if value}


def _step(
    name: str, step: Mapping[str, Any], subs: Mapping[str, Mapping[str, Any]], path: list[str]
) -> dict[str, Any]:
    catalog = step.get("catalog") or {}
    told = {
        "name": name,
        "type": str(step.get("type", "")),
        "command": _command(step),
        "next": "" if step.get("type") in ENDS else step.get("next", ""),
        "on_failure": step.get("on_failure") or "",
        "get": [str(pattern) for pattern in catalog.get("get") or ()][:_MOST_PATTERNS],
        "put": [str(pattern) for pattern in catalog.get("put") or ()][:_MOST_PATTERNS],
        "branches": dict(_branches(name, step, subs, path)),
    }
    return {key: value for key, value in told.items() if value}


def _command(step: Mapping[str, Any]) -> str:
    kind = step.get("type")
    if kind == "map":
        return f"for each {step.get('iterate_as')} of {step.get('iterate_on')}"
    if kind == "conditional":
        return f"by {step.get('parameter')}"
    if kind == "loop":
        until = f" until {step['break_on']}" if step.get("break_on") else ""
        return f"at most {step.get('max_iterations')} times{until}"
    if kind == "dag":
        return str(step.get("dag_definition") or "")
    return one_line(str(step.get("command") or ""))[:_LONGEST_COMMAND]


def _branches(
    name: str, step: Mapping[str, Any], subs: Mapping[str, Mapping[str, Any]], path: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The graphs of a composite step; one of all the items of a map, and of all the turns of a loop."""
    kind = step.get("type", "")
    names = list(step.get("branches") or {}) if kind in ("parallel", "conditional") else []
    if kind == "conditional" and "default" in step:
        names.append("default")
    names += {"map": [MAP_PLACEHOLDER], "dag": ["dag"], "loop": ["0"]}.get(kind, [])
    for branch in names:
        inside = branch_of(step, branch, subs.get(".".join([*path, name])))
        if inside and inside.get("steps"):
            shown = "" if kind in ("map", "loop", "dag") else branch
            yield shown, _graph(inside, subs, [*path, name, branch])
