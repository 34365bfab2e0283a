"""Pages, and the errors that are shown as one."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote

import anyio
import anyio.to_thread
from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from airflow_magnus import __version__
from airflow_magnus.runlog.plan_text import size_text
from airflow_magnus.ui.plugin import PREFIX

LONGEST = 30
"""Seconds that a page waits for the stores."""
_MOST_AT_ONCE = 4
_FOLDERS = re.compile(r"(?<![^\s'\"(\[=])(?:file://)?/(?:[^\s/'\",;)\]]+/)+")
_NAMES = re.compile(r"`([^`]+)`")
T = TypeVar("T")


class PageError(Exception):
    """Something that a page cannot do, said to people.

    :param what_to_do: what the reader can do about it. Folders of the server's own file system are not shown.
    """

    def __init__(self, status: int, title: str, what_to_do: str = "") -> None:
        super().__init__(f"{title}: {what_to_do}")
        self.status, self.title = status, _FOLDERS.sub("…/", title)
        self.what_to_do = _FOLDERS.sub("…/", what_to_do)


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Render a template.

    :param values: what it shows.
    """
    text = (
        _templates()
        .get_template(template)
        .render(
            root=request.scope.get("root_path", ""),
            airflow=airflow_root(request),
            version=__version__,
            **values,
        )
    )
    return HTMLResponse(text, status)


def airflow_root(request: Request) -> str:
    """The path that Airflow itself is served at; "" for ``/``."""
    return str(request.scope.get("root_path", "")).removesuffix(PREFIX)


def error_page(request: Request, error: PageError) -> HTMLResponse:
    """Show an error, with the way back to the DAG run or DAG where it is about one."""
    params = request.path_params
    back = ""
    if "dag_id" in params:
        back = run_path(params["dag_id"], params.get("run_id", ""))
    return page(request, "error.html", status=error.status, error=error, back=back)


def run_path(dag_id: str, run_id: str = "") -> str:
    """Path of the page of a DAG run, or of a DAG, in Airflow's UI, below its root."""
    path = f"/dags/{quote(dag_id, safe='')}"
    return f"{path}/runs/{quote(run_id, safe='')}" if run_id else path


async def in_time(work: Callable[[], T]) -> T:
    """Do what waits for stores, beside the server's other work, and give up when they do not answer.

    :raises PageError: when it takes too long.
    """
    try:
        with anyio.fail_after(LONGEST):
            return await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=_limiter())
    except TimeoutError as error:
        raise PageError(
            504,
            f"The stores did not answer within {LONGEST} seconds",
            "Look whether the API server can reach the run log and the catalog of this DAG, then try again.",
        ) from error


@functools.cache
def _limiter() -> anyio.CapacityLimiter:
    return anyio.CapacityLimiter(_MOST_AT_ONCE)


@functools.cache
def _templates() -> Environment:
    found = Environment(
        loader=PackageLoader("airflow_magnus.ui"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    found.filters.update(
        size=size_text,
        moment=_moment,
        kind=_kind,
        status=status_text,
        marked=_marked,
        plain=_plain,
        time=time_text,
        path=path_segment,
        file_path=file_path,
    )
    return found


def _moment(value: datetime | str | None) -> str:
    """A time as the pages show it, of Airflow's or as the run log writes it; text of another kind as it is."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value) if value else None
        except ValueError:
            return str(value)
    if value is None:
        return ""
    return (value.astimezone(UTC) if value.tzinfo else value).strftime("%Y-%m-%d %H:%M:%S UTC")


def _kind(status: str) -> str:
    """The class of a status in the style sheet, of ours or of Airflow's."""
    kinds = {"success": "success", "fail": "failed", "failed": "failed", "upstream_failed": "failed"}
    live = {"processing": "live", "running": "live", "queued": "live", "triggered": "live"}
    return {**kinds, **live}.get(status.lower(), "other")


def status_text(status: str) -> str:
    """The word of a status on all pages, which is Airflow's: of a step or run that ``FAIL``ed, ``failed``."""
    words = {"fail": "failed", "processing": "running", "triggered": "queued"}
    return words.get(status.lower(), status.lower())


def _marked(text: str) -> Markup:
    """A text in which names stand between backticks, for a page."""
    return Markup(_NAMES.sub(r"<code>\1</code>", str(escape(text))))


def _plain(value: Any) -> str:
    """A value of a run log as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def time_text(seconds: float | None) -> str:
    """A length of time for people: ``21 ms``, ``1.2 s``, ``3 min 5 s``, ``2 h 4 min``; "" of None."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def file_path(name: str) -> str:
    """The name of a file in the catalog as the end of an address."""
    return quote(name, safe="/")


def path_segment(text: str) -> str:
    """A text as one segment of an address."""
    return quote(str(text), safe="")
