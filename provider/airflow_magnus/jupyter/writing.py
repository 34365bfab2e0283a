"""What Jupyter saves: notebooks, files whole and in chunks, folders."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from tornado.web import HTTPError

from airflow_magnus.gateway.faults import S3Error
from airflow_magnus.jupyter import notebooks
from airflow_magnus.jupyter.bucket import Fact
from airflow_magnus.jupyter.checkpoints import S3Checkpoints
from airflow_magnus.jupyter.errors import told_of
from airflow_magnus.jupyter.models import Model, content_of, file_model, folder_model
from airflow_magnus.jupyter.paths import is_hidden
from airflow_magnus.jupyter.reading import ReadContents
from airflow_magnus.jupyter.uploads import LAST, Uploads

_CHANGED = (
    "{path} has changed in the store since it was opened here; nothing was saved."
    " Reload it from the store, or save it under another name"
)
_NOTEBOOK = "application/x-ipynb+json"
_INLINE = 64 * 1024


class WrittenContents(ReadContents):
    """The reading and saving parts of the contents manager."""

    @cached_property
    def _uploads(self) -> Uploads:
        return Uploads(self.tree.bucket)

    def uploads_go_on(self, path: str) -> bool:
        """Whether a file is just being uploaded."""
        return self._uploads.goes_on(self.tree.keys.file(path))

    async def save(self, model: Model, path: str = "") -> Model:
        """Save a file, notebook or folder; gives its model without content.

        Cost: 1 PUT and 1 LIST; 1 LIST more for a file that was not opened here, 2 more for the first checkpoint.
        """
        path = self.own(path)
        chunk = model.get("chunk")
        if chunk in (None, 1):
            self.run_pre_save_hooks(model=model, path=path)
        _check(model)
        if not path:
            raise HTTPError(400, "The root cannot be saved")
        if not self.allow_hidden and is_hidden(path):
            raise HTTPError(400, f"Cannot create file or directory {path!r}")
        try:
            with told_of(path):
                saved = await self._save(model, path, chunk)
        except HTTPError:
            raise
        except Exception as error:
            self.log.exception("Error while saving file: %s %s", path, error)
            raise HTTPError(500, f"Unexpected error while saving file: {path} {error}") from error
        if chunk in (None, LAST):
            self.run_post_save_hooks(model=saved, os_path=path)
        self.emit(data={"action": "save", "path": path})
        return saved

    async def _save(self, model: Model, path: str, chunk: int | None) -> Model:
        if chunk is not None:
            return await self._save_chunk(model, path, chunk)
        if model["type"] == "directory":
            return await self._save_folder(path)
        if model["type"] == "notebook":
            return await self._save_notebook(model, path)
        return await self._save_file(path, await self._content_of(model), "file")

    async def _save_folder(self, path: str) -> Model:
        look = await self.tree.look(path)
        if look.fact is not None:
            raise HTTPError(400, f"Not a directory: {path}")
        if not look.is_folder:
            await self.tree.make_folder(path)
        return folder_model(path)

    async def _save_notebook(self, model: Model, path: str) -> Model:
        notebook, content, faults = await asyncio.to_thread(notebooks.written, model["content"])
        self.check_and_sign(notebook, path)
        saved = await self._save_file(path, content, "notebook")
        self.validate_notebook_model(model, faults)
        if model.get("message"):
            saved["message"] = model["message"]
        return saved

    async def _save_file(self, path: str, content: bytes, kind: str) -> Model:
        conditions = await self._conditions(path)
        media = _NOTEBOOK if kind == "notebook" else _media_type(path)
        try:
            etag = await self.tree.write(path, content, media, conditions)
        except S3Error as error:
            raise self._told_of_change(error, path) from error
        return await self._saved(path, kind, etag)

    async def _saved(self, path: str, kind: str, etag: str = "") -> Model:
        """The model of a file that was just written. A notebook has one checkpoint from the beginning.

        :param etag: of what was written, where the store has told: others may have written since.
        """
        look = await self.tree.look(path)
        if look.fact is None:
            raise HTTPError(409, f"{path} was removed by others while it was saved")
        self.remember(path, etag or look.fact.etag)
        if kind == "notebook":
            await self._have_checkpoint(path, look.fact, has_below=look.has_below)
        return file_model(path, look.fact.modified, look.fact.size, kind=kind)

    async def _have_checkpoint(self, path: str, fact: Fact, *, has_below: bool) -> None:
        checkpoints = self.checkpoints
        if not isinstance(checkpoints, S3Checkpoints):
            if not await checkpoints.list_checkpoints(path):
                await checkpoints.create_checkpoint(self, path)
        elif not has_below and not await checkpoints.has_some_beside(path):
            await checkpoints.keep(path, fact)

    async def _conditions(self, path: str) -> Mapping[str, str]:
        """The headers of a write that is to hit nothing else than what was opened here.

        :raises HTTPError: 400, when a folder is there.
        """
        etag = self._etags.get(path)
        if etag is None:
            look = await self.tree.look(path)
            if look.is_folder and not await self.tree.has_checkpoints_alone(path):
                raise HTTPError(400, f"{path} is a directory: a file cannot be saved in its place")
            etag = look.fact.etag if look.fact is not None else None
        if not self.conditional_saves:
            return {}
        return {"If-None-Match": "*"} if etag is None else {"If-Match": f'"{etag}"'}

    def _told_of_change(self, error: S3Error, path: str) -> Exception:
        if self.conditional_saves and error.status in (404, 409, 412):  # 404: what was opened is gone
            return HTTPError(409, _CHANGED.format(path=path))
        return error

    # chunks

    async def _save_chunk(self, model: Model, path: str, chunk: int) -> Model:
        key, content = self.tree.keys.file(path), await self._content_of(model)
        conditions = await self._conditions(path) if chunk in (1, LAST) else {}
        try:
            size = await self._uploads.take(key, chunk, content, _media_type(path), conditions)
        except S3Error as error:
            raise self._told_of_change(error, path) from error
        if size is None:
            return await self._saved(path, "file")
        return file_model(path, datetime.now(UTC).replace(microsecond=0), size, kind="file")

    async def _content_of(self, model: Model) -> bytes:
        if len(model["content"] or "") <= _INLINE:
            return content_of(model)
        return await asyncio.to_thread(content_of, model)


def _check(model: Mapping[str, Any]) -> None:
    if "type" not in model:
        raise HTTPError(400, "No file type provided")
    if model.get("chunk") is not None and model["type"] != "file":
        raise HTTPError(400, f'File type "{model["type"]}" is not supported for large file transfer')
    if model["type"] not in ("directory", "file", "notebook"):
        raise HTTPError(400, f"Unhandled contents type: {model['type']}")
    if "content" not in model and model["type"] != "directory":
        raise HTTPError(400, "No file content provided")


def _media_type(path: str) -> str:
    return mimetypes.guess_type(path)[0] or ""
