"""The pages of provenance: the search for files and runs, and where one file comes from."""

from __future__ import annotations

import functools
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from airflow_magnus.runlog.index_view import is_digest
from airflow_magnus.runlog.provenance import DEPTH
from airflow_magnus.ui.access import READS_RUN, User
from airflow_magnus.ui.file_links import file_path
from airflow_magnus.ui.files_page import Digest
from airflow_magnus.ui.provenance import DEEPEST, look_at_provenance, search
from airflow_magnus.ui.responses import in_time, page, run_path

router = APIRouter(prefix="/provenance", default_response_class=HTMLResponse)
_LONGEST_TEXT = 300


@router.get("")
async def show_search(request: Request, user: User, q: str = "") -> Response:
    """Show the search, and what it has found.

    :param q: the beginning of a digest, or part of a file's name, of a run id or of a tag.
    """
    text = q.strip()[:_LONGEST_TEXT]
    found = await in_time(functools.partial(search, user, text)) if text else None
    return page(request, "search.html", text=text, found=found, is_digest=is_digest(text))


@router.get("/{dag_id}/{run_id}/{name:path}", dependencies=READS_RUN)
async def show_provenance(
    request: Request,
    dag_id: str,
    run_id: str,
    name: str,
    user: User,
    digest: Digest = "",
    depth: Annotated[int, Query(ge=1, le=DEEPEST)] = DEPTH,
) -> Response:
    """Show where a file of a run comes from, and who has read it.

    :param name: of the file in the catalog.
    :param digest: sha256 hex; "": of what the run has left under this name.
    :param depth: steps above one another.
    """
    look = await in_time(functools.partial(look_at_provenance, user, dag_id, run_id, name, digest, depth))
    file = look.found.file
    root = request.scope.get("root_path", "")
    return page(
        request,
        "provenance.html",
        look=look,
        file=file,
        view=root + file_path(dag_id, run_id, name, file.sha256) if "://" not in name else "",
        dag_id=dag_id,
        run_id=run_id,
        depth=depth,
        deeper=min(2 * depth, DEEPEST),
        run_path=run_path(dag_id, run_id),
    )
