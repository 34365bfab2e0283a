"""What documents the JSON API: its OpenAPI document, and a page that shows it without any script of others."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse, Response

from airflow_magnus import __version__
from airflow_magnus.ui.access import User
from airflow_magnus.ui.api import router as described
from airflow_magnus.ui.responses import page

router = APIRouter(prefix="/api", include_in_schema=False)


@router.get("/openapi.json")
async def openapi(request: Request, user: User) -> Response:
    """The OpenAPI document, for whoever is signed in."""
    return JSONResponse({**_document(), "servers": [{"url": request.scope.get("root_path", "")}]})


@router.get("/docs", response_class=HTMLResponse)
async def docs(request: Request, user: User) -> Response:
    """The endpoints with their parameters and answers."""
    return page(request, "api.html", endpoints=_endpoints(_document()))


@functools.cache
def _document() -> dict[str, Any]:
    return get_openapi(
        title="Magnus",
        version=__version__,
        description="Runs, run logs, files and provenance, for programs. Sign in as for Airflow's own API.",
        routes=described.routes,
    )


@dataclass(frozen=True)
class Endpoint:
    """One endpoint as the page shows it.

    :param parameters: name, where it stands (``path`` or ``query``), type, what it is.
    :param fields: of the answer: name, type, what it is.
    """

    method: str
    path: str
    what: str
    parameters: tuple[tuple[str, str, str, str], ...]
    fields: tuple[tuple[str, str, str], ...]


def _endpoints(document: dict[str, Any]) -> list[Endpoint]:
    return [
        Endpoint(
            method.upper(),
            path,
            str(told.get("description", "")),
            tuple(_parameter(one) for one in told.get("parameters", [])),
            tuple(_fields(document, told)),
        )
        for path, methods in document["paths"].items()
        for method, told in methods.items()
    ]


def _parameter(told: dict[str, Any]) -> tuple[str, str, str, str]:
    schema = told.get("schema", {})
    what = str(told.get("description") or schema.get("description") or "")
    if schema.get("default") not in (None, "", []):
        what = f"{what}; default {schema['default']}".removeprefix("; ")
    return told["name"], "path" if told["in"] == "path" else "query", _type(schema), what


def _fields(document: dict[str, Any], told: dict[str, Any]) -> list[tuple[str, str, str]]:
    content = told["responses"]["200"].get("content", {}).get("application/json", {})
    name = str(content.get("schema", {}).get("$ref", "")).rsplit("/", 1)[-1]
    model = document["components"]["schemas"].get(name, {})
    return [
        (field, _type(schema), str(schema.get("description", "")).split("\n")[0])
        for field, schema in model.get("properties", {}).items()
    ]


def _type(schema: dict[str, Any]) -> str:
    """The type of a schema in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if schema.get("enum"):
        return ", ".join(str(one) for one in schema["enum"] if one)
    return str(schema.get("format") or schema.get("type") or "any")
