"""Where the files of a run lie: the page behind the button *Catalog folder*. Browsers follow no link to ``s3://…``."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from airflow_magnus.ui.access import READS_RUN
from airflow_magnus.ui.found_runs import FoundRun, find_run
from airflow_magnus.ui.responses import in_time, page

router = APIRouter(prefix="/catalog", default_response_class=HTMLResponse)


@router.get("/{dag_id}/{run_id}", dependencies=READS_RUN)
async def show_folder(request: Request, dag_id: str, run_id: str) -> Response:
    """Show the place of the run's folder, or go to where ``[magnus] catalog_url`` shows it."""
    found = await in_time(lambda: find_run(dag_id, run_id))
    location = found.services.catalog.location.rstrip("/")
    folder = f"{location}/{found.header.run_id}/" if location else ""
    if url := console_url(folder):
        return RedirectResponse(url, 303)
    files = await in_time(lambda: _files(found)) if folder else []
    return page(
        request,
        "catalog.html",
        dag_id=dag_id,
        run_id=run_id,
        folder=folder,
        files=files,
        has_bucket="://" in folder,
    )


def _files(found: FoundRun) -> list[str]:
    """Names of the files that the run has put or taken over."""
    return sorted({use.name for use in found.facts(found.document()).uses if use.direction != "get"})


def console_url(folder: str) -> str:
    """Where a bucket's browser shows a folder; "" when it lies in no bucket, or there is no such browser."""
    from airflow.providers.common.compat.sdk import conf

    template = str(conf.get("magnus", "catalog_url", fallback=""))
    parts = urlsplit(folder)
    if not template or parts.scheme in ("", "file"):
        return ""
    bucket, prefix = quote(parts.netloc, safe=""), quote(folder.split("://", 1)[1].partition("/")[2], safe="")
    return template.format(bucket=bucket, prefix=prefix)
