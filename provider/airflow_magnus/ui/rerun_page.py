"""The page *Re-run from failure*: what a re-run would do, and the button that starts it."""

from __future__ import annotations

import functools
from typing import Any
from urllib.parse import parse_qs

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from airflow_magnus.ui.access import READS_RUN, STARTS_RUN, User, is_signature, may_start_run, signature
from airflow_magnus.ui.dag_runs import start_run
from airflow_magnus.ui.rerun import Rerun, look
from airflow_magnus.ui.responses import PageError, airflow_root, in_time, page, run_path

router = APIRouter(prefix="/rerun", default_response_class=HTMLResponse)
_LARGEST_FORM = 20_000


@router.get("/{dag_id}/{run_id:path}", dependencies=READS_RUN)
async def show_rerun(request: Request, dag_id: str, run_id: str, user: User, run: str = "") -> Response:
    """Show the plan.

    :param run: the run log's id of the run.
    """
    rerun = await in_time(functools.partial(look, dag_id, run_id, run))
    return await anyio.to_thread.run_sync(_shown, request, rerun, user)


@router.post("/{dag_id}/{run_id:path}", dependencies=STARTS_RUN)
async def start_rerun(request: Request, dag_id: str, run_id: str, user: User) -> Response:
    """Start the re-run that the page has shown; it is planned again, and if the plan differs it is shown anew."""
    form = await _form(request)
    digest = form.get("plan", "")
    if not is_signature(form.get("signature", ""), user, dag_id, run_id, digest):
        raise PageError(
            403,
            "This form is not from your page",
            "Open the page of the re-run again, signed in as yourself, and start from there.",
        )
    rerun = await in_time(functools.partial(look, dag_id, run_id, form.get("run", "")))
    if rerun.going_on:
        raise PageError(
            409,
            "This run is being taken up already",
            f"The DAG run {rerun.going_on[0]} has not ended. Wait for it; if it fails, take that one up.",
        )
    if rerun.digest != digest:
        return await anyio.to_thread.run_sync(functools.partial(_shown, request, rerun, user, is_other=True))
    started = await anyio.to_thread.run_sync(start_run, dag_id, rerun.conf, rerun.note, user, request)
    return RedirectResponse(airflow_root(request) + run_path(dag_id, started), 303)


def _shown(request: Request, rerun: Rerun, user: Any, *, is_other: bool = False) -> Response:
    """The page.

    :param is_other: the plan is another one than the user has agreed to.
    """
    dag_id, run_id = rerun.facts.dag_id, rerun.facts.run_id
    return page(
        request,
        "rerun.html",
        status=409 if is_other else 200,
        rerun=rerun,
        facts=rerun.facts,
        is_other=is_other,
        may_start=may_start_run(request, user),
        signature=signature(user, dag_id, run_id, rerun.digest),
        run_path=run_path(dag_id, run_id),
        going_on=[(name, run_path(dag_id, name)) for name in rerun.going_on],
    )


async def _form(request: Request) -> dict[str, str]:
    if int(request.headers.get("content-length") or 0) > _LARGEST_FORM:
        raise PageError(
            413, "This form is too large", "Open the page of the re-run again and start from there."
        )
    fields = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=10)
    return {name: values[0] for name, values in fields.items()}
