"""From the ``dag`` section to the graphs of the model, with every fault reported on the way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from airflow_magnus.errors import Position
from airflow_magnus.pipeline.composites import CompositeReader
from airflow_magnus.pipeline.cursor import Cursor, described, unknown
from airflow_magnus.pipeline.grammar import (
    GRAPH_KEYS,
    MEANINGS,
    STEP_KINDS,
    STEPS,
    UNSUPPORTED_KINDS,
    StepGrammar,
    name_fault,
)
from airflow_magnus.pipeline.library import Library
from airflow_magnus.pipeline.links import LINKS, Outline, check_links, warn_unreachable
from airflow_magnus.pipeline.model import (
    CatalogRequest,
    CompositeStep,
    EndpointRequest,
    Graph,
    Step,
    StepKind,
    TaskStep,
)
from airflow_magnus.pipeline.mounts import refuse_catalog_mount
from airflow_magnus.pipeline.sources import endpoint_request
from airflow_magnus.pipeline.step_settings import (
    catalog_request,
    command_settings,
    command_text,
    command_type,
    executor_settings,
    is_cached,
)

_ALL_STEP_KEYS = frozenset().union(*(grammar.known for grammar in STEPS.values()))


class _Common(TypedDict):
    name: str
    internal_name: str
    kind: StepKind
    position: Position
    next: str
    on_failure: str
    attempts: int
    is_cached: bool
    catalog: CatalogRequest
    endpoint: EndpointRequest | None
    executor_config: Mapping[str, Mapping[str, Any]]


class GraphReader:
    """Reads graphs; what it gives is valid only while the library's report has no fault."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._chain: list[Path] = []
        self._composites = CompositeReader(self, library)

    def definition(self, file: Path, asked_by: Cursor | None = None, internal_name: str = "") -> Graph | None:
        """Read the ``dag`` section of a file."""
        top = self._library.open(file, asked_by)
        if top is None:
            return None
        section = top.at("dag")
        if not isinstance(section.value, dict):
            (asked_by or (section if top.has("dag") else top)).fault(_no_dag(file, top, section))
            return None
        self._chain.append(file)
        graph = self.graph(section, internal_name)
        self._chain.pop()
        section.is_json()
        return graph

    def graph(self, section: Cursor, internal_name: str) -> Graph | None:
        """Read one graph: the pipeline's own, a branch, or that of a sub-pipeline."""
        if section.as_mapping() is None:
            return None
        section.check_keys(GRAPH_KEYS)
        start_at, texts = self._start(section), _texts(section)
        outlines: dict[str, Outline] = {}
        steps: dict[str, Step] = {}
        for name, entry in self._entries(section):
            step, outlines[name] = self._step(entry, f"{internal_name}.{name}" if internal_name else name)
            if step is not None:
                steps[name] = step
        if not outlines:
            return None
        is_sound = check_links(section, start_at, outlines)
        if not is_sound or start_at is None or len(steps) != len(outlines):
            return None
        graph = Graph(internal_name, start_at, steps, **texts)
        warn_unreachable(graph, outlines)
        return graph

    def _start(self, section: Cursor) -> str | None:
        if section.has("start_at"):
            return section.at("start_at").as_text()
        if section.lacks("start_at", GRAPH_KEYS):
            section.fault("start_at is missing: name the step that runs first", at_key=True)
        return None

    def _entries(self, section: Cursor) -> list[tuple[str, Cursor]]:
        steps = section.at("steps")
        if not section.has("steps"):
            if section.lacks("steps", GRAPH_KEYS):
                section.fault("steps is missing: a mapping of names to steps", at_key=True)
        elif steps.as_mapping() == {}:
            steps.fault("there must be at least one step, one success node and one fail node")
        return list(steps.items())

    def _step(self, entry: Cursor, internal_name: str) -> tuple[Step | None, Outline]:
        if reason := name_fault(entry.key):
            entry.fault(reason, at_key=True)
        entry.check_key()
        if not self._library.count_step(entry) or entry.as_mapping() is None:
            return None, Outline(entry, None, {})
        kind = _kind(entry)
        if kind is None:
            return None, Outline(entry, None, _links(entry))
        _check_keys(entry, kind, STEPS[kind])
        links = {} if kind in ("success", "fail") else _links(entry)
        return self._model(entry, kind, internal_name, links), Outline(entry, kind, links)

    def _model(self, entry: Cursor, kind: StepKind, internal_name: str, links: Mapping[str, str]) -> Step:
        command_kind = command_type(entry)  # must be a known one, also where it is ignored
        common = _common(entry, kind, internal_name, links)
        if kind == "task":
            settings = command_settings(entry.at("command_config"), command_kind) if command_kind else {}
            command = command_text(entry, command_kind, settings) if command_kind else ""
            return TaskStep(
                **common, command_type=command_kind or "", command=command, command_config=settings
            )
        if kind == "as-is" and entry.has("render_string"):
            entry.at("render_string").as_text(empty=True)
        if kind in ("as-is", "success", "fail"):
            return Step(**common)
        return CompositeStep(**common, **self._composites.settings(entry, kind, internal_name))

    def sub_pipeline(self, step: Cursor, internal_name: str) -> tuple[Path | None, Graph | None]:
        """Read the file that a dag step names."""
        entry = step.at("dag_definition")
        name = entry.as_text() if step.has("dag_definition") else None
        if name is None:
            return None, None
        path = self._library.path_of(entry, name)
        if path is None:
            return None, None
        resolved = [file.resolve() for file in self._chain]
        if path.resolve() in resolved:
            way = [*self._chain[resolved.index(path.resolve()) :], path]
            entry.fault(f"the pipeline contains itself: {' → '.join(str(file) for file in way)}")
            return path, None
        return path, self.definition(path, entry, f"{internal_name}.dag")


