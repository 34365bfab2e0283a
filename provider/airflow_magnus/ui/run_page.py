"""The tab *Run log* of a DAG run, and its document as a file."""

from __future__ import annotations

import functools
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from airflow_magnus.ui.access import READS_RUN, User, may_start_run
from airflow_magnus.ui.dag_runs import airflow_runs
from airflow_magnus.ui.found_runs import FoundRun, find_run
from airflow_magnus.ui.responses import PageError, in_time, page
from airflow_magnus.ui.run_tree import Choice
from airflow_magnus.ui.run_view import RunView, view

router = APIRouter(prefix="/runs", default_response_class=HTMLResponse)
_UNFINISHED = ("queued", "running")
_LONGEST_TEXT = 200


@router.get("/{dag_id}/{run_id}", dependencies=READS_RUN)
async def show_run(
    request: Request,
    dag_id: str,
    run_id: str,
    user: User,
    status: str = "",
    kind: str = "",
    text: str = "",
    number: int = 1,
    run: str = "",
) -> Response:
    """Show a run.

    :param number: of the page of steps.
    :param run: the run log's id, where one DAG run has several.
    """
    choice = Choice(status, kind, text[:_LONGEST_TEXT])
    query = {"status": status, "kind": kind, "text": choice.text, "run": run}
    look = functools.partial(_look, dag_id, run_id, run, choice, number, query)
    try:
        found = await in_time(look)
    except PageError as error:
        if error.status == 404 and await anyio.to_thread.run_sync(_is_beginning, dag_id, run_id):
            return page(request, "run_waiting.html", dag_id=dag_id, run_id=run_id)
        raise
    return await anyio.to_thread.run_sync(_shown, request, found, user)


@router.get("/{dag_id}/{run_id}/document.json", dependencies=READS_RUN)
async def give_document(dag_id: str, run_id: str, run: str = "") -> Response:
    """The run log as ``magnus runlog show`` prints it."""

    def read() -> tuple[FoundRun, str]:
        found = find_run(dag_id, run_id, run)
        return found, found.document().to_json()

    found, text = await in_time(read)
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in found.header.run_id)
    headers = {"Content-Disposition": f'attachment; filename="{name}.json"'}
    return Response(text, media_type="application/json", headers=headers)


def _look(
    dag_id: str, run_id: str, wanted: str, choice: Choice, number: int, query: dict[str, str]
) -> RunView:
    return view(find_run(dag_id, run_id, wanted), choice, number, query)


def _is_beginning(dag_id: str, run_id: str) -> bool:
    """Whether a run has no run log because its first task has not begun."""
    return any(run.state in _UNFINISHED for run in airflow_runs(dag_id, run_id))


def _shown(request: Request, seen: RunView, user: Any) -> Response:
    found = seen.found
    failed = found.airflow is not None and found.airflow.state == "failed"
    return page(
        request,
        "run.html",
        seen=seen,
        log=seen.log,
        header=found.header,
        dag=found.dag,
        run_id=found.run_id,
        dag_run=found.airflow,
        may_rerun=failed and may_start_run(request, user),
    )
