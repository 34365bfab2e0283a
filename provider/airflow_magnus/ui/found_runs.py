"""The run that a page is about: its DAG, its DAG run, and its run log in the stores of that DAG."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from airflow_magnus.errors import MagnusError, RunNotFoundError
from airflow_magnus.hooks.description import Description
from airflow_magnus.hooks.services import OpenServices
from airflow_magnus.runlog.records import RunHeader, RunLog
from airflow_magnus.runlog.summaries import RunFacts, facts_of
from airflow_magnus.stores.remembered import PartsMemory
from airflow_magnus.stores.runlogs import RunLogStore
from airflow_magnus.ui.dag_runs import AirflowRun, DagFacts, airflow_runs, dag_facts
from airflow_magnus.ui.responses import PageError
from airflow_magnus.ui.run_stores import header_of_dag_run, open_stores, stores_unreadable

log = logging.getLogger(__name__)
T = TypeVar("T")
_MOST_FAULTS = 10


@dataclass(frozen=True)
class FoundRun:
    """A run that a page may show to whoever may read its DAG.

    :param airflow: None of a run that ``magnus execute`` made, or that was deleted in Airflow.
    :param run_id: as it stands in the addresses of its pages: Airflow's, or the run log's where Airflow has none.
    :param description: of the pipeline that the run is of.
    :param services: the DAG's stores, open.
    """

    dag: DagFacts
    airflow: AirflowRun | None
    run_id: str
    description: Description
    services: OpenServices
    header: RunHeader

    def document(self) -> RunLog:
        """The run log; put together from its parts while the run goes on. Cost: 1 GET of a run that has ended.

        :raises PageError: when it cannot be read.
        """
        return self.reading(lambda: self._remembered().current(self.header.run_id))

    def facts(self, document: RunLog) -> RunFacts:
        """What lists of runs and files say of the run. Cost: of a re-run the parts that were not read before.

        :raises PageError: when they cannot be read.
        """
        graphs = None
        if self.header.use_cached:
            graphs = self.reading(lambda: self._remembered().graphs(self.header.run_id))
        return facts_of(self.header, document, graphs)

    def earlier(self) -> RunHeader | None:
        """Of a re-run the run that it takes up; None of others, or when that is gone. Cost: 1 GET.

        :raises PageError: when it cannot be read.
        """
        wanted = self.header.original_run_id
        if not wanted:
            return None
        try:
            return self.services.run_log.header(wanted)
        except RunNotFoundError:
            return None
        except MagnusError as error:
            raise stores_unreadable(error) from error

    def _remembered(self) -> RunLogStore:
        return RunLogStore(_memory().of_run(self.services.run_log.parts, self.header.token))

    @staticmethod
    def reading(read: Callable[[], T]) -> T:
        """What ``read`` gives.

        :raises PageError: when the stores do not.
        """
        try:
            return read()
        except MagnusError as error:
            log.warning("the stores of a run cannot be read", exc_info=error)
            raise stores_unreadable(error) from error


@functools.cache
def _memory() -> PartsMemory:
    return PartsMemory()


def find_run(dag_id: str, run_id: str, wanted: str = "") -> FoundRun:
    """The run of a page's address. The user's right to read the DAG was checked before. Cost: 2 requests.

    :param run_id: Airflow's id of the DAG run, or the run log's of a run that Airflow does not know.
    :param wanted: the run log's id of the run: of several that a DAG run has, or of several pipelines in one DAG.
    :raises PageError: when there is no such run of this DAG.
    """
    dag = dag_facts(dag_id)
    airflow = next(iter(airflow_runs(dag_id, run_id)), None)
    refused: PageError | None = None
    for description in dag.pipelines or (Description(),):
        try:
            services = open_stores(description)
            header = _header(services, dag, description, airflow, run_id, wanted)
            known = airflow or _airflow_run_of(dag, header)
            return FoundRun(dag, known, known.run_id if known else run_id, description, services, header)
        except PageError as error:
            refused = error
        except MagnusError as error:
            refused = stores_unreadable(error)
    assert refused is not None
    raise refused if dag.pipelines else not_of_a_pipeline(dag)


def _header(
    services: OpenServices,
    dag: DagFacts,
    description: Description,
    airflow: AirflowRun | None,
    run_id: str,
    wanted: str,
) -> RunHeader:
    store, scoped = services.run_log, description.scoped(dag.dag_id)
    if airflow is None:  # it may be the run log's own id
        try:
            header = store.header(run_id)
        except RunNotFoundError:
            log.debug("no run log is called %s", run_id)
        else:
            if is_of_dag(header, scoped, description):
                return header
            raise _no_run(dag, run_id)
        try:
            return header_of_dag_run(store, wanted, scoped, run_id)
        except PageError as error:
            raise _no_run(dag, run_id) from error
    return header_of_dag_run(store, wanted, scoped, run_id)


def _no_run(dag: DagFacts, run_id: str) -> PageError:
    return PageError(
        404,
        f"There is no run {run_id} of the DAG {dag.dag_id}",
        "Neither Airflow nor the run log of the DAG knows it: it was removed from both, or the address is wrong. "
        "Choose a run from the list of runs.",
    )


def _airflow_run_of(dag: DagFacts, header: RunHeader) -> AirflowRun | None:
    """The DAG run of a run that was asked for by the run log's id."""
    run_id = str(header.scheduler.get("run_id") or "")
    return next(iter(airflow_runs(dag.dag_id, run_id)), None) if run_id else None


def is_of_dag(header: RunHeader, scoped_dag_id: str, description: Description) -> bool:
    """Whether a run belongs to a DAG: Airflow ran it for that, or ``magnus execute`` ran a pipeline of the same name."""
    if header.scheduler.get("dag_id"):
        return bool(header.scheduler["dag_id"] == scoped_dag_id)
    return bool(header.pipeline) and header.pipeline in (description.pipeline, scoped_dag_id)


def not_of_a_pipeline(dag: DagFacts) -> PageError:
    """That a DAG has no pipeline that is known, and why that may be."""
    if dag.is_gone:
        return PageError(
            404,
            f"The DAG {dag.dag_id} is gone",
            "Its file was removed, renamed or cannot be read any more, so nobody knows where its run logs are. "
            "Put it back and wait until Airflow shows the DAG again.",
        )
    if dag.faults:
        told = "; ".join(dag.faults[:_MOST_FAULTS])
        more = f"; and {len(dag.faults) - _MOST_FAULTS} more" if len(dag.faults) > _MOST_FAULTS else ""
        return PageError(
            404,
            f"The pipeline file of {dag.dag_id} is refused",
            f"{told}{more}. Mend the file: the pipeline is shown when Airflow has read it again.",
        )
    return PageError(
        404,
        "This DAG is not made of a pipeline file",
        f"{dag.title} has no run log, so there is nothing to show here. Its tasks and their logs are on Airflow's own "
        "tabs. If it is a pipeline, wait until Airflow has read its file again.",
    )
