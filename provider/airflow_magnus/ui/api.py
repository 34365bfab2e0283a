"""The JSON API: what the pages show, for programs. With a cookie or a bearer token of Airflow, and the rights of its user."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from airflow_magnus.runlog.difference import compare
from airflow_magnus.runlog.provenance import DEPTH
from airflow_magnus.runlog.records import RunLog, Status
from airflow_magnus.runlog.run_query import MOST, RunQuery
from airflow_magnus.runlog.summaries import facts_of
from airflow_magnus.ui.access import READS_RUN, User, may_read_runs_of
from airflow_magnus.ui.api_models import (
    Files,
    FileUsed,
    Origin,
    Plan,
    PlannedStep,
    Problem,
    Run,
    Runs,
    RunStatus,
    Step,
    Steps,
    all_steps,
)
from airflow_magnus.ui.found_runs import FoundRun, find_run
from airflow_magnus.ui.readable import Readable, readable
from airflow_magnus.ui.rerun import look
from airflow_magnus.ui.responses import PageError, in_time

T = TypeVar("T")
VERSION = "v1"
_REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem, "description": what}
    for code, what in (
        (400, "The request cannot be understood"),
        (401, "Nobody is signed in"),
        (403, "The user may not read this DAG"),
        (404, "There is no such run, file or page"),
        (503, "The stores cannot be read"),
    )
}
router = APIRouter(prefix=f"/api/{VERSION}", responses=_REFUSALS)
_LONGEST = 300
"""Characters of a text that is searched for."""
_Text = Annotated[str, Query(max_length=_LONGEST)]
_Wanted = Annotated[
    str, Query(max_length=_LONGEST, description="id in the run log, of a DAG run that has several")
]
_Digest = Annotated[str, Path(pattern="^[0-9a-fA-F]{64}$", description="sha256, 64 hexadecimal digits")]


@router.get("/runs")
async def runs(
    user: User,
    pipeline: Annotated[
        list[str], Query(description="name, or id of the DAG; may be given several times")
    ] = [],  # noqa: B006
    status: Literal["", RunStatus] = "",
    tag: _Text = "",
    since: datetime | None = None,
    until: datetime | None = None,
    parameter: Annotated[str, Query(max_length=_LONGEST, description="`name=value`, or `name` alone")] = "",
    text: Annotated[
        str, Query(max_length=_LONGEST, description="part of a run id, a tag or a pipeline's name")
    ] = "",
    pinned: bool | None = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
    after: Annotated[str, Query(max_length=2_000, description="of the page before")] = "",
) -> Runs:
    """The runs of all pipelines that the user may read, the one that started last in front."""
    name, _, value = parameter.partition("=")
    query = RunQuery(
        pipelines=frozenset(pipeline),
        status=status,
        tag=tag,
        since=since,
        until=until,
        parameter=(name, value) if name else None,
        text=text,
        is_pinned=pinned,
        limit=limit,
        after=_place(after),
    )

    def answer(read: Readable) -> Runs:
        page = read.runs(query)
        return Runs.of(page, _cursor(page.after), dict(read.failed))

    return await _of_all(user, answer)


@router.get("/runs/{dag_id}/{run_id}", dependencies=READS_RUN)
async def run(dag_id: str, run_id: str, user: User) -> Run:
    """One run, as the list shows it."""

    def answer(read: Readable) -> Run:
        return Run.of(read.wanted(dag_id, run_id)[1])

    return await _of_all(user, answer)


@router.get(
    "/runs/{dag_id}/{run_id}/log",
    dependencies=READS_RUN,
    response_class=Response,
    responses={200: {"model": RunLog}},
)
async def run_log(dag_id: str, run_id: str, run: _Wanted = "") -> Response:
    """The run log of a run in full, of one that goes on as it is now."""
    text = await _of_run(dag_id, run_id, run, lambda found: found.document().to_json())
    return Response(text, media_type="application/json")


@router.get("/runs/{dag_id}/{run_id}/steps", dependencies=READS_RUN)
async def steps(
    dag_id: str,
    run_id: str,
    run: _Wanted = "",
    status: Literal["", Status] = "",
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 200,
) -> Steps:
    """The steps of a run, with those of its branches."""

    def answer(found: FoundRun) -> Steps:
        there = [one for one in all_steps(found.document().steps) if status in ("", one[0].status)]
        return Steps(steps=[Step.of(*one) for one in there[offset : offset + limit]], total=len(there))

    return await _of_run(dag_id, run_id, run, answer)


@router.get("/runs/{dag_id}/{run_id}/files", dependencies=READS_RUN)
async def files_of_run(dag_id: str, run_id: str, run: _Wanted = "") -> Files:
    """The files that the steps of a run read and made, of one that goes on as far as it has come."""

    def answer(found: FoundRun) -> Files:
        header, store = found.header, found.services.run_log
        graphs = found.reading(lambda: store.graphs(header.run_id)) if header.use_cached else None
        return Files(
            files=[FileUsed.of(use, dag_id) for use in facts_of(header, found.document(), graphs).uses]
        )

    return await _of_run(dag_id, run_id, run, answer)


@router.get("/runs/{dag_id}/{run_id}/diff/{other_run_id}", dependencies=READS_RUN)
async def diff(
    dag_id: str,
    run_id: str,
    other_run_id: str,
    user: User,
    other_dag_id: _Text = "",
    run: _Wanted = "",
    other_run: _Wanted = "",
) -> dict[str, Any]:
    """Where two runs part, and what differs of each step: as `magnus runlog diff --json`.

    The other run may be of another DAG.
    """

    def answer() -> dict[str, Any]:
        other = other_dag_id or dag_id
        if not may_read_runs_of(user, other):
            raise PageError(403, "You may not do this", f"You may not read the runs of the DAG {other}.")
        a, b = find_run(dag_id, run_id, run), find_run(other, other_run_id, other_run)
        return compare(a.document(), b.document(), (a.header, b.header)).to_plain()

    return await in_time(answer)


@router.get("/runs/{dag_id}/{run_id}/plan", dependencies=READS_RUN)
async def plan(dag_id: str, run_id: str, run: _Wanted = "") -> Plan:
    """What a re-run of a failed run would do; nothing is started."""
    found = await in_time(functools.partial(look, dag_id, run_id, run))
    return Plan(
        dag_id=dag_id,
        run_id=found.run_id,
        steps=[PlannedStep(**vars(decision)) for decision in found.plan.decisions],
        warnings=list(found.plan.warnings),
        conf=dict(found.conf),
        has_changed=found.has_changed,
        going_on=list(found.going_on),
    )


@router.get("/files")
async def files(
    user: User,
    q: Annotated[
        str, Query(min_length=1, max_length=_LONGEST, description="beginning of a sha256, or part of a name")
    ],
    limit: Annotated[int, Query(ge=1, le=1_000)] = 200,
) -> Files:
    """The files of all runs with a digest or a name, and which steps read or made them; the last run in front."""

    def answer(read: Readable) -> Files:
        page = read.find_files(q, limit)
        dags = read.dags_of(use.run_id for use in page.uses)
        return Files(files=[FileUsed.of(use, dags[use.run_id]) for use in page.uses], is_cut=page.is_cut)

    return await _of_all(user, answer)


@router.get("/provenance/{sha256}")
async def provenance(
    user: User,
    sha256: _Digest,
    dag_id: _Text = "",
    run_id: _Text = "",
    name: _Text = "",
    depth: Annotated[int, Query(ge=1, le=20)] = DEPTH,
) -> Origin:
    """Which run, step, attempt, code and parameters made a content, from which inputs, and what has read it since.

    `dag_id`, `run_id` and `name` say which file is meant, where several have the same bytes.
    """

    def answer(read: Readable) -> Origin:
        found = read.provenance(sha256.lower(), dag_id=dag_id, run_id=run_id, name=name, depth=depth)
        if found is None:
            raise PageError(404, "There is no such file", "No run that you may read has made or read it.")
        uses = [*found.makers, *found.readers]
        return Origin.of(
            found, read.dags_of([*(u.run_id for u in uses), *(s.run.run_id for s in found.steps.values())])
        )

    return await _of_all(user, answer)


async def _of_all(user: Any, answer: Callable[[Readable], T]) -> T:
    """What ``answer`` makes of all that a user may read."""
    return await in_time(lambda: answer(readable(user)))


async def _of_run(dag_id: str, run_id: str, wanted: str, answer: Callable[[FoundRun], T]) -> T:
    """What ``answer`` makes of one run, after the user's right on its DAG was checked."""
    return await in_time(lambda: answer(find_run(dag_id, run_id, wanted)))


def _cursor(place: tuple[str, str] | None) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode() if place else ""


def _place(cursor: str) -> tuple[str, str] | None:
    try:
        start, run_id = json.loads(base64.urlsafe_b64decode(cursor.encode())) if cursor else ("", "")
        return (str(start), str(run_id)) if cursor else None
    except ValueError as error:
        raise PageError(
            400, "This page is not known", "Give `after` as the page before has said it."
        ) from error
