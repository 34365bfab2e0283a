"""The tab *Pipeline* of a DAG: what its file says, and the last runs."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from airflow_magnus.hooks.description import Description
from airflow_magnus.hooks.services import CONNECTIONS
from airflow_magnus.operators.run import NEW_PARAMETERS, TAG, USE_CACHED
from airflow_magnus.runlog.run_query import RunQuery
from airflow_magnus.ui.access import READS_RUN, User
from airflow_magnus.ui.dag_runs import DagFacts, dag_facts
from airflow_magnus.ui.diagram import Drawing, draw, rows_of
from airflow_magnus.ui.found_runs import not_of_a_pipeline
from airflow_magnus.ui.readable import readable
from airflow_magnus.ui.responses import in_time, page
from airflow_magnus.ui.runs_page import RunRow
from airflow_magnus.ui.runs_page import rows_of as rows_of_runs

router = APIRouter(prefix="/pipelines", default_response_class=HTMLResponse)
_LAST_RUNS = 10
_MOST_ROWS = 500


@dataclass(frozen=True)
class PipelineView:
    """One pipeline of a DAG.

    :param services: name for people → where it is.
    :param steps: as of ``diagram.rows_of``, the first of them.
    """

    of: Description
    drawing: Drawing | None
    steps: Sequence[tuple[str, Mapping[str, Any]]]
    more_steps: int
    services: Mapping[str, str]


@router.get("/{dag_id}", dependencies=READS_RUN)
async def show_pipeline(request: Request, dag_id: str, user: User) -> Response:
    """Show the pipeline of a DAG."""
    return await in_time(functools.partial(_shown, request, user, dag_id))


def _shown(request: Request, user: Any, dag_id: str) -> Response:
    dag = dag_facts(dag_id)
    if not dag.pipelines:
        raise not_of_a_pipeline(dag)
    may = readable(user)
    return page(
        request,
        "pipeline.html",
        dag=dag,
        pipelines=[_view(one) for one in dag.pipelines],
        parameters=_parameters(dag),
        rows=_last_runs(may, dag_id, user),
        trouble=may.failed.get(dag_id, ""),
    )


def _last_runs(may: Any, dag_id: str, user: Any) -> list[RunRow]:
    runs = may.runs(RunQuery(pipelines=[dag_id], limit=_LAST_RUNS)).runs
    return rows_of_runs([run for run in runs if run.airflow_dag_id == dag_id], user)


def _view(pipeline: Description) -> PipelineView:
    steps = rows_of(pipeline.outline)
    return PipelineView(
        of=pipeline,
        drawing=draw(pipeline.outline),
        steps=steps[:_MOST_ROWS],
        more_steps=max(0, len(steps) - _MOST_ROWS),
        services={
            name.replace("_store", "").replace("_", " "): _place(pipeline, name) for name in CONNECTIONS
        },
    )


def _place(pipeline: Description, service: str) -> str:
    """Where a service of a pipeline comes from, in words without settings."""
    if service in pipeline.withheld:
        return "set by a file that this server does not read"
    settings = pipeline.sources.settings.get(service)
    if settings is not None:
        return f"{settings.type}, set by a file"
    if named := pipeline.sources.connections.get(service):
        return f"connection {named}"
    return f"connection {CONNECTIONS[service]} if there is one, else the default"


def _parameters(dag: DagFacts) -> dict[str, Any]:
    """The declared parameters with their defaults; what every pipeline's trigger form has is left out."""
    of_all = (USE_CACHED, NEW_PARAMETERS, TAG)
    return {name: value for name, value in dag.defaults.items() if name not in of_all}
