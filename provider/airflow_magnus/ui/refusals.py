"""A refusal as whoever asked can read it: a page for people, JSON for programs."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from airflow_magnus.ui.responses import PageError, error_page

_API = "/api/"
_DOCS = "/api/docs"


def is_for_programs(request: Request) -> bool:
    """Whether a request is one to the JSON API."""
    path = str(request.scope["path"]).removeprefix(str(request.scope.get("root_path", "")))
    return path.startswith(_API) and path != _DOCS


def refusal(request: Request, error: PageError) -> Response:
    """The answer that says an error."""
    if not is_for_programs(request):
        return error_page(request, error)
    told = {"status": error.status, "title": error.title, "what_to_do": error.what_to_do}
    return JSONResponse(told, error.status)
