"""What a user may read of all runs: the stores of the DAGs that are open to them, each with its index.

A run is shown for a DAG only where that DAG's own stores have it: what another store says of a DAG counts for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from airflow_magnus.runlog.index_view import FilePage, IndexView
from airflow_magnus.runlog.provenance import DEPTH, Provenance, provenance_of
from airflow_magnus.runlog.run_query import RunPage, RunQuery, page_of, with_unread
from airflow_magnus.runlog.summaries import RunSummary
from airflow_magnus.ui.open_indexes import Opened, open_indexes
from airflow_magnus.ui.pipeline_dags import PipelineOfDag, readable_pipelines
from airflow_magnus.ui.responses import PageError


@dataclass(frozen=True)
class ReadableStore:
    """One run-log store, and the pipelines in it that the user may read.

    :param view: everything that its index says: ask it only with :meth:`is_visible`.
    """

    pipelines: Sequence[PipelineOfDag]
    view: IndexView
    _by_dag: Mapping[str, PipelineOfDag] = field(default_factory=dict)
    _by_name: Mapping[str, PipelineOfDag] = field(default_factory=dict)

    @classmethod
    def of(cls, pipelines: Sequence[PipelineOfDag], view: IndexView) -> ReadableStore:
        """The store of these pipelines."""
        by_dag = {one.scoped_dag_id: one for one in reversed(pipelines)}
        named = {one.description.pipeline: one for one in reversed(pipelines) if one.description.pipeline}
        return cls(pipelines, view, by_dag, {**named, **by_dag})

    def pipeline_of(self, run: RunSummary) -> PipelineOfDag | None:
        """The pipeline that a run is of; None when it is of none that the user may read.

        A run that Airflow did not start belongs to the DAG of its pipeline's name, or with that id.
        """
        return self._by_dag.get(run.dag_id) if run.dag_id else self._by_name.get(run.pipeline)

    def is_visible(self, run: RunSummary) -> bool:
        """Whether the user may see a run."""
        return self.pipeline_of(run) is not None

    def runs(self) -> Iterator[RunSummary]:
        """The runs that the user may see, each with the DAG that it belongs to."""
        for run in self.view.summaries.values():
            of = self.pipeline_of(run)
            if of is not None:
                is_told = run.airflow_dag_id == of.dag_id
                yield run if is_told else run.model_copy(update={"airflow_dag_id": of.dag_id})


@dataclass(frozen=True)
class Readable:
    """What a user may read.

    :param failed: DAGs whose runs are not shown as their store could not be read, each with the reason.
    """

    stores: Sequence[ReadableStore] = ()
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def pipelines(self) -> list[PipelineOfDag]:
        """All pipelines that the user may read, by DAG id."""
        return sorted(
            chain.from_iterable(s.pipelines for s in self.stores), key=lambda one: one.scoped_dag_id
        )

    def runs(self, query: RunQuery) -> RunPage:
        """The page of runs over all pipelines that a query asks for; each has its ``airflow_dag_id``."""
        page = page_of(chain.from_iterable(store.runs() for store in self.stores), query)
        return with_unread(page, sum(store.view.unread for store in self.stores))

    def run(self, dag_id: str, run_id: str) -> tuple[ReadableStore, RunSummary] | None:
        """A run of a DAG by Airflow's run id or by the run log's; None when it is none that the user may see."""
        found = [
            (store, run)
            for store in self.stores
            for run in store.runs()
            if run.airflow_dag_id == dag_id and run_id in (run.airflow_run_id, run.run_id)
        ]
        return max(found, key=lambda one: (one[1].run_id == run_id, one[1].place), default=None)

    def find_files(self, text: str, limit: int = 200) -> FilePage:
        """Uses of files by the beginning of a digest or part of a name, in the order of :meth:`IndexView.find_files`."""
        pages = [s.view.find_files(text, limit=limit, is_visible=s.is_visible) for s in self.stores]
        uses = [use for page in pages for use in page.uses]
        if len(pages) > 1:
            uses.sort(key=lambda use: use.time, reverse=True)
        return FilePage(tuple(uses[:limit]), any(page.is_cut for page in pages) or len(uses) > limit)

    def dags_of(self, run_ids: Iterable[str]) -> dict[str, str]:
        """Run id → Airflow's id of the DAG that the run belongs to; "" of one that the user may not see."""
        return {run_id: self.dag_of(run_id) for run_id in set(run_ids)}

    def dag_of(self, run_id: str) -> str:
        """Airflow's id of the DAG that a run belongs to; "" when the user may not see it."""
        found = ((store, store.view.summaries.get(run_id)) for store in self.stores)
        pipelines = (store.pipeline_of(run) for store, run in found if run is not None)
        return next((of.dag_id for of in pipelines if of is not None), "")

    def provenance(
        self, sha256: str, *, dag_id: str = "", run_id: str = "", name: str = "", depth: int = DEPTH
    ) -> Provenance | None:
        """Where a content comes from, of all stores the first that knows it; None when none does.

        :param dag_id: with ``run_id``, as of :meth:`run`: the run whose file is meant.
        """
        meant = self.run(dag_id, run_id) if dag_id and run_id else None
        for store in [meant[0]] if meant else self.stores:
            found = provenance_of(
                store.view,
                sha256,
                run_id=meant[1].run_id if meant else run_id,
                name=name,
                depth=depth,
                is_visible=store.is_visible,
            )
            if found is not None:
                return found
        return None

    def wanted(self, dag_id: str, run_id: str) -> tuple[ReadableStore, RunSummary]:
        """The run of an address, as of :meth:`run`.

        :raises PageError: when there is no such run that the user may see.
        """
        found = self.run(dag_id, run_id)
        if found is None:
            raise PageError(404, f"There is no run log of {run_id}", "Choose a run from the list of runs.")
        return found


def readable(user: Any) -> Readable:
    """What a user may read, as it is now. Cost: of each store as of :meth:`RunIndex.view`; of Airflow's database 2 queries.

    It waits for stores: call it by ``in_time``.
    """
    pipelines = readable_pipelines(user)
    opened = open_indexes([one.description for one in pipelines])
    of_store: dict[str, list[PipelineOfDag]] = {}
    views: dict[str, IndexView] = {}
    reasons: dict[str, str] = {}
    for one, store in zip(pipelines, opened, strict=True):
        if isinstance(store, Opened):
            of_store.setdefault(store.key, []).append(one)
            views[store.key] = store.view
        else:
            reasons[one.dag_id] = store
    return Readable([ReadableStore.of(of_store[key], views[key]) for key in of_store], reasons)
