"""What attempts have written to their S3 endpoints and could not remove: left by a kill or a power cut."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import cache

from airflow_magnus.gateway.commit import clear_dead
from airflow_magnus.hooks.buckets import CatalogPlace, catalog_place
from airflow_magnus.hooks.services import OpenServices, ServiceSources
from airflow_magnus.runlog.definition import writes_by_endpoint
from airflow_magnus.runlog.history import StepHistory
from airflow_magnus.runlog.records import RunHeader, StepIdentity
from airflow_magnus.stores.catalog import CatalogStore

log = logging.getLogger(__name__)


def clear_run(services: OpenServices, sources: ServiceSources, header: RunHeader) -> None:
    """Clear up behind all attempts of a run that have ended; never raises.

    Cost: 1 LIST; nothing where the pipeline's file has no step that writes so.
    """
    if not isinstance(services.catalog, CatalogStore) or not writes_by_endpoint(header):
        return

    def histories() -> list[StepHistory]:
        return [h for steps in services.run_log.graphs(header.run_id).values() for h in steps.values()]

    try:
        _clear(services.catalog, catalog_place(sources), header.run_id, histories)
    except Exception:  # the run itself has ended as it should
        log.warning("s3: what run %s has staged could not be removed", header.run_id, exc_info=True)


def clear_step(services: OpenServices, place: CatalogPlace, run_id: str, step: StepIdentity) -> None:
    """Clear up behind the attempts of one step that have ended. Cost: 1 LIST where there is nothing to do.

    :raises StoreError: when the catalog does not answer.
    """
    assert isinstance(services.catalog, CatalogStore)

    def histories() -> list[StepHistory]:
        found = services.run_log.graph(run_id, step.graph_name).get(step.name)
        return [found] if found else []

    _clear(services.catalog, place, run_id, histories)


def _clear(
    catalog: CatalogStore, place: CatalogPlace, run_id: str, histories: Callable[[], Iterable[StepHistory]]
) -> None:
    @cache
    def ended() -> set[str]:
        return {a.opened.attempt_id for h in histories() for a in h.attempts.values() if a.closed}

    clear_dead(catalog.client, place.place, place.prefix, run_id, lambda attempt: attempt in ended())
