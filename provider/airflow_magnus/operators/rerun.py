"""Apply the plan of a re-run: find out what is still there, take it over into the new run."""

from __future__ import annotations

import logging
from typing import Any

from airflow_magnus.errors import RunNotFoundError
from airflow_magnus.hooks.services import OpenServices
from airflow_magnus.runlog.definition import edges_of
from airflow_magnus.runlog.history import StepHistory
from airflow_magnus.runlog.records import RunHeader
from airflow_magnus.runlog.rerun import plan_rerun
from airflow_magnus.stores.catalog import kept_at
from airflow_magnus.stores.globs import matches
from airflow_magnus.stores.liveness import goes_on

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
    plan = plan_rerun(
        earlier,
        histories,
        header.definition["start_at"],
        edges_of(header.definition),
        definition=header.definition,
        given=header.parameters,
        lost=_lost(header.definition, earlier.run_id, histories, services),
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
    wanted = [
        p for step in definition["steps"].values() for p in (step.get("catalog") or {}).get("get") or ()
    ]
    lost = []
    for name, history in histories.items():
        closed = history.latest.closed
        puts = closed.puts() if closed else []
        needed = [entry for entry in puts if any(matches(pattern, entry.name) for pattern in wanted)]
        if needed and not services.catalog.are_whole(services.catalog.located(run_id, needed)):
            lost.append(name)
    return lost


def take_over(header: RunHeader, services: OpenServices) -> None:
    """Copy the files of the reused steps into the new run's folder; may be done again."""
    services.catalog.copy(header.taken_from)
