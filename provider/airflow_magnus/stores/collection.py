"""Remove the files of old runs from the catalog, whole runs only; their run logs stay.

Killed at any moment, it leaves every run untouched or marked as being removed, and the next collection goes on there.
A run that begins meanwhile and takes over files of a marked run takes nothing of it: a re-run writes its header first
and copies then; the collection writes the mark first and looks for headers then. So one of the two sees the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from airflow_magnus.errors import StoreError
from airflow_magnus.runlog import layout
from airflow_magnus.runlog.marks import Collection
from airflow_magnus.runlog.retention import Policy, Verdict, decide
from airflow_magnus.stores.contents import records_of
from airflow_magnus.stores.parallel import in_parallel
from airflow_magnus.stores.run_facts import Asked, RunReader
from airflow_magnus.stores.run_folders import RunFolders
from airflow_magnus.stores.runlogs import RunLogStore


@dataclass(frozen=True)
class Chosen:
    """A run whose files are to be removed.

    :param sizes: key to bytes of all that lies in its folder; what comes later is left alone.
    :param is_rest: whether an earlier collection was interrupted here.
    :param parts: what the run log had of the run when it was looked at.
    """

    run_id: str
    sizes: Mapping[str, int]
    is_rest: bool = False
    parts: object = None

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(self.sizes.values())


@dataclass
class Choice:
    """What a collection would do.

    :param kept: the verdicts on the runs that are kept.
    :param unreadable: runs of which nothing can be said, each with the reason.
    """

    chosen: list[Chosen] = field(default_factory=list)
    kept: list[Verdict] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)


@dataclass
class Collected:
    """What a collection did.

    :param failed: runs whose files could not all be removed, each with the reason; the next collection goes on there.
    """

    runs: list[Chosen] = field(default_factory=list)
    kept: list[Verdict] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


class Collector:
    """One collection.

    :param folders: of the catalog.
    """

    def __init__(self, run_log: RunLogStore, folders: RunFolders, asked: Asked | None = None) -> None:
        self._run_log = run_log
        self._folders = folders
        self._asked = asked or Asked()
        self._known: set[str] = set()
        self._marks: Mapping[str, Collection] = {}

    def choose(self, policy: Policy, now: datetime | None = None) -> Choice:
        """Find the runs whose files go. Nothing is written.

        Cost: of the run log 3 LISTs, 2 reads a run, and where something may go the outcomes of all kept runs; of the
        catalog 1 LIST of each run that goes.
        """
        self._marks = self._run_log.marks.collections()
        reader = RunReader(self._run_log, self._folders.location, self._asked)
        facts = reader.gather()
        verdicts = decide(facts, policy, now or datetime.now(UTC), reader.named_by)
        self._known = {run.run_id for run in facts} | set(reader.unreadable)
        choice = Choice([], [v for v in verdicts if v.action == "keep"], reader.unreadable)
        going = [v for v in verdicts if v.action in ("collect", "finish")]
        for verdict, found in zip(going, in_parallel(self._look, going), strict=True):
            if isinstance(found, Chosen):
                choice.chosen.append(found)
            else:
                choice.kept.append(Verdict(verdict.run_id, "keep", found, is_told=True))
        return choice

    def _look(self, verdict: Verdict) -> Chosen | str:
        """What there is to remove of a run; or why nothing is."""
        run_id = verdict.run_id
        try:
            parts = self._parts(run_id)
            sizes = self._folders.sizes(run_id)
            is_rest = verdict.action == "finish"
            named = [] if sizes or is_rest else records_of(self._run_log, run_id)
        except (StoreError, ValueError) as error:
            return str(error)
        mark = self._marks.get(run_id)
        own = [
            held
            for held in named
            if held.entry.catalog_relative_path.startswith(f"{run_id}/")
            and not (mark and mark.covers(held.recorded))
        ]
        if own:
            return (
                f"none of its {len(own)} files is in {self._folders.location}: is this the catalog that it used? "
                "If somebody has removed them, there is nothing left to free"
            )
        return Chosen(run_id, sizes, is_rest, parts)

    def collect(
        self, chosen: Sequence[Chosen], ended: Callable[[int, int], None] = lambda files, size: None
    ) -> Collected:
        """Remove the files of these runs, run by run.

        Cost: 2 writes, 3 reads and 1 LIST a run, 1 LIST of all runs; 1 request for each 1,000 files.

        :param ended: told how many more files are gone, and their bytes.
        """
        done = Collected()
        marks = {one.run_id: Collection(run_id=one.run_id) for one in chosen}
        in_parallel(self._run_log.marks.set_collection, marks.values())
        needed = dict(self._needed_now(chosen))
        for run_id, why in needed.items():
            done.kept.append(Verdict(run_id, "keep", why, is_told=True))
            withdrawn = marks[run_id].model_copy(update={"state": "withdrawn"})
            self._run_log.marks.set_collection(self._marks.get(run_id, withdrawn))
        for one in chosen:
            if one.run_id in needed:
                continue
            try:
                self._remove(one, marks[one.run_id], ended)
            except StoreError as error:
                done.failed[one.run_id] = str(error)
            else:
                done.runs.append(one)
        return done

    def _needed_now(self, chosen: Sequence[Chosen]) -> Iterator[tuple[str, str]]:
        """Runs that somebody has begun to need since they were looked at, and why."""
        reader = RunReader(self._run_log, self._folders.location, self._asked)
        new = reader.gather(self._known)
        named = reader.named_by([run.run_id for run in new])
        users = {other: run.run_id for run in new for other in {*run.refers_to, *named.get(run.run_id, ())}}
        pinned = set(self._run_log.marks.pinned())
        now = in_parallel(lambda one: self._parts(one.run_id), chosen)
        for one, parts in zip(chosen, now, strict=True):
            if one.run_id in users:
                yield one.run_id, f"run {users[one.run_id]} has begun and refers to it"
            elif one.run_id in pinned:
                yield one.run_id, "it was pinned meanwhile"
            elif parts != one.parts:
                yield one.run_id, "something was recorded of it meanwhile"

    def _remove(self, one: Chosen, mark: Collection, ended: Callable[[int, int], None]) -> None:
        gone = 0
        keys = list(one.sizes)

        def count(files: int) -> None:
            nonlocal gone
            ended(files, sum(one.sizes[key] for key in keys[gone : gone + files]))
            gone += files

        self._folders.remove(one.run_id, keys, count)
        self._run_log.marks.set_collection(
            mark.model_copy(update={"state": "removed", "files": len(keys), "size": one.size})
        )

    def _parts(self, run_id: str) -> object:
        """What changes when something is recorded of a run."""
        document = self._run_log.texts([layout.document_key(run_id)])
        return self._run_log.keys_of_parts(run_id), dict(document)
