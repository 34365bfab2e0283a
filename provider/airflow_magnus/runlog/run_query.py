"""What is asked of the runs of a store: which ones, and how many at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from airflow_magnus.runlog.summaries import RunSummary

IsVisible = Callable[[RunSummary], bool]
"""Whether whoever asks may see a run."""
MOST = 500
"""Runs on one page, at most."""


def everything(_: RunSummary) -> bool:
    """Let whoever asks see all runs."""
    return True


@dataclass(frozen=True)
class RunQuery:
    """Which runs, the one that started last in front. What is empty or None asks for nothing.

    :param pipelines: names of pipelines, or ids of their DAGs.
    :param status: ``SUCCESS``, ``FAIL`` or ``PROCESSING``.
    :param since: began then or later; ``until``: began before then. UTC where they do not say.
    :param parameter: name and value, as text or as JSON; an empty value: the run has the parameter.
    :param text: part of a run id, an Airflow run id, a tag or a pipeline's name; upper and lower case are one.
    :param limit: runs on a page.
    :param after: where the page before has ended, as it says.
    """

    pipelines: Collection[str] = ()
    status: str = ""
    tag: str = ""
    since: datetime | None = None
    until: datetime | None = None
    parameter: tuple[str, str] | None = None
    text: str = ""
    is_pinned: bool | None = None
    limit: int = 50
    after: tuple[str, str] | None = None

    def matches(self, run: RunSummary) -> bool:
        """Whether a run is asked for, on whichever page."""
        return (
            (
                not self.pipelines
                or not {run.pipeline, run.dag_id, run.airflow_dag_id}.isdisjoint(self.pipelines)
            )
            and (not self.status or run.status == self.status)
            and (not self.tag or run.tag == self.tag)
            and (self.is_pinned is None or run.is_pinned == self.is_pinned)
            and (self.parameter is None or has_parameter(run, *self.parameter))
            and (not self.text or self._has_text(run))
            and self._is_in_time(run)
        )

    def _has_text(self, run: RunSummary) -> bool:
        wanted = self.text.casefold()
        return any(
            wanted in (field or "").casefold()
            for field in (run.run_id, run.airflow_run_id, run.tag, run.pipeline)
        )

    def _is_in_time(self, run: RunSummary) -> bool:
        if self.since is None and self.until is None:
            return True
        try:
            start = aware(datetime.fromisoformat(run.start))
        except ValueError:
            return False
        return (self.since is None or start >= aware(self.since)) and (
            self.until is None or start < aware(self.until)
        )


@dataclass(frozen=True)
class RunPage:
    """Some runs, the one that started last in front.

    :param total: how many are asked for, on all pages.
    :param after: where this page ends, for the query of the next one; None when nothing follows.
    :param pipelines: of how many DAGs those runs are; pipelines of runs that Airflow does not know count by name.
    :param unread: runs that the store has and its index does not; they are on no page.
    """

    runs: tuple[RunSummary, ...] = ()
    total: int = 0
    after: tuple[str, str] | None = None
    unread: int = 0
    pipelines: int = 0


def page_of(runs: Iterable[RunSummary], query: RunQuery, is_visible: IsVisible = everything) -> RunPage:
    """The page that a query asks for.

    :param runs: in any order; ``runs`` of several stores may be chained.
    """
    found = sorted(
        (run for run in runs if query.matches(run) and is_visible(run)),
        key=lambda run: run.place,
        reverse=True,
    )
    rest = [run for run in found if query.after is None or run.place < query.after]
    shown = rest[: max(1, min(query.limit, MOST))]
    after = shown[-1].place if len(shown) < len(rest) else None
    pipelines = len({run.airflow_dag_id or run.pipeline for run in found})
    return RunPage(tuple(shown), len(found), after, pipelines=pipelines)


def has_parameter(run: RunSummary, name: str, value: str = "") -> bool:
    """Whether a run has a parameter, of that value if one is given."""
    if name not in run.parameters:
        return False
    there = run.parameters[name]
    return not value or str(there) == value or _as_json(value) == (there,)


def _as_json(text: str) -> tuple[Any, ...]:
    try:
        return (json.loads(text),)
    except ValueError:
        return ()


def aware(moment: datetime) -> datetime:
    """A time with its zone, which is UTC where none is told."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def with_unread(page: RunPage, unread: int) -> RunPage:
    """A page that says how many runs may be missing."""
    return replace(page, unread=unread)
