"""What the executor ``mocked`` is told to do in place of single steps. Source: spec 16, 6."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from airflow_magnus.pipeline.cursor import Cursor, unknown
from airflow_magnus.pipeline.extensions import extension_types
from airflow_magnus.pipeline.grammar import COMMAND_TYPES
from airflow_magnus.pipeline.model import MAP_PLACEHOLDER

_KEYS = ("command", "command_config", "command_type", "returns")


def check_patches(section: Cursor) -> None:
    """Check ``patches``: step → another command for it, or the parameters that it is to have set; {} lets it pass."""
    if section.as_mapping() is None:
        return
    for _, entry in section.items():
        if entry.value is not None and entry.as_mapping() is not None:
            entry.check_keys(_KEYS)
            _check_patch(entry)


def _check_patch(entry: Cursor) -> None:
    if entry.at("returns").value is not None and entry.at("returns").as_mapping() is not None:
        entry.at("returns").is_json()
    if entry.at("command_config").value is not None and entry.at("command_config").as_mapping() is not None:
        entry.at("command_config").is_json()
    if not entry.has("command"):
        for key in ("command_type", "command_config"):
            if entry.has(key):
                entry.at(key).fault(
                    f"{key} means nothing without a command: write the command too", at_key=True
                )
        return
    entry.at("command").as_text()
    if entry.has("returns"):
        entry.at("returns").fault("a step runs its command or returns these values: write one", at_key=True)
    if entry.at("command_type").value is not None:
        _check_command_type(entry.at("command_type"))


def _check_command_type(entry: Cursor) -> None:
    name = entry.as_text()
    known = {*COMMAND_TYPES, *extension_types("command_type")}
    if name is not None and name not in known:
        entry.fault(unknown("command type", name, known))


def patch_of(patches: Mapping[str, Any], *names: str) -> Mapping[str, Any] | None:
    """The patch of a step that goes by these names, of the first that has one; None when there is none."""
    return next((patches[name] or {} for name in names if name in patches), None)


def unknown_steps(patches: Mapping[str, Any], definition: Mapping[str, Any]) -> list[str]:
    """A message for each patch of a step that the ``dag`` section has not."""
    if not patches:
        return []
    known, open_ended = _names(definition)
    return [
        unknown("step", name, known)
        for name in patches
        if name not in known and not name.startswith(tuple(open_ended))
    ]


def _names(definition: Mapping[str, Any]) -> tuple[Collection[str], list[str]]:
    """The names and internal names of all steps, and what the steps of other files begin with."""
    known: set[str] = set()
    open_ended: list[str] = []
    for internal_name, step in _walk(definition, ""):
        known |= {internal_name, internal_name.rpartition(".")[2]}
        if "dag_definition" in step:
            open_ended.append(f"{internal_name}.")
    return known, open_ended


def _walk(graph: Any, prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    steps = graph.get("steps") if isinstance(graph, Mapping) else None
    for name, step in (steps or {}).items():
        if not isinstance(step, Mapping):
            continue
        yield f"{prefix}{name}", step
        for branch, inner in (step.get("branches") or {}).items():
            yield from _walk(inner, f"{prefix}{name}.{branch}.")
        if isinstance(step.get("branch"), Mapping):
            yield from _walk(step["branch"], f"{prefix}{name}.{MAP_PLACEHOLDER}.")
