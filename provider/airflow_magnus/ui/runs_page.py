"""The list of runs over all pipelines that the user may read, in Airflow's navigation."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from airflow_magnus.runlog.run_query import RunPage, RunQuery
from airflow_magnus.runlog.summaries import RunSummary
from airflow_magnus.ui.access import User, may_start_runs_of
from airflow_magnus.ui.readable import Readable, readable
from airflow_magnus.ui.responses import PageError, in_time, page, path_segment

router = APIRouter(prefix="/runs", default_response_class=HTMLResponse)
ROWS = 50
_LONGEST_TEXT = 300
STATUSES = ("SUCCESS", "FAIL", "PROCESSING")


@dataclass(frozen=True)
class Filters:
    """The filters of the list, as the address has them; "" leaves one open.

    :param since: the first day, ``until`` the last one, as ``2026-11-21``, in UTC.
    :param parameter: ``name`` or ``name=value``.
    :param pinned: ``yes``, ``no`` or "".
    """

    pipeline: str = ""
    status: str = ""
    tag: str = ""
    since: str = ""
    until: str = ""
    parameter: str = ""
    text: str = ""
    pinned: str = ""

    def query(self) -> RunQuery:
        """What they ask the index for.

        :raises PageError: when one cannot be understood.
        """
        name, _, value = self.parameter.partition("=")
        until = _day(self.until, "the last day")
        return RunQuery(
            pipelines=[self.pipeline] if self.pipeline else (),
            status=_one_of(self.status.upper(), STATUSES, "status"),
            tag=self.tag,
            since=_day(self.since, "the first day"),
            until=until + timedelta(days=1) if until else None,
            parameter=(name.strip(), value.strip()) if name.strip() else None,
            text=self.text.strip(),
            is_pinned={"yes": True, "no": False}.get(self.pinned),
            limit=ROWS,
        )

    @property
    def is_open(self) -> bool:
        """Whether none is set."""
        return self == Filters()

    def address(self, **more: str) -> str:
        """The query of the page's address with these filters."""
        given = {key: value for key, value in {**vars(self), **more}.items() if value}
        return f"?{urlencode(given)}" if given else "?"


@dataclass(frozen=True)
class RunRow:
    """One run in the list.

    :param place: the ends of the addresses of its pages: ``<dag id>/<run id>``.
    """

    run: RunSummary
    place: str
    may_rerun: bool


@router.get("")
async def show_runs(
    request: Request,
    user: User,
    pipeline: str = "",
    status: str = "",
    tag: str = "",
    since: str = "",
    until: str = "",
    parameter: str = "",
    text: str = "",
    pinned: str = "",
    after: str = "",
) -> Response:
    """Show runs, the one that started last in front.

    :param after: start and id of the last run of the page before.
    """
    given = (pipeline, status, tag, since, until, parameter, text, pinned)
    filters = Filters(*(value[:_LONGEST_TEXT] for value in given))
    query = filters.query()
    start, between, run_id = after.partition("|")
    if between:
        query = replace(query, after=(start, run_id))
    return await in_time(functools.partial(_shown, request, user, filters, query))


def _shown(request: Request, user: Any, filters: Filters, query: RunQuery) -> Response:
    may = readable(user)
    found = may.runs(query)
    return page(
        request,
        "runs.html",
        filters=filters,
        statuses=STATUSES,
        pipelines=sorted({one.dag_id for one in may.pipelines}),
        rows=rows_of(found.runs, user),
        found=found,
        is_first=query.after is None,
        failed=_reasons(may),
        after=_after(filters, found),
    )


def rows_of(runs: Sequence[RunSummary], user: Any) -> list[RunRow]:
    """Runs as rows of a list."""
    may_start = functools.cache(functools.partial(may_start_runs_of, user))
    return [
        RunRow(
            run,
            place_of(run),
            run.status == "FAIL" and bool(run.airflow_run_id) and may_start(run.airflow_dag_id),
        )
        for run in runs
    ]


def place_of(run: RunSummary) -> str:
    """The end of the address of a page about a run: ``<dag id>/<run id>``."""
    return f"{path_segment(run.airflow_dag_id)}/{path_segment(run.airflow_run_id or run.run_id)}"


def _reasons(may: Readable) -> dict[str, list[str]]:
    """Why stores are not shown, each with the DAGs that it is said of."""
    found: dict[str, list[str]] = {}
    for dag_id, reason in may.failed.items():
        found.setdefault(reason, []).append(dag_id)
    return found


def _after(filters: Filters, found: RunPage) -> str:
    return "" if found.after is None else filters.address(after="|".join(found.after))


def _day(text: str, what: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) if text else None
    except ValueError as error:
        raise PageError(
            400, f"{text[:40]!r} is not a day", f"Give {what} as year, month and day: 2026-01-31."
        ) from error


def _one_of(given: str, allowed: Sequence[str], what: str) -> str:
    if given and given not in allowed:
        raise PageError(400, f"There is no {what} {given[:40]!r}", f"Choose one of {', '.join(allowed)}.")
    return given
