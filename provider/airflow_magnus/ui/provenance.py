"""Where a file comes from and who has read it, and the search for files and runs, as their pages show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_magnus.runlog.provenance import FileNode, Provenance, StepNode
from airflow_magnus.runlog.run_query import RunQuery
from airflow_magnus.runlog.summaries import FileUse, RunSummary
from airflow_magnus.ui.file_links import provenance_path
from airflow_magnus.ui.files import find_file
from airflow_magnus.ui.provenance_graph import Drawing, drawing_of
from airflow_magnus.ui.readable import Readable, readable
from airflow_magnus.ui.responses import PageError, path_segment

DEEPEST = 20
_RUNS, _USES = 20, 500


class Addresses:
    """Where the pages of runs and files are, below the root of our pages; "" of what the user may not read."""

    def __init__(self, known: Readable) -> None:
        self._known = known
        self._runs: dict[str, tuple[str, str]] = {}

    def of_run(self, run: RunSummary) -> str:
        """Of a run's page."""
        dag_id, run_id = self._run(run)
        return (
            f"/runs/{path_segment(dag_id)}/{path_segment(run_id)}?run={path_segment(run.run_id)}"
            if dag_id
            else ""
        )

    def of_use(self, use: FileUse) -> str:
        """Of the provenance of a file that a run made or read."""
        run = self._summary(use)
        dag_id, run_id = self._run(run) if run else ("", "")
        return provenance_path(dag_id, run_id, use.name, use.sha256) if dag_id else ""

    def run_of(self, use: FileUse) -> str:
        """Of the page of the run that a use is of."""
        run = self._summary(use)
        return self.of_run(run) if run else ""

    def called(self, use: FileUse) -> str:
        """The run of a use, as people know it."""
        run = self._summary(use)
        return (run.airflow_run_id or run.run_id) if run else use.run_id

    def _summary(self, use: FileUse) -> RunSummary | None:
        found = (store.view.summaries.get(use.run_id) for store in self._known.stores)
        return next((run for run in found if run is not None), None)

    def _run(self, run: RunSummary) -> tuple[str, str]:
        if run.run_id not in self._runs:
            self._runs[run.run_id] = self._known.dag_of(run.run_id), run.airflow_run_id or run.run_id
        return self._runs[run.run_id]


@dataclass(frozen=True)
class StepRow:
    """One step on the way to a file.

    :param inputs: what it read: files and the addresses of their provenance.
    :param outputs: likewise what it made of what leads to the file.
    """

    node: StepNode
    address: str
    inputs: tuple[tuple[FileNode, str], ...]
    outputs: tuple[tuple[FileNode, str], ...]


@dataclass(frozen=True)
class ProvenanceLook:
    """What the page shows.

    :param failed: DAGs that could not be looked through, each with the reason.
    """

    found: Provenance
    drawing: Drawing
    steps: tuple[StepRow, ...]
    addresses: Addresses
    failed: Mapping[str, str]


@dataclass(frozen=True)
class Content:
    """One content under one name, in an answer of the search: what made it, and what read it."""

    made: tuple[FileUse, ...]
    read: tuple[FileUse, ...]

    @property
    def any(self) -> FileUse:
        """A use that says what it is."""
        return (self.made or self.read)[0]


@dataclass(frozen=True)
class Search:
    """What a search has found.

    :param is_cut: there are more files.
    """

    contents: tuple[Content, ...]
    runs: tuple[RunSummary, ...]
    runs_total: int
    is_cut: bool
    addresses: Addresses
    failed: Mapping[str, str]
    unread: int


def look_at_provenance(
    user: Any, dag_id: str, run_id: str, name: str, digest: str, depth: int
) -> ProvenanceLook:
    """The provenance of a file of a run, as far as the user may read it. Cost: as of :func:`readable`.

    :param digest: sha256 hex; "": of what the run has left under the name.
    :param depth: steps above one another.
    :raises PageError: when the run has no such file, or the index does not know it yet.
    """
    known = readable(user)
    sha256 = digest or _last_digest(known, dag_id, run_id, name)
    found = known.provenance(sha256, dag_id=dag_id, run_id=run_id, name=name, depth=min(depth, DEEPEST))
    if found is None:
        raise PageError(
            404,
            f"Nothing is known of {name}",
            "No run of this DAG that you may read has a file of this name with this digest. A file that was just "
            "written is known when its step has ended and the run's end is recorded.",
        )
    addresses = Addresses(known)
    links = _Links(found, addresses)
    steps = sorted(found.steps.values(), key=lambda step: step.depth)
    return ProvenanceLook(
        found=found,
        drawing=drawing_of(found, links.of),
        steps=tuple(links.row(step) for step in steps),
        addresses=addresses,
        failed=known.failed,
    )


def search(user: Any, text: str) -> Search:
    """Files by the beginning of a digest or part of a name, and runs by part of an id or tag. Cost: as of :func:`readable`."""
    known = readable(user)
    page = known.find_files(text, limit=_USES)
    runs = known.runs(RunQuery(text=text, limit=_RUNS))
    return Search(
        contents=tuple(_contents(page.uses)),
        runs=runs.runs,
        runs_total=runs.total,
        is_cut=page.is_cut,
        addresses=Addresses(known),
        failed=known.failed,
        unread=runs.unread,
    )


def _last_digest(known: Readable, dag_id: str, run_id: str, name: str) -> str:
    there = known.run(dag_id, run_id)
    uses = [use for use in there[0].view.uses_of(there[1].run_id) if use.name == name] if there else []
    if uses:
        return max(enumerate(uses), key=lambda it: (it[1].direction != "get", it[0]))[1].sha256
    return find_file(dag_id, run_id, name).digest


def _contents(uses: Iterable[FileUse]) -> list[Content]:
    """Uses by content and name, in the order in which they were found."""
    found: dict[tuple[str, str], list[FileUse]] = {}
    for use in uses:
        found.setdefault((use.name, use.sha256), []).append(use)
    return [
        Content(
            made=tuple(use for use in some if use.direction != "get"),
            read=tuple(use for use in some if use.direction == "get"),
        )
        for some in found.values()
    ]


class _Links:
    """The addresses of what is in a provenance."""

    def __init__(self, found: Provenance, addresses: Addresses) -> None:
        self._found, self._addresses = found, addresses
        self._step_of = {edge.file: found.steps[edge.step] for edge in reversed(found.edges)}

    def of(self, node: StepNode | FileUse | FileNode) -> str:
        if isinstance(node, StepNode):
            return self._addresses.of_run(node.run)
        if isinstance(node, FileUse):
            return self._addresses.run_of(node)
        if node.key == self._found.file.key:
            return ""
        step = self._step_of.get(node.key)
        return self._addresses.of_use(_use(step, node)) if step else ""

    def row(self, step: StepNode) -> StepRow:
        def files(direction: str) -> tuple[tuple[FileNode, str], ...]:
            wanted = [e for e in self._found.edges if e.step == step.key and e.direction == direction]
            nodes = [self._found.files[edge.file] for edge in wanted]
            return tuple((node, self.of(node)) for node in nodes)

        return StepRow(step, self.of(step), files("get"), files("put"))


def _use(step: StepNode, file: FileNode) -> FileUse:
    return FileUse(
        step.run.run_id,
        step.run.pipeline,
        step.step,
        step.attempt,
        "put",
        file.name,
        file.sha256,
        file.size,
        step.time,
    )
