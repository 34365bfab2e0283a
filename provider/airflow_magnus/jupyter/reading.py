"""What Jupyter reads of the contents: whether something is there, files, notebooks and folders."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from tornado.web import HTTPError

from airflow_magnus.jupyter import notebooks
from airflow_magnus.jupyter.base import ContentsBase
from airflow_magnus.jupyter.bucket import Fact
from airflow_magnus.jupyter.errors import told_of
from airflow_magnus.jupyter.models import Model, file_model, folder_model, with_content
from airflow_magnus.jupyter.paths import checked, is_hidden, joined, name_of
from airflow_magnus.jupyter.settings import ETAG
from airflow_magnus.jupyter.tree import Entry, Look

if TYPE_CHECKING:
    pass

_INLINE = 64 * 1024
_AT_A_TIME = 200
"""Models that are made before other requests have their turn."""


class ReadContents(ContentsBase):
    """The reading half of the contents manager."""

    def info_string(self) -> str:
        """What the server says of the contents when it starts."""
        return f"Serving notebooks from s3://{self.aws_s3_bucket}/{self.prefix} at {self.endpoint}"

    def get_kernel_path(self, path: str, model: Model | None = None) -> str:
        """Where kernels run: the bucket is no folder of this machine."""
        return ""

    async def is_hidden(self, path: str) -> bool:
        """Whether a part of the path begins with a dot."""
        return is_hidden(checked(path))

    async def file_exists(self, path: str = "") -> bool:
        """Whether a file is there. Cost: 1 LIST; none while it is uploaded."""
        path = checked(path)
        if self.is_of_runs(path):
            return await self._runs_kind(path) == "file"
        if self.uploads_go_on(path):
            return True
        return bool(path) and (await self._look(path)).fact is not None

    async def dir_exists(self, path: str) -> bool:
        """Whether a folder is there. Cost: 1 LIST."""
        path = checked(path)
        if self.is_of_runs(path):
            return await self._runs_kind(path) == "directory"
        return (await self._look(path)).is_folder

    async def exists(self, path: str) -> bool:
        """Whether anything is there. Cost: 1 LIST."""
        path = checked(path)
        if self.is_of_runs(path):
            return bool(await self._runs_kind(path))
        return (await self._look(path)).is_there

    def uploads_go_on(self, path: str) -> bool:
        """Whether a file is just being uploaded."""
        return False

    async def get(
        self,
        path: str,
        content: bool = True,
        type: str | None = None,
        format: str | None = None,
        require_hash: bool = False,
    ) -> Model:
        """The model of a file, notebook or folder.

        Cost: 1 GET of a file; 1 LIST of a folder for each 1,000 names, 1 more when its name has no dot.
        """
        path = checked(path)
        if not self.allow_hidden and is_hidden(path):
            raise HTTPError(404, f"No such file or directory: {path}")
        with told_of(path):
            if self.is_of_runs(path):
                model = await self._of_runs(path, bool(content), type, format, require_hash)
            elif content:
                model = await self._with_content(path, type, format, require_hash)
            else:
                model = await self._without_content(path, type, require_hash)
        self.emit(data={"action": "get", "path": path})
        return model

    # folders

    async def _folder(self, path: str) -> Model | None:
        """A folder with what is in it; None when there is none."""
        found: list[Model] = []
        async for entries in self.tree.entries(path):
            if entries is None:
                return None
            for start in range(0, len(entries), _AT_A_TIME):
                found += [
                    self._entry_model(path, entry)
                    for entry in entries[start : start + _AT_A_TIME]
                    if self._is_listed(entry.name)
                ]
                await asyncio.sleep(0)
        if self.run_log and not path:
            found = [model for model in found if model["name"] != self.runs_folder]
            found.append(folder_model(self.runs_folder, is_writable=False))
        return folder_model(path) | {"content": found, "format": "json"}

    def _entry_model(self, folder: str, entry: Entry) -> Model:
        path = joined(folder, entry.name)
        if entry.fact is None:
            return folder_model(path)
        return file_model(path, entry.fact.modified, entry.fact.size)

    def _is_listed(self, name: str) -> bool:
        return (self.allow_hidden or not name.startswith(".")) and bool(self.should_list(name))

    # files

    async def _with_content(
        self, path: str, type: str | None, format: str | None, require_hash: bool
    ) -> Model:
        if not path and type not in (None, "directory"):
            raise _bad_type(f"the root is a directory, not a {type}")
        if type == "directory" or not path:
            return await self._folder_alone(path) or await self._missing(path, type)
        if type is None and "." not in name_of(path):
            look = await self._look(path)
            if look.is_folder:
                return await self._folder(path) or folder_model(path)
        got = await self.tree.bucket.get(self.tree.keys.file(path))
        if got is None:
            found = await self._folder(path) if type is None else None
            return found or await self._missing(path, type)
        return await self._file(path, got[0], got[1], type, format, require_hash)

    async def _folder_alone(self, path: str) -> Model | None:
        """A folder with what is in it; None where a file has the name."""
        found = await self._folder(path)
        if found is not None and path and not found["content"] and (await self._look(path)).fact is not None:
            return None  # what lies below are its checkpoints
        return found

    async def _missing(self, path: str, type: str | None) -> Model:
        """Refuse a path where what was asked for is not."""
        look = await self._look(path)
        if look.is_folder:
            raise _bad_type(f"{path} is a directory, not a {type}")
        if look.fact is not None:
            raise _bad_type(f"{path} is not a directory")
        raise HTTPError(404, f"No such file or directory: {path}")

    async def _file(
        self, path: str, fact: Fact, data: bytes, type: str | None, format: str | None, require_hash: bool
    ) -> Model:
        model = file_model(path, fact.modified, fact.size, kind=type or "")
        if model["type"] == "notebook":
            notebook, faults = await asyncio.to_thread(notebooks.read, data, path)
            self.mark_trusted_cells(notebook, path)
            model |= {"content": notebook, "format": "json"}
            self.validate_notebook_model(model, faults)
        elif len(data) <= _INLINE:
            model = with_content(model, data, format)
        else:
            model = await asyncio.to_thread(with_content, model, data, format)
        self.remember(path, fact.etag)
        return model | (await self._hash(fact, data) if require_hash else {})

    async def _without_content(self, path: str, type: str | None, require_hash: bool) -> Model:
        look = await self._look(path)
        if look.fact is None:
            if not look.is_folder:
                raise HTTPError(404, f"No such file or directory: {path}")
            if type not in (None, "directory"):
                raise _bad_type(f"{path} is a directory, not a {type}")
            return folder_model(path)
        if type == "directory":
            raise _bad_type(f"{path} is not a directory")
        model = file_model(path, look.fact.modified, look.fact.size, kind=type or "")
        return model | (await self._hash_of(path, look.fact) if require_hash else {})

    async def _hash_of(self, path: str, fact: Fact) -> Model:
        if self.hash_algorithm == ETAG:
            return await self._hash(fact, b"")
        got = await self.tree.bucket.get(self.tree.keys.file(path))
        return await self._hash(*got) if got else {}

    async def _hash(self, fact: Fact, data: bytes) -> Model:
        """What tells one content of a file from another."""
        name = self.hash_algorithm
        found = fact.etag
        if name != ETAG:
            found = await asyncio.to_thread(lambda: hashlib.new(name, data).hexdigest())
        return {"hash": found, "hash_algorithm": name}

    async def _look(self, path: str) -> Look:
        with told_of(path):
            return await self.tree.look(path)

    # the folder of runs

    async def _of_runs(
        self, path: str, content: bool, type: str | None, format: str | None, require_hash: bool
    ) -> Model:
        assert self.runs is not None
        fact = await self.runs.fact(path)
        if fact is None:
            found = await self.runs.entries(path)
            if found is None:
                raise HTTPError(404, f"No such file or directory: {path}")
            if type not in (None, "directory"):
                raise _bad_type(f"{path} is a directory, not a {type}")
            inside = [self._entry_model(path, entry) | {"writable": False} for entry in found]
            model = folder_model(path) | ({"content": inside, "format": "json"} if content else {})
        elif type == "directory":
            raise _bad_type(f"{path} is not a directory")
        elif content:
            model = await self._file(path, fact, await self.runs.read(path), type, format, require_hash)
        else:
            model = file_model(path, fact.modified, fact.size, kind=type or "")
            model |= {"hash": fact.etag, "hash_algorithm": "sha256"} if require_hash else {}
        return model | {"writable": False}

    async def _runs_kind(self, path: str) -> str:
        """What is at a path of the folder of runs: ``file``, ``directory`` or nothing."""
        assert self.runs is not None
        with told_of(path):
            if await self.runs.fact(path) is not None:
                return "file"
            return "" if await self.runs.entries(path) is None else "directory"


def _bad_type(text: str) -> HTTPError:
    return HTTPError(400, text, reason="bad type")
