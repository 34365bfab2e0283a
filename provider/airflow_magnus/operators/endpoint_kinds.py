"""Which endpoint a step has beside it: served to its code, as folders, or as its compute data folder."""

from __future__ import annotations

from airflow_magnus.hooks.services import ServiceSources
from airflow_magnus.operators.catalog_mount import CatalogMount
from airflow_magnus.operators.endpoint import StepEndpoint
from airflow_magnus.operators.mount import StepMount, falls_back
from airflow_magnus.operators.no_endpoint import NoEndpoint
from airflow_magnus.operators.session import StepSession
from airflow_magnus.pipeline.model import CatalogMountRequest, EndpointRequest, MountRequest


def endpoint_for(
    request: EndpointRequest, sources: ServiceSources, session: StepSession, before: NoEndpoint
) -> StepEndpoint | NoEndpoint:
    """The endpoint of one attempt; it does not serve yet.

    Parameters and errors: as of :class:`StepEndpoint`.
    """
    if isinstance(request, CatalogMountRequest):
        return before if falls_back(request, session) else CatalogMount(request, sources, session, before)
    kind = StepMount if isinstance(request, MountRequest) else StepEndpoint
    return kind(request, sources, session, before)
