"""The graphs of a run, from the definition that its header keeps, and the way that was gone through them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from airflow_magnus.pipeline.model import MAP_PLACEHOLDER
from airflow_magnus.runlog.history import Edges, StepHistory, walked_path
from airflow_magnus.runlog.records import ENDS, MARKED, RunHeader

Section = Mapping[str, Any]
"""One graph as it stands in the file: ``start_at`` and ``steps``."""


def graph_of(header: RunHeader, graph_name: str) -> Section | None:
    """The graph of this name; None in a run without a definition, or when the definition has no such graph."""
    return _walk(header, graph_name.split(".") if graph_name else [])[0]


def inside(header: RunHeader, step_name: str, step: Mapping[str, Any], branch: str) -> Section | None:
    """One branch of a composite step.

    :param step_name: internal name.
    :param step: as it stands in the file.
    """
    *graph, name = step_name.split(".")
    _, template = _walk(header, graph)
    return branch_of(step, branch, header.sub_definitions.get(".".join([*template, name])))


def _walk(header: RunHeader, segments: Sequence[str]) -> tuple[Section | None, list[str]]:
    """The graph at the end of a way of steps and branches, and the way with placeholders for items."""
    section: Section | None = header.definition or None
    template: list[str] = []
    for step_name, branch in zip(segments[::2], segments[1::2], strict=False):
        step = (section or {}).get("steps", {}).get(step_name)
        if step is None:
            return None, template
        template.append(step_name)
        section = branch_of(step, branch, header.sub_definitions.get(".".join(template)))
        template.append(MAP_PLACEHOLDER if step["type"] == "map" else branch)
    return section, template


def items_around(header: RunHeader, step_name: str) -> list[str]:
    """Of the maps around a step, outermost first, the names of the items it runs for.

    :param step_name: internal name.
    """
    *graph, _ = step_name.split(".")
    _, template = _walk(header, graph)
    return [name for name, place in zip(graph, template, strict=False) if place == MAP_PLACEHOLDER]


def steps_in(header: RunHeader, step_name: str, step: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """All steps inside a composite step, at any depth.

    :param step_name: internal name.
    :param step: as it stands in the file.
    """
    for branch in _branch_names(step):
        section = inside(header, step_name, step, branch)
        for name, one in (section or {"steps": {}})["steps"].items():
            yield one
            yield from steps_in(header, f"{step_name}.{branch}.{name}", one)


def _branch_names(step: Mapping[str, Any]) -> list[str]:
    """A name of each graph of a composite step; one of all the items, and of all the repetitions."""
    kind = step.get("type", "")
    if kind in ("parallel", "conditional"):
        return [*step["branches"], *(["default"] if kind == "conditional" and "default" in step else [])]
    return {"map": [MAP_PLACEHOLDER], "dag": ["dag"], "loop": ["0"]}.get(kind, [])


def branch_of(step: Mapping[str, Any], branch: str, sub_definition: Section | None) -> Section | None:
    """One branch of a composite step.

    :param sub_definition: of a dag step: the ``dag`` section of its file.
    """
    kind = step["type"]
    if kind in ("map", "loop"):
        found: Section | None = step.get("branch")
        return found
    if kind == "dag":
        return sub_definition
    branches: Mapping[str, Section] = step.get("branches") or {}
    if kind == "conditional" and branch not in branches:
        return step.get("default")
    return branches.get(branch)


def edges_of(section: Section) -> Edges:
    """The edges of one graph, between the names of its steps."""
    steps: Mapping[str, Any] = section["steps"]
    fail = next(name for name, step in steps.items() if step["type"] == "fail")

    def edges(name: str) -> tuple[str, str]:
        step = steps.get(name, {})
        if "next" not in step:
            return "", ""
        return step["next"], step.get("on_failure") or fail

    return edges


def recorded_path(section: Section | None, histories: Mapping[str, StepHistory]) -> list[str] | None:
    """Names of the steps of a graph that count, in order; None when there is no graph (a hand-written DAG).

    The way is that of the steps' outcomes, which no clock can disturb. Only an end that was marked by hand, after the
    other one was reached, is where the way leads whatever the steps say.
    """
    if not section or not section.get("start_at"):
        return None
    start, edges = section["start_at"], edges_of(section)
    statuses = {name: history.status for name, history in histories.items()}
    ends = [
        n for n, step in section["steps"].items() if step["type"] in ENDS and statuses.get(n) == "SUCCESS"
    ]
    last = max(ends, key=lambda name: histories[name].latest.opened.start_time, default=None)
    if last is None or not histories[last].latest.opened.attempt_id.startswith(MARKED):
        return walked_path(start, edges, statuses)
    return [*walked_path(start, edges, statuses, last), last]


def all_steps(header: RunHeader) -> Iterator[Mapping[str, Any]]:
    """The steps of all graphs of a run, as they stand in the files."""
    todo = [header.definition, *header.sub_definitions.values()]
    while todo:
        for step in todo.pop().get("steps", {}).values():
            yield step
            todo += (
                (step.get("branches") or {}).values() if step["type"] in ("parallel", "conditional") else ()
            )
            todo += [step[key] for key in ("branch", "default") if isinstance(step.get(key), Mapping)]


def files_wanted(header: RunHeader) -> set[str]:
    """The patterns of the files of this run that any step gets, or is given by its S3 endpoint."""
    found: set[str] = set()
    for step in all_steps(header):
        catalog = step.get("catalog") or {}
        found.update(["**"] if _is_mounted(catalog) else catalog.get("get") or ())
        for entry in (_endpoint(step).get("inputs") or {}).values():
            found.update(_files_of_this_run(entry["from"]))
    return found


def _endpoint(step: Mapping[str, Any]) -> Mapping[str, Any]:
    return step.get("s3") or step.get("mount") or {}


def _is_mounted(catalog: Mapping[str, Any]) -> bool:
    return catalog.get("mode") == "mount"


def _files_of_this_run(source: Any) -> Sequence[str]:
    """Of a checked ``from`` the patterns that look at the run itself."""
    if isinstance(source, Mapping):
        if source.keys() & {"run", "pipeline", "digest", "bucket"}:
            return ()
        source = source.get("files", "**")
    return [source] if isinstance(source, str) else list(source)


def writes_by_endpoint(header: RunHeader) -> bool:
    """Whether a step of the run may write by an S3 endpoint; of a run without a definition nobody knows."""
    return not header.definition or any(
        _endpoint(step).get("out") or _is_mounted(step.get("catalog") or {}) for step in all_steps(header)
    )
