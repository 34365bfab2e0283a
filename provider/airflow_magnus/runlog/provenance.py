"""Where a file comes from, and what became of it: the steps that made it and its inputs, and those that read it since."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from airflow_magnus.runlog.index_view import IndexView
from airflow_magnus.runlog.run_query import IsVisible, everything
from airflow_magnus.runlog.summaries import Code, FileUse, RunSummary

DEPTH = 5
"""Steps above one another that are looked for, unless another number is told."""
MOST_STEPS = 200
MOST_READERS = 200


@dataclass(frozen=True)
class FileNode:
    """One content under one name. Bytes under two names are two nodes with one digest."""

    name: str
    sha256: str
    size: int | None = None

    @property
    def key(self) -> str:
        """Tells it from the other files of a provenance."""
        return f"file:{self.sha256}:{self.name}"


@dataclass(frozen=True)
class StepNode:
    """One attempt of a step that made or read a file.

    :param run: as the index knows it: parameters, tag, Airflow's ids.
    :param depth: steps between it and the file; 0 made the file itself.
    """

    run: RunSummary
    step: str
    attempt: int
    time: str
    code: tuple[Code, ...] = ()
    depth: int = 0

    @property
    def key(self) -> str:
        """Tells it from the other steps of a provenance."""
        return f"step:{self.run.run_id}:{self.step}:{self.attempt}"


@dataclass(frozen=True)
class Edge:
    """A file that a step made (``put``) or read (``get``), by their keys."""

    step: str
    file: str
    direction: str


@dataclass(frozen=True)
class Provenance:
    """All about one content of a file.

    :param makers: the uses that made this digest; that of the run that was asked about in front, then by time.
    :param steps: the steps upwards, by key; each input's nearest maker.
    :param files: by key.
    :param readers: what read the digest, whoever had made it; the last run in front.
    :param is_cut: there is more upwards than ``depth`` and :data:`MOST_STEPS` allow, or more readers.
    """

    file: FileNode
    makers: tuple[FileUse, ...] = ()
    steps: Mapping[str, StepNode] = field(default_factory=dict)
    files: Mapping[str, FileNode] = field(default_factory=dict)
    edges: tuple[Edge, ...] = ()
    readers: tuple[FileUse, ...] = ()
    is_cut: bool = False


def provenance_of(
    view: IndexView,
    sha256: str,
    *,
    run_id: str = "",
    name: str = "",
    depth: int = DEPTH,
    is_visible: IsVisible = everything,
) -> Provenance | None:
    """Where a content comes from, and who read it; None when the index knows no such file.

    :param sha256: all 64 characters.
    :param run_id: the run whose file is meant, where several made the same bytes.
    :param name: likewise of names.
    """
    uses = list(view.with_digest(sha256, is_visible=is_visible))
    meant = [use for use in uses if not name or use.name == name] or uses
    if not meant:
        return None
    first = next((use for use in meant if use.run_id == run_id), meant[0])
    file = FileNode(first.name, first.sha256, first.size)
    walk = _Walk(view, is_visible, depth)
    maker = walk.maker(first)
    if maker is not None:
        walk.up(maker)
    makers = sorted((use for use in uses if use.direction == "put"), key=lambda use: (use != maker, use.time))
    readers = [use for use in uses if use.direction == "get"]
    return Provenance(
        file=file,
        makers=tuple(makers),
        steps=walk.steps,
        files=walk.files or {file.key: file},
        edges=tuple(walk.edges),
        readers=tuple(readers[:MOST_READERS]),
        is_cut=walk.is_cut or len(readers) > MOST_READERS,
    )


class _Walk:
    """The way upwards from a file."""

    def __init__(self, view: IndexView, is_visible: IsVisible, depth: int) -> None:
        self._view, self._is_visible, self._depth = view, is_visible, depth
        self._of_run: dict[str, list[FileUse]] = {}
        self.steps: dict[str, StepNode] = {}
        self.files: dict[str, FileNode] = {}
        self.edges: dict[Edge, None] = {}
        self.is_cut = False

    def up(self, maker: FileUse) -> None:
        """Take in the step that made a file, what it read, who made that, and so on; the nearest steps first."""
        todo = [(maker, 0)]
        while todo:
            made, depth = todo.pop(0)
            step = self._step(made, depth)
            is_known = step.key in self.steps
            if not is_known and (depth >= self._depth or len(self.steps) >= MOST_STEPS):
                self.is_cut = True
                continue
            self.steps.setdefault(step.key, step)
            self._edge(step, made, "put")
            if is_known:
                continue
            for got in self._uses(made.run_id):
                if got.direction == "get" and (got.step, got.attempt) == (made.step, made.attempt):
                    self._edge(step, got, "get")
                    above = self.maker(got)
                    if above is not None:
                        todo.append((above, depth + 1))

    def maker(self, use: FileUse) -> FileUse | None:
        """The put that made what a use names: in the same run, the one it was taken over from, or the last before."""
        if use.direction == "put":
            return use
        is_older = _before(use)
        for run_id in self._lineage(use):
            made = [
                put
                for put in self._uses(run_id)
                if put.direction == "put" and put.sha256 == use.sha256 and is_older(put)
            ]
            if made:
                return max(made, key=lambda put: (put.name == use.name, put.time))
        made = [
            put
            for put in self._view.with_digest(use.sha256, is_visible=self._is_visible)
            if put.direction == "put" and is_older(put)
        ]
        return max(made, key=lambda put: (put.name == use.name, put.time), default=None)

    def _lineage(self, use: FileUse) -> Iterable[str]:
        """The runs that most likely made what a use names: its own, that of the bytes, and those that were taken up."""
        gone: list[str] = []
        for run_id in filter(None, (use.run_id, use.holder)):
            while run_id and run_id not in gone:
                gone.append(run_id)
                run = self._view.summaries.get(run_id)
                run_id = run.original_run_id if run else ""
        return gone

    def _uses(self, run_id: str) -> list[FileUse]:
        if run_id not in self._of_run:
            run = self._view.summaries.get(run_id)
            is_told = run is not None and self._is_visible(run)
            self._of_run[run_id] = self._view.uses_of(run_id) if is_told else []
        return self._of_run[run_id]

    def _step(self, use: FileUse, depth: int) -> StepNode:
        run = self._view.summaries[use.run_id]
        return StepNode(run, use.step, use.attempt, use.time, use.code, depth)

    def _edge(self, step: StepNode, use: FileUse, direction: str) -> None:
        file = FileNode(use.name, use.sha256, use.size)
        there = self.files.setdefault(file.key, file)
        if there.size is None:
            self.files[file.key] = replace(there, size=use.size)
        self.edges[Edge(step.key, file.key, direction)] = None


def _before(use: FileUse) -> Callable[[FileUse], bool]:
    """Whether a put was made before a use, and so not by the very step that put again what it had read."""
    own = (use.run_id, use.step, use.attempt)
    return lambda put: (
        (put.run_id, put.step, put.attempt) != own and (not (use.time and put.time) or put.time <= use.time)
    )
