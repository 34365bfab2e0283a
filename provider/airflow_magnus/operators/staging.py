"""What attempts have written to their S3 endpoints and could not remove: left by a kill or a power cut."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable

from airflow_magnus.errors import RunNotFoundError
from airflow_magnus.gateway.commit import clear_dead
from airflow_magnus.hooks.buckets import CatalogPlace, catalog_place
from airflow_magnus.hooks.services import OpenServices, ServiceSources
from airflow_magnus.runlog.definition import writes_by_endpoint
from airflow_magnus.runlog.history import StepHistory
from airflow_magnus.runlog.records import RunHeader, StepIdentity
from airflow_magnus.stores.catalog import CatalogStore
from airflow_magnus.stores.owners import goes_on
from airflow_magnus.stores.runlogs import RunLogStore
from airflow_magnus.stores.staging import marked

log = logging.getLogger(__name__)

_MOST_LOOKED_AT, _MOST_CLEARED = 20, 5
"""Other runs, by one attempt; those behind it look at others."""


def clear_before(services: OpenServices, place: CatalogPlace, run_id: str, step: StepIdentity) -> None:
    """Clear up before an attempt: behind earlier ones of its step, and behind runs that are over; never raises.

    What other steps of its run have staged is theirs, and that of the run's end.

    Cost: 1 LIST where there is nothing to do; else up to 2 requests each for a few runs that are marked, and 1 LIST for its own.
    """
    catalog = services.catalog
    assert isinstance(catalog, CatalogStore)
    try:
        marks = marked(catalog.client)
        others = sorted({run for run, _ in marks} - {run_id})
        looked_at = random.sample(others, min(len(others), _MOST_LOOKED_AT))
        over = [run for run in looked_at if _is_over(services.run_log, run)][:_MOST_CLEARED]
        dead = [(run, attempt) for run, attempt in marks if run in over]
        own = [(run, attempt) for run, attempt in marks if run == run_id]
        if own:
            history = services.run_log.graph(run_id, step.graph_name).get(step.name)
            ended = _ended([history] if history is not None else [])
            dead += [(run, attempt) for run, attempt in own if attempt in ended]
        clear_dead(catalog.client, place.place, place.prefix, dead)
    except Exception:  # what others have left must not hinder this attempt
        log.warning("s3: what earlier attempts have staged could not be removed", exc_info=True)


def clear_run(services: OpenServices, sources: ServiceSources, header: RunHeader) -> None:
    """Clear up behind all attempts of a run that have ended; never raises.

    Cost: 1 LIST; nothing where the pipeline's file has no step that writes so.
    """
    catalog = services.catalog
    if not isinstance(catalog, CatalogStore) or not writes_by_endpoint(header):
        return
    try:
        own = [(run, attempt) for run, attempt in marked(catalog.client) if run == header.run_id]
        if own:
            graphs = services.run_log.graphs(header.run_id)
            ended = _ended(history for steps in graphs.values() for history in steps.values())
            place = catalog_place(sources)
            clear_dead(catalog.client, place.place, place.prefix, [one for one in own if one[1] in ended])
    except Exception:  # the run itself has ended as it should
        log.warning("s3: what run %s has staged could not be removed", header.run_id, exc_info=True)


def _is_over(run_log: RunLogStore, run_id: str) -> bool:
    """Whether nothing of a run can go on; False for runs that another run log may know."""
    try:
        return not goes_on(run_log.header(run_id)) or run_log.read(run_id).status in ("SUCCESS", "FAIL")
    except (RunNotFoundError, ValueError):
        return False


def _ended(histories: Iterable[StepHistory]) -> set[str]:
    return {a.opened.attempt_id for history in histories for a in history.attempts.values() if a.closed}
