"""The page of one file of a run, and the file itself."""

from __future__ import annotations

import functools
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import HTMLResponse, Response

from airflow_magnus.ui.access import READS_RUN
from airflow_magnus.ui.downloads import download, image
from airflow_magnus.ui.file_links import file_path, provenance_path
from airflow_magnus.ui.files import FileLook, look_at_file
from airflow_magnus.ui.responses import in_time, page, run_path

router = APIRouter(prefix="/files", default_response_class=HTMLResponse)
_POLICY = (
    # Pictures inside a notebook are part of the page.
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
Digest = Annotated[str, Query(pattern="^([0-9a-f]{64})?$")]


@router.get("/{dag_id}/{run_id}/{name:path}", dependencies=READS_RUN)
async def show_file(
    request: Request,
    dag_id: str,
    run_id: str,
    name: str,
    digest: Digest = "",
    wanted: Annotated[Literal["", "download", "image"], Query(alias="as")] = "",
    range: Annotated[str, Header()] = "",
) -> Response:
    """Show a file of a run, or send it.

    :param name: of the file in the catalog.
    :param digest: sha256 hex; "": what the run has left under this name.
    :param wanted: the file itself, to be saved or as a picture.
    """
    if wanted == "download":
        return await in_time(functools.partial(download, dag_id, run_id, name, digest, range))
    if wanted == "image":
        return await in_time(functools.partial(image, dag_id, run_id, name, digest))
    look = await in_time(functools.partial(look_at_file, dag_id, run_id, name, digest))
    return _shown(request, look)


def _shown(request: Request, look: FileLook) -> Response:
    file, root = look.file, request.scope.get("root_path", "")
    dag_id, run_id = file.run.dag.dag_id, file.run.run_id
    address = functools.partial(file_path, dag_id, run_id, file.name)
    shown = page(
        request,
        "file.html",
        look=look,
        file=file,
        entry=file.held.entry,
        preview=look.preview,
        image=root + address(file.digest, "image"),
        download=root + address(file.digest, "download"),
        provenance=root + provenance_path(dag_id, run_id, file.name, file.digest),
        others=[(one, root + address(one.entry.data_hash)) for one in file.others],
        run_path=run_path(dag_id, run_id),
    )
    shown.headers["Content-Security-Policy"] = _POLICY
    return shown
