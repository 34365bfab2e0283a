"""The stores of a pipeline's DAG as the API server opens them, and the run log of a DAG run in them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

from airflow_magnus.errors import MagnusError, RunNotFoundError
from airflow_magnus.hooks.description import Description
from airflow_magnus.hooks.services import OpenServices, open_services
from airflow_magnus.pipeline.identifiers import safe_run_id
from airflow_magnus.pipeline.model import ServiceSettings
from airflow_magnus.runlog.records import RunHeader
from airflow_magnus.stores.runlogs import RunLogStore
from airflow_magnus.ui.responses import PageError

log = logging.getLogger(__name__)

_MOST_OF_ONE_NAME = 100


def open_stores(description: Description) -> OpenServices:
    """Open the stores that a new run of the DAG opens. Secrets are looked up only where the run log needs one.

    :raises PageError: when the server does not read them.
    :raises MagnusError: when they cannot be opened.
    """
    from airflow.providers.common.compat.sdk import conf

    for service, reason in description.withheld.items():
        if service != "secrets":
            raise PageError(
                409, f"This server does not read the {_called(service)} of this DAG", _named(reason)
            )
    sources = description.sources
    if sources.settings and not conf.getboolean("magnus", "ui_file_services", fallback=True):
        service = _called(next(iter(sources.settings)))
        reason = "[magnus] ui_file_services is off, and a file gives its settings"
        raise PageError(409, f"This server does not read the {service} of this DAG", _named(reason))
    try:
        return open_services(sources)
    except MagnusError:
        without = {**sources.settings, "secrets": ServiceSettings("do-nothing")}
        try:
            return open_services(replace(sources, settings=without))
        except MagnusError:
            log.info("the services cannot be opened without secrets either", exc_info=True)
        raise


def header_of_dag_run(store: RunLogStore, wanted: str, scoped_dag_id: str, run_id: str) -> RunHeader:
    """The header of a DAG run: never that of another DAG's run, whatever was asked for.

    :param wanted: the run log's id of the run, where the link knows it; "": the newest that the DAG run has.
    :param scoped_dag_id: what the run log calls the DAG.
    :raises PageError: when there is none.
    """
    found = None
    for header in _named_so(store, wanted, scoped_dag_id, run_id):
        if (header.scheduler.get("dag_id"), header.scheduler.get("run_id")) == (scoped_dag_id, run_id):
            found = header
    if found is None:
        raise _no_run_log(run_id, store)
    return found


def _named_so(store: RunLogStore, wanted: str, scoped_dag_id: str, run_id: str) -> Iterator[RunHeader]:
    first = safe_run_id(f"{scoped_dag_id}.{run_id}")
    names = [first, *(f"{first}.{number}" for number in range(2, _MOST_OF_ONE_NAME))]
    for name in [safe_run_id(wanted)] if wanted else names:
        try:
            yield store.header(name)
        except RunNotFoundError:
            return


def _no_run_log(run_id: str, store: RunLogStore) -> PageError:
    """That a run has no run log in the store, and where it may be."""
    return PageError(
        404,
        f"There is no run log of {run_id}",
        f"It was looked for in {_told(store.location)}, as a new run of the DAG would. If the workers keep it in a "
        "folder that this server does not share with them, make a connection magnus_run_log_default that "
        "all can reach. If the DAG's run log was moved since, only the old place has this run; if somebody removed "
        "the run there, it is gone.",
    )


def _told(location: str) -> str:
    """Where a store is, without a path of this machine."""
    return location if "://" in location else "a folder of this server"


def stores_unreadable(error: MagnusError) -> PageError:
    """That the stores cannot be read, and what to look at. The server's log has the whole of it."""
    log.warning("the stores of a run cannot be read: %s", error)
    return PageError(
        503,
        "The stores of this run cannot be read",
        f"{error} — The API server reads the run log and the catalog itself: "
        "look whether it can reach them, and whether their connections are right.",
    )


def _called(service: str) -> str:
    return {"run_log_store": "run log"}.get(service, service)


def _named(reason: str) -> str:
    return f"Because {reason}. Make it an Airflow connection and name that in the pipeline file instead."
