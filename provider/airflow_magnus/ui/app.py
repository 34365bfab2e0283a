"""The application of our pages: its routes, its errors, and what a browser may do with a page."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from airflow_magnus.ui.api import router as api
from airflow_magnus.ui.api_pages import router as api_pages
from airflow_magnus.ui.catalog_page import router as catalog
from airflow_magnus.ui.compare_page import router as compare
from airflow_magnus.ui.data_page import router as data
from airflow_magnus.ui.files_page import router as files
from airflow_magnus.ui.pipeline_page import router as pipeline
from airflow_magnus.ui.provenance_page import router as provenance
from airflow_magnus.ui.refusals import is_for_programs, refusal
from airflow_magnus.ui.rerun_page import router as rerun
from airflow_magnus.ui.responses import PageError, airflow_root
from airflow_magnus.ui.run_page import router as run
from airflow_magnus.ui.runs_page import router as runs

log = logging.getLogger(__name__)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
_TRICKY = PageError(
    400,
    "There is no such page",
    "Its address has an escaped slash, a NUL or .. in it. Open it by a link of these pages.",
)
_TITLES = {
    400: "This cannot be done",
    403: "You may not do this",
    404: "There is no such page",
    405: "This cannot be done here",
}


def make_app() -> FastAPI:
    """Make the application."""
    # Its pages of documentation would be open to everybody.
    app = FastAPI(title="Magnus", docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(_with_headers)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(PageError, _shown)
    app.add_exception_handler(RequestValidationError, _misread)
    app.add_exception_handler(Exception, _unexpected)
    app.add_api_route("/", _first_page, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    for router in (rerun, runs, run, compare, pipeline, files, data, provenance, catalog, api, api_pages):
        app.include_router(router)
    return app


async def _first_page(request: Request) -> Response:
    return RedirectResponse(f"{request.scope.get('root_path', '')}/runs", 303)


async def _with_headers(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
    if _is_tricky(request):
        return _limited(request, refusal(request, _TRICKY))
    return _limited(request, await call(request))


def _is_tricky(request: Request) -> bool:
    """Whether the path of a request may mean another one to somebody: ``..``, a slash or NUL that is escaped."""
    sent = request.scope.get("raw_path") or b""
    segments = request.scope["path"].split("/")
    return b"%2f" in sent.lower() or any("\0" in segment or segment in (".", "..") for segment in segments)


def _limited(request: Request, response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", _POLICY)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cache-Control"] = "no-cache" if "/static/" in request.url.path else "no-store"
    return response


async def _refused(request: Request, error: Exception) -> Response:
    """What FastAPI, Airflow's checks and its trigger route refuse; who is not signed in is sent to do so."""
    assert isinstance(error, HTTPException)
    if error.status_code == 401 and request.method == "GET" and not is_for_programs(request):
        wanted = f"{request.url.path}?{request.url.query}".rstrip("?")
        login = f"{airflow_root(request)}/api/v2/auth/login?next={quote(wanted, safe='')}"
        return RedirectResponse(login, 303)
    if error.status_code == 401:
        title, what_to_do = "You are not signed in", "Sign in to Airflow, then open the page again."
    else:
        title, what_to_do = _TITLES.get(error.status_code, "This did not work"), _advice(request, error)
    return refusal(request, PageError(error.status_code, title, what_to_do))


def _advice(request: Request, error: HTTPException) -> str:
    """What to do; where the address or the method is wrong, the words of HTTP say nothing, so where to look instead."""
    if error.detail not in (HTTPStatus.NOT_FOUND.phrase, HTTPStatus.METHOD_NOT_ALLOWED.phrase):
        return str(error.detail)
    root = request.scope.get("root_path", "")
    if is_for_programs(request):
        return f"The endpoints and their methods are described in `{root}/api/openapi.json`, for people at `{root}/api/docs`."
    return (
        f"The list of all runs is at `{root}/runs`, the search for files at `{root}/provenance`; the JSON API is described "
        f"at `{root}/api/docs`. The pages of a run, a pipeline or a task are tabs of Airflow's own pages about them."
    )


async def _shown(request: Request, error: Exception) -> Response:
    assert isinstance(error, PageError)
    return refusal(request, error)


async def _misread(request: Request, error: Exception) -> Response:
    """A parameter of the address that is none."""
    assert isinstance(error, RequestValidationError)
    if is_for_programs(request):
        faults = (f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
        return refusal(request, PageError(400, _TITLES[400], f"{'; '.join(faults)}."[:500]))
    names = sorted({str(fault["loc"][-1]) for fault in error.errors() if fault.get("loc")})
    what_to_do = f"Not understood: {', '.join(names)[:200]}. Open the page by a link of these pages."
    return refusal(request, PageError(400, "This address asks for something that cannot be", what_to_do))


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("%s could not be shown", request.url.path, exc_info=error)
    what_to_do = (
        "The log of Airflow's API server says more. Try again; if it stays so, report it with that log."
    )
    failed = PageError(500, f"An unexpected error: {type(error).__name__}", what_to_do)
    return _limited(request, refusal(request, failed))
