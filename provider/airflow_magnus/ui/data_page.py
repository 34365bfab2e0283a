"""The tab *Data* of a task: what it has read and written."""

from __future__ import annotations

import functools

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from airflow_magnus.ui.access import READS_RUN
from airflow_magnus.ui.file_links import file_path, provenance_path, search_path
from airflow_magnus.ui.paging import Pager
from airflow_magnus.ui.responses import in_time, page, run_path
from airflow_magnus.ui.task_data import FileRow, TaskData, look_at_task

router = APIRouter(prefix="/data", default_response_class=HTMLResponse)
_ON_A_PAGE = 200


@router.get("/{dag_id}/{run_id}/{task_id}/{map_index}", dependencies=READS_RUN)
async def show_data(
    request: Request,
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: str,
    attempt: int | None = None,
    page: int = 1,
) -> Response:
    """Show the files of a task.

    :param map_index: Airflow's UI leaves the placeholder of its link as it is for a task that is not mapped.
    :param attempt: number of the attempt; None: the last.
    """
    index = int(map_index) if map_index.isdecimal() else -1
    data = await in_time(functools.partial(look_at_task, dag_id, run_id, task_id, index, attempt))
    return _shown(request, data, page, attempt)


def _shown(request: Request, data: TaskData, number: int, attempt: int | None) -> Response:
    root = request.scope.get("root_path", "")
    dag_id, run_id = data.run.dag.dag_id, data.run.run_id
    pager = Pager(len(data.rows), _ON_A_PAGE, number, {"attempt": "" if attempt is None else str(attempt)})
    shown = data.rows[pager.part]

    def links(row: FileRow) -> tuple[str, str]:
        if row.before == "gone":
            return "", root + search_path(row.digest)
        return (
            root + file_path(dag_id, run_id, row.name, row.digest),
            root + provenance_path(dag_id, run_id, row.name, row.digest),
        )

    return page(
        request,
        "data.html",
        data=data,
        read=[(row, *links(row)) for row in shown if row.direction == "get"],
        written=[(row, *links(row)) for row in shown if row.direction != "get"],
        previous=data.previous and (data.previous.airflow_run_id or data.previous.run_id),
        pager=pager,
        run_path=run_path(dag_id, run_id),
    )
