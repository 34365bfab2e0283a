"""What composite steps hold: their branches, the repetitions of a loop, the names that they give to the steps inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypedDict

from airflow_magnus.pipeline.cursor import Cursor
from airflow_magnus.pipeline.grammar import DEFAULT_BRANCH, MAX_ITERATIONS, MEANINGS, name_fault
from airflow_magnus.pipeline.library import Library
from airflow_magnus.pipeline.model import MAP_PLACEHOLDER, CompositeStep, Graph, Step, StepKind


class _Settings(TypedDict, total=False):
    branches: Mapping[str, Graph]
    iterate_on: str
    iterate_as: str
    dag_definition: Path | None
    parameter: str
    has_default: bool
    max_iterations: int
    break_on: str
    index_as: str


class _Graphs(Protocol):
    """What reads the graphs inside a composite step."""

    def graph(self, section: Cursor, internal_name: str) -> Graph | None: ...

    def sub_pipeline(self, step: Cursor, internal_name: str) -> tuple[Path | None, Graph | None]: ...


class CompositeReader:
    """Reads what is particular to each kind of composite step."""

    def __init__(self, graphs: _Graphs, library: Library) -> None:
        self._graphs = graphs
        self._library = library
        self._given: list[str] = []

    def settings(self, entry: Cursor, kind: StepKind, internal_name: str) -> _Settings:
        """Read the keys of a composite step, its branches included; a missing key has its fault already."""
        if kind == "parallel":
            return _Settings(branches=self._branches(entry, kind, internal_name))
        if kind == "conditional":
            return self._conditional(entry, internal_name)
        if kind == "map":
            return self._map(entry, internal_name)
        if kind == "loop":
            return self._loop(entry, internal_name)
        path, graph = self._graphs.sub_pipeline(entry, internal_name)
        return _Settings(branches={"dag": graph} if graph else {}, dag_definition=path)

    def _branches(self, step: Cursor, kind: StepKind, internal_name: str) -> dict[str, Graph]:
        section = step.at("branches")
        if section.value is None or section.as_mapping() is None:
            return {}
        if not section.value:
            section.fault(f"a {kind} step needs at least one branch")
        branches: dict[str, Graph] = {}
        for name, entry in section.items():
            if reason := name_fault(name):
                entry.fault(reason, at_key=True)
            entry.check_key()
            graph = self._graphs.graph(entry, f"{internal_name}.{name}")
            if graph is not None:
                branches[name] = graph
        return branches

    def _conditional(self, entry: Cursor, internal_name: str) -> _Settings:
        branches = self._branches(entry, "conditional", internal_name)
        has_default = entry.has("default")
        if has_default:
            namesake = entry.at("branches").at(DEFAULT_BRANCH)
            if entry.at("branches").has(DEFAULT_BRANCH):
                namesake.fault(
                    f'"{DEFAULT_BRANCH}" is the name of the branch below default: rename this one or remove default',
                    at_key=True,
                )
            graph = self._graphs.graph(entry.at("default"), f"{internal_name}.{DEFAULT_BRANCH}")
            branches |= {DEFAULT_BRANCH: graph} if graph else {}
        return _Settings(
            branches=branches, parameter=_required_text(entry, "parameter"), has_default=has_default
        )

    def _map(self, entry: Cursor, internal_name: str) -> _Settings:
        iterate_as = _required_text(entry, "iterate_as")
        with self._giving(entry.at("iterate_as"), iterate_as):
            branch = self._branch(entry, f"{internal_name}.{MAP_PLACEHOLDER}")
        return _Settings(
            branches={MAP_PLACEHOLDER: branch} if branch else {},
            iterate_on=_required_text(entry, "iterate_on"),
            iterate_as=iterate_as,
        )

    def _loop(self, entry: Cursor, internal_name: str) -> _Settings:
        times = _max_iterations(entry)
        index_as = _optional_text(entry, "index_as")
        with self._giving(entry.at("index_as"), index_as):
            branch = self._branch(entry, f"{internal_name}.0")
        branches = {"0": branch} if branch else {}
        if branch:
            more = sum(1 for _ in branch.walk()) * (times - 1)
            if self._library.count_steps(more, entry.at("max_iterations")):
                branches = unrolled(branch, times)
        return _Settings(
            branches=branches,
            max_iterations=times,
            break_on=_optional_text(entry, "break_on"),
            index_as=index_as,
        )

    def _branch(self, step: Cursor, internal_name: str) -> Graph | None:
        return self._graphs.graph(step.at("branch"), internal_name) if step.has("branch") else None

    @contextmanager
    def _giving(self, entry: Cursor, name: str) -> Iterator[None]:
        """While the steps inside are read: they get a value by this name."""
        if name and name in self._given:
            entry.warn(
                f'a step around this one gives "{name}" already: the steps inside see only the inner one'
            )
        self._given.append(name)
        yield
        self._given.pop()


def unrolled(first: Graph, times: int) -> dict[str, Graph]:
    """Give the graph of each iteration of a loop by its number, ``first`` being the one called ``<loop>.0``."""
    loop, _, _ = first.internal_name.rpartition(".")
    others = {str(number): renamed(first, f"{loop}.{number}") for number in range(1, times)}
    return {"0": first, **others}


def renamed(graph: Graph, internal_name: str) -> Graph:
    """Give the same graph at another place: the internal names of its steps, and of theirs, follow."""
    steps = {name: _moved(step, f"{internal_name}.{name}") for name, step in graph.steps.items()}
    return replace(graph, internal_name=internal_name, steps=steps)


def _moved(step: Step, internal_name: str) -> Step:
    if not isinstance(step, CompositeStep):
        return replace(step, internal_name=internal_name)
    branches = {name: renamed(branch, f"{internal_name}.{name}") for name, branch in step.branches.items()}
    return replace(step, internal_name=internal_name, branches=branches)


def _max_iterations(step: Cursor) -> int:
    """The key's value; 1 when it has a fault."""
    entry = step.at("max_iterations")
    if step.has("max_iterations") and entry.value is None:
        entry.fault(f"has no value: {MEANINGS['max_iterations']}", at_key=True)
        return 1
    times = entry.as_integer(1) if step.has("max_iterations") else None
    if times is not None and times > MAX_ITERATIONS:
        entry.fault(
            f"must be an integer from 1 to {MAX_ITERATIONS}, not {times}: each iteration has tasks of its own"
        )
        return 1
    return times or 1


def _required_text(entry: Cursor, key: str) -> str:
    return (entry.at(key).as_text() or "") if entry.has(key) else ""


def _optional_text(entry: Cursor, key: str) -> str:
    return "" if entry.at(key).value is None else entry.at(key).as_text() or ""
