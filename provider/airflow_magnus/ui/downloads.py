"""Files as they are sent to browsers: saved, or shown by an ``img`` element, and never live."""

from __future__ import annotations

import re
from itertools import chain
from urllib.parse import quote

from fastapi.responses import RedirectResponse, Response, StreamingResponse

from airflow_magnus.errors import CatalogError, DigestMismatchError, MagnusError
from airflow_magnus.hooks.services import catalog_access
from airflow_magnus.stores.presigned import allows_presigned, presigned_url
from airflow_magnus.stores.reading import StoredFile
from airflow_magnus.ui.files import FileOfRun, find_file
from airflow_magnus.ui.previews.image import LARGEST, image_type
from airflow_magnus.ui.previews.sample import sample_of
from airflow_magnus.ui.responses import PageError

_NOT_LIVE = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def download(dag_id: str, run_id: str, name: str, digest: str, asked_range: str = "") -> Response:
    """The file to be saved: from the bucket itself where the connection lets browsers fetch it there, else passed on.

    :param asked_range: the request's header ``Range``; more than one range is not heeded.
    :raises PageError: as of :func:`find_file`, and when its bytes cannot be had.
    """
    file = find_file(dag_id, run_id, name, digest)
    stored = file.stored()
    access = catalog_access(file.run.description.sources)
    if allows_presigned(access.settings):
        try:
            url = presigned_url(access.settings, access.session, stored.key, disposition(name))
        except MagnusError as error:
            raise PageError(503, "This file cannot be fetched", f"{error}.") from error
        return RedirectResponse(url, 303)
    return _passed_on(file, stored, asked_range)


def image(dag_id: str, run_id: str, name: str, digest: str) -> Response:
    """A picture for an ``img`` element; opened by itself it is saved.

    :raises PageError: when the file is no picture, or too large for one that is shown.
    """
    file = find_file(dag_id, run_id, name, digest)
    stored = file.stored()
    kind = image_type(sample_of(stored)) if stored.size <= LARGEST else ""
    if not kind:
        raise PageError(415, "This is no picture that can be shown", "Download it instead.")
    return _sent(file, stored, kind, 0, stored.size)


def disposition(name: str) -> str:
    """The header that makes a browser save a file, under the last part of its name."""
    last = name.rpartition("/")[2]
    plain = re.sub(r"[^A-Za-z0-9_. +=@-]", "_", last) or "file"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(last, safe='')}"


def _passed_on(file: FileOfRun, stored: StoredFile, asked_range: str) -> Response:
    wanted = _range(asked_range, stored.size)
    if wanted is None:
        return _sent(file, stored, "application/octet-stream", 0, stored.size)
    start, end = wanted
    if start >= end:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{stored.size}"})
    response = _sent(file, stored, "application/octet-stream", start, end)
    response.status_code = 206
    response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{stored.size}"
    return response


def _sent(file: FileOfRun, stored: StoredFile, kind: str, start: int, end: int) -> Response:
    """A stream: memory does not grow with the file. The first bytes are asked for before the answer begins."""
    chunks = stored.chunks(start, end)
    try:
        first = next(chunks, b"")
    except DigestMismatchError as error:
        raise PageError(
            409,
            "Somebody has changed this file",
            f"{error}, so it is not sent as that file. What is there now can be fetched with the tools of the store.",
        ) from error
    except CatalogError as error:
        raise PageError(503, "This file cannot be read", f"{error}.") from error
    headers = {
        "Content-Length": str(end - start),
        "Content-Disposition": disposition(file.name),
        "Content-Security-Policy": _NOT_LIVE,
        "Accept-Ranges": "bytes",
        "ETag": f'"{file.digest}"',
    }
    return StreamingResponse(chain([first], chunks), media_type=kind, headers=headers)


def _range(asked: str, size: int) -> tuple[int, int] | None:
    """First byte, and the one behind the last; None when no range is asked for, or in another way."""
    found = _RANGE.fullmatch(asked.strip())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        return max(0, size - int(found[2])), size
    start = int(found[1])
    return start, min(size, int(found[2]) + 1) if found[2] else size