def _no_dag(file: Path, top: Cursor, section: Cursor) -> str:
    if top.value is None:
        return f"{file} is empty; a pipeline file needs a dag section"
    if not isinstance(top.value, dict):
        return f"{file} must hold a mapping with a dag section, not {described(top.value)}"
    if top.has("dag"):
        return f"dag of {file} must be a mapping, not {described(section.value)}"
    return f"{file} has no dag section"


def _kind(entry: Cursor) -> StepKind | None:
    if not entry.has("type"):
        if entry.lacks("type", _ALL_STEP_KEYS):
            entry.fault(f"type is missing; allowed: {', '.join(STEP_KINDS)}", at_key=True)
        else:
            entry.check_keys(_ALL_STEP_KEYS)
        return None
    name = entry.at("type").as_text()
    kind = next((kind for kind in STEP_KINDS if kind == name), None)
    if kind is None and name is not None:
        why = f'unknown type of step "{name}": {UNSUPPORTED_KINDS[name]}' if name in UNSUPPORTED_KINDS else ""
        entry.at("type").fault(why or unknown("type of step", name, STEP_KINDS))
    return kind


def _links(entry: Cursor) -> dict[str, str]:
    texts = {
        link: entry.at(link).as_text() for link in LINKS if entry.has(link) and not _is_unset(entry, link)
    }
    return {link: text for link, text in texts.items() if text is not None}


def _is_unset(entry: Cursor, link: str) -> bool:
    return link == "on_failure" and entry.at(link).value is None


def _check_keys(entry: Cursor, kind: StepKind, grammar: StepGrammar) -> None:
    for key, value in entry.items():
        if key in grammar.known:
            continue
        if key in _ALL_STEP_KEYS:
            allowed = ", ".join(sorted(grammar.meaningful))
            value.fault(f'"{key}" has no place on a step of type {kind}; allowed: {allowed}', at_key=True)
        else:
            value.fault(unknown("key", key, grammar.meaningful), at_key=True)
    for key in sorted(grammar.required):
        if entry.lacks(key, _ALL_STEP_KEYS) and not (
            key == "command" and entry.at("command_type").value == "container"
        ):
            why = f"a step of type {kind} needs it; {MEANINGS[key]}"
            entry.fault(f"{key} is missing{_mixed_up(entry, key)}: {why}", at_key=True)


def _mixed_up(entry: Cursor, key: str) -> str:
    """The question whether another key, which is passed over here, was meant to be this one."""
    other = {"branch": "branches", "branches": "branch"}.get(key, "")
    return f' (there is "{other}": did you mean "{key}"?)' if other and entry.has(other) else ""


def _common(entry: Cursor, kind: StepKind, internal_name: str, links: Mapping[str, str]) -> _Common:
    runs = kind in ("task", "as-is")
    is_end = kind in ("success", "fail")
    if kind == "as-is":
        refuse_catalog_mount(entry)
    attempts = 1
    if runs and entry.has("retry"):
        attempts = max(1, entry.at("retry").as_integer(0) or 0)
    elif not is_end and entry.at("retry").value not in (None, 0, 1):
        entry.at("retry").warn(
            f"retry means nothing on a step of type {kind}; give it to the steps inside", at_key=True
        )
    return _Common(
        name=entry.key,
        internal_name=internal_name,
        kind=kind,
        position=entry.document.position(entry.keys, of_key=True),
        next=links.get("next", ""),
        on_failure=links.get("on_failure", ""),
        attempts=attempts,
        is_cached=kind == "task" and is_cached(entry),
        catalog=catalog_request(entry.at("catalog")) if runs else CatalogRequest(),
        endpoint=endpoint_request(entry) if kind == "task" else None,
        executor_config=executor_settings(entry, with_mode_config=not is_end),
    )


class _Texts(TypedDict, total=False):
    description: str
    name: str
    max_time: int


def _texts(section: Cursor) -> _Texts:
    texts = _Texts()
    if section.at("description").value is not None:
        texts["description"] = section.at("description").as_text(empty=True) or ""
    if section.at("name").value is not None:
        texts["name"] = section.at("name").as_text() or ""
    if section.at("max_time").value is not None:
        texts["max_time"] = section.at("max_time").as_integer(1) or 1
    return texts
