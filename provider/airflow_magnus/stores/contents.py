"""The files of a run, read from a run log store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from airflow_magnus.errors import RunNotFoundError, StoreError
from airflow_magnus.runlog.contents import Held, contents, contents_of_document, recorded
from airflow_magnus.stores.runlogs import RunLogStore

R = TypeVar("R")


def contents_of(run_log: RunLogStore, run_id: str) -> dict[str, Held]:
    """What a run has left, by name: see :func:`runlog.contents.contents`. Cost: 1 LIST and the parts of the run.

    :raises RunNotFoundError: when there is no such run.
    :raises StoreError: when its records cannot be read.
    """

    def read() -> dict[str, Held]:
        try:
            header = run_log.header(run_id)
        except RunNotFoundError:  # of another tool, which wrote a document alone
            return contents_of_document(run_log.read(run_id))
        return contents(header, run_log.graphs(run_id))

    return _readable(run_log, run_id, read)


def records_of(run_log: RunLogStore, run_id: str) -> list[Held]:
    """Everything that the records of a run name. Cost, errors: as of :func:`contents_of`."""

    def read() -> list[Held]:
        try:
            run_log.header(run_id)
        except RunNotFoundError:
            return list(contents_of_document(run_log.read(run_id)).values())
        return recorded(run_log.graphs(run_id))

    return _readable(run_log, run_id, read)


def _readable(run_log: RunLogStore, run_id: str, read: Callable[[], R]) -> R:
    try:
        return read()
    except (ValueError, RecursionError) as error:
        raise StoreError(
            f"the records of run {run_id!r} in {run_log.location} cannot be read: {error}"
        ) from error
