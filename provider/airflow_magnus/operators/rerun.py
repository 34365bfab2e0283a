"""Apply the plan of a re-run: find out what is still there, take it over into the new run."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from airflow_magnus.errors import RunNotFoundError, StoreError
from airflow_magnus.hooks.services import OpenServices
from airflow_magnus.runlog.definition import edges_of
from airflow_magnus.runlog.history import StepHistory
from airflow_magnus.runlog.records import CatalogEntry, RunHeader
from airflow_magnus.runlog.rerun import plan_rerun
from airflow_magnus.stores.catalog import kept_at
from airflow_magnus.stores.globs import matches
from airflow_magnus.stores.owners import goes_on

log = logging.getLogger(__name__)


def taking_over(header: RunHeader, wanted: str, services: OpenServices) -> RunHeader:
    """The header of a re-run of the run ``wanted``.

    :raises RunNotFoundError: when there is no such run, or it still goes on.
    """
    document = services.run_log.find(wanted)
    earlier = services.run_log.header(document.run_id)
    if document.status == "PROCESSING" and goes_on(earlier):
        raise RunNotFoundError(f"run {document.run_id!r} still goes on: wait for its end, then run it again")
    histories = services.run_log.graph(earlier.run_id, "")
    lost = _lost(header.definition, earlier.run_id, histories, services)
    if not _are_whole(header.definition, earlier.run_id, earlier.entries, services):
        # Files that this run had taken over itself; which of its steps had put them is not known any more.
        lost += earlier.reused[:1]
        earlier = earlier.model_copy(update={"entries": []})
    plan = plan_rerun(
        earlier,
        histories,
        header.definition["start_at"],
        edges_of(header.definition),
        definition=header.definition,
        given=header.parameters,
        lost=lost,
    )
    for warning in plan.warnings:
        log.warning("%s", warning)
    return header.model_copy(
        update={
            "use_cached": True,
            "original_run_id": earlier.run_id,
            "parameters": dict(plan.parameters),
            "reused": list(plan.reused),
            "entries": [kept_at(entry, header.run_id) for entry in plan.entries],
            "taken_from": {
                kept_at(entry, header.run_id).catalog_relative_path: entry.catalog_relative_path
                for entry in services.catalog.located(earlier.run_id, plan.entries)
            },
        }
    )


def _lost(
    definition: Any, run_id: str, histories: dict[str, StepHistory], services: OpenServices
) -> list[str]:
    """Steps of which a file that some step gets is no longer in the catalog, whole."""
    puts = {name: h.latest.closed.puts() for name, h in histories.items() if h.latest.closed}
    return [name for name, entries in puts.items() if not _are_whole(definition, run_id, entries, services)]


def _are_whole(definition: Any, run_id: str, entries: Iterable[CatalogEntry], services: OpenServices) -> bool:
    """Whether those of the entries that some step gets are in the catalog, whole."""
    wanted = [
        p for step in definition["steps"].values() for p in (step.get("catalog") or {}).get("get") or ()
    ]
    needed = [entry for entry in entries if any(matches(pattern, entry.name) for pattern in wanted)]
    return not needed or services.catalog.are_whole(services.catalog.located(run_id, needed))


def take_over(header: RunHeader, services: OpenServices) -> None:
    """Copy the files of the reused steps into the new run's folder; may be done again.

    A file that is gone stops nobody: those that steps get were looked at before.
    """
    try:
        services.catalog.copy(header.taken_from)
    except StoreError:
        for key, source in header.taken_from.items():
            try:
                services.catalog.copy({key: source})
            except StoreError as error:
                if not isinstance(error.__cause__, FileNotFoundError):
                    raise
                log.warning("%s is gone from the catalog, and no step gets it: it is not taken over", source)
