"""Files as a browser downloads and shows them: passed on while they arrive from the store, whole or in ranges.

Jupyter's own handler reads a file whole into memory first, and knows no ranges, which films and sound need.
"""

from __future__ import annotations

import mimetypes
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.files.handlers import FilesHandler
from tornado import web

from airflow_magnus.gateway.upstream import Answer
from airflow_magnus.jupyter.errors import told_of
from airflow_magnus.jupyter.paths import checked, is_hidden, name_of

_CONDITIONS = ("Range", "If-None-Match", "If-Range")
_PASSED = ("Content-Length", "Content-Range", "ETag", "Last-Modified")
_PLAIN = "application/octet-stream"


class S3FilesHandler(FilesHandler):
    """``/files/…`` of :class:`S3ContentsManager`."""

    @web.authenticated
    @authorized  # type: ignore[untyped-decorator]
    async def get(self, path: str, include_body: bool = True) -> None:
        """Pass a file on. Cost: 1 GET; no more of it is in memory than a few blocks."""
        manager: Any = self.contents_manager
        path = checked(path)
        if manager.is_of_runs(path):  # these are read whole, to compare their digest
            await super().get(path, include_body)
            return
        self.check_xsrf_cookie()
        if not path or (is_hidden(path) and not manager.allow_hidden):
            raise web.HTTPError(404)
        headers = {name: self.request.headers[name] for name in _CONDITIONS if name in self.request.headers}
        with told_of(path):
            async with manager.connection.stream(manager.tree.keys.file(path), headers) as answer:
                if answer.status not in (200, 206, 304, 416):
                    raise web.HTTPError(404 if answer.status == 404 else 502)
                self._begin(path, answer)
                if include_body and answer.status in (200, 206):
                    await self._pass_on(answer)

    def _begin(self, path: str, answer: Answer) -> None:
        self.set_status(answer.status)
        for name in _PASSED:
            if name in answer.headers and answer.status in (200, 206):
                self.set_header(name, answer.headers[name])
        self.set_header("Accept-Ranges", "bytes")
        self.set_header("Content-Type", _media_type(path, answer))
        if self.get_argument("download", None):
            self.set_attachment_header(name_of(path))

    async def _pass_on(self, answer: Answer) -> None:
        async for block in answer.blocks():
            self.write(block)
            await self.flush()  # waits for a browser that is slower than the store


def _media_type(path: str, answer: Answer) -> str:
    """What a browser is told: by the name, as Jupyter does, else what the store says."""
    if path.lower().endswith(".ipynb"):
        return "application/x-ipynb+json"
    kind, encoding = mimetypes.guess_type(path)
    if encoding is not None:
        return "application/gzip" if encoding == "gzip" else _PLAIN
    if kind is None:
        return str(answer.headers.get("Content-Type", _PLAIN))
    return f"{kind}; charset=UTF-8" if kind == "text/plain" else kind
