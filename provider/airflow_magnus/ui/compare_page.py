"""The page that lays two runs side by side, and the one where the other run is chosen."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import quote, unquote, urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from airflow_magnus.runlog.run_query import RunQuery
from airflow_magnus.runlog.summaries import RunSummary
from airflow_magnus.ui.access import READS_RUN, User, may_read_runs_of
from airflow_magnus.ui.comparison import Comparison, TextDifference, look, text_difference
from airflow_magnus.ui.found_runs import find_run
from airflow_magnus.ui.readable import readable
from airflow_magnus.ui.responses import PageError, in_time, page
from airflow_magnus.ui.runs_page import rows_of

router = APIRouter(prefix="/compare", default_response_class=HTMLResponse)
_CHOICES = 50
_LAST_SUCCESS = "last-success"


@router.get("")
async def compare_picked(
    request: Request, user: User, run: Annotated[list[str] | None, Query()] = None
) -> Response:
    """Go to the comparison of the two runs that were picked in the list.

    :param run: each ``<dag id>/<run id>``, as an address has them.
    """
    picked = [one.split("/") for one in run or []]
    if len(picked) != 2 or any(len(one) != 2 for one in picked):
        ticked = {0: "None is ticked", 1: "One is ticked"}.get(len(picked), f"{len(picked)} are ticked")
        raise PageError(
            400, "Pick two runs", f"{ticked}. Go back to the list, tick two, then press Compare two."
        )
    (dag_id, run_id), (other_dag, other) = ([unquote(part) for part in one] for one in picked)
    return RedirectResponse(_address(request, dag_id, run_id, other_dag, other), 303)


@router.get("/{dag_id}/{run_id}", dependencies=READS_RUN)
async def choose_other(
    request: Request,
    dag_id: str,
    run_id: str,
    user: User,
    wanted: Annotated[str, Query(alias="with")] = "",
    text: str = "",
) -> Response:
    """Show the runs that this one can be compared with; or go to the comparison with its last success.

    :param wanted: ``last-success``.
    """
    return await in_time(functools.partial(_choice, request, user, dag_id, run_id, wanted, text[:200]))


@router.get("/{dag_id}/{run_id}/{other}", dependencies=READS_RUN)
async def show_comparison(
    request: Request,
    dag_id: str,
    run_id: str,
    other: str,
    user: User,
    other_dag_id: str = "",
    step: str = "",
    file: str = "",
) -> Response:
    """Show two runs side by side.

    :param other_dag_id: of the other run, where it is of another DAG.
    :param step: with ``file``: the step whose file's text is compared.
    """

    def read() -> tuple[Comparison, TextDifference | None]:
        if other_dag_id and other_dag_id != dag_id and not may_read_runs_of(user, other_dag_id):
            raise PageError(404, f"There is no DAG {other_dag_id}", "Choose a run from the list of runs.")
        seen = look((dag_id, run_id), (other_dag_id or dag_id, other))
        return seen, text_difference(seen, step, file) if step and file else None

    seen, text = await in_time(read)
    return page(
        request, "compare.html", seen=seen, text=text, here=request.url.path, other_dag_id=other_dag_id
    )


def _choice(request: Request, user: Any, dag_id: str, run_id: str, wanted: str, text: str) -> Response:
    may = readable(user)
    found = may.run(dag_id, run_id)
    this = found[1] if found else None
    if this is None:  # it may be too new for the index; one that is none of the DAG's is not there
        find_run(dag_id, run_id)
    if wanted == _LAST_SUCCESS:
        success = _last_success(may.runs, dag_id, this, run_id)
        if success is not None:
            other = success.airflow_run_id or success.run_id
            return RedirectResponse(_address(request, dag_id, run_id, dag_id, other), 303)
    query = RunQuery(pipelines=() if text else [dag_id], text=text, limit=_CHOICES)
    rows = [
        row for row in rows_of(may.runs(query).runs, user) if this is None or row.run.run_id != this.run_id
    ]
    others = [(row, _address(request, dag_id, run_id, row.run.airflow_dag_id, _id(row.run))) for row in rows]
    return page(
        request,
        "compare_choice.html",
        dag_id=dag_id,
        run_id=run_id,
        others=others,
        text=text,
        has_no_success=wanted == _LAST_SUCCESS,
    )


def _last_success(runs: Any, dag_id: str, this: RunSummary | None, run_id: str) -> RunSummary | None:
    """The last run that succeeded before this one; where none did, the last of all."""
    query = RunQuery(pipelines=[dag_id], status="SUCCESS", limit=2, after=this.place if this else None)
    for asked in (query, replace(query, after=None)):
        for run in runs(asked).runs:
            if run_id not in (run.run_id, run.airflow_run_id):
                found: RunSummary = run
                return found
    return None


def _id(run: RunSummary) -> str:
    return run.airflow_run_id or run.run_id


def _address(request: Request, dag_id: str, run_id: str, other_dag: str, other: str) -> str:
    parts = "/".join(quote(part, safe="") for part in (dag_id, run_id, other))
    query = f"?{urlencode({'other_dag_id': other_dag})}" if other_dag != dag_id else ""
    return f"{request.scope.get('root_path', '')}/compare/{parts}{query}"
