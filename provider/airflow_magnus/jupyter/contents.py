"""Jupyter's contents in a bucket of S3: the contents manager that a configuration names."""

from __future__ import annotations

import itertools

from jupyter_server.services.contents.manager import copy_pat
from tornado.web import HTTPError
from traitlets import default

from airflow_magnus.jupyter.checkpoints import S3Checkpoints
from airflow_magnus.jupyter.errors import told_of
from airflow_magnus.jupyter.files import S3FilesHandler
from airflow_magnus.jupyter.models import Model
from airflow_magnus.jupyter.paths import checked, is_hidden, joined, name_of, parent_of
from airflow_magnus.jupyter.tree import Look, conflicts
from airflow_magnus.jupyter.writing import WrittenContents

_MB = 1024**2


class S3ContentsManager(WrittenContents):
    """Notebooks, checkpoints and any other files in a bucket of S3."""

    @default("checkpoints_class")
    def _default_checkpoints_class(self) -> type[S3Checkpoints]:
        return S3Checkpoints

    @default("files_handler_class")
    def _default_files_handler_class(self) -> type[S3FilesHandler]:
        return S3FilesHandler

    @default("files_handler_params")
    def _default_files_handler_params(self) -> dict[str, str]:
        return {"path": ""}  # that handler's base wants a folder, and is never asked for what is in it

    async def delete(self, path: str) -> None:
        """Remove a file with its checkpoints, or a folder; the folder that it was in stays. Cost: 2 LIST more."""
        await super().delete(path)
        with told_of(path):
            await self.tree.keep_parent(checked(path))

    async def rename(self, old_path: str, new_path: str) -> None:
        """Rename a file with its checkpoints, or a folder; the folder that it was in stays. Cost: 2 LIST more."""
        await super().rename(old_path, new_path)
        with told_of(old_path):
            await self.tree.keep_parent(checked(old_path))

    async def delete_file(self, path: str) -> None:
        """Remove a file, or a folder with all that lies in it. Cost: 1 LIST, 1 for each 1,000 objects of a folder, and 1 request for each 1,000 objects."""
        path = self._changeable(path, "delete")
        with told_of(path):
            look = await self._there(path)
            await self.tree.delete(path, look)
        self.forget(path)

    async def rename_file(self, old_path: str, new_path: str) -> None:
        """Rename a file or folder by copies inside the store. Cost: 4 LIST, a copy of each object, 1 removal for 1,000."""
        old_path, new_path = self._changeable(old_path, "rename"), self._changeable(new_path, "rename")
        if new_path == old_path:
            return
        with told_of(old_path):
            look = await self._there(old_path)
            await self._refuse_taken(new_path)
            if conflicts(old_path, new_path):
                raise HTTPError(400, f"{old_path} cannot be moved into itself")
            if look.fact is not None:
                await self.tree.move_file(old_path, new_path, look.fact)
            else:
                await self.tree.move_folder(old_path, new_path)
        self.forget(old_path)
        self.forget(new_path)

    async def copy(self, from_path: str, to_path: str | None = None) -> Model:
        """Copy a file or folder inside the store; gives the model of the copy.

        :param to_path: a folder that the copy is made in; a new path; None: the folder that it lies in.
        """
        source = checked(from_path)
        if self.is_of_runs(source):
            return dict(await super().copy(from_path, to_path))  # it may lie in another store
        if not self.allow_hidden and is_hidden(source):
            raise HTTPError(404, f"No such file or directory: {source}")
        with told_of(source):
            look = await self._there(source)
            target = self._changeable(await self._target_of_copy(source, to_path, look), "copy")
            if look.fact is not None:
                await self.tree.copy_file(source, target, look.fact)
            else:
                await self._copy_folder(source, target)
        self.forget(target)
        self.emit(data={"action": "copy", "path": target, "source_path": source})
        return await self.get(target, content=False)

    async def increment_filename(self, filename: str, path: str = "", insert: str = "") -> str:
        """A name that nothing in a folder has. Cost: 1 LIST for each 1,000 names that begin like it."""
        basename, dot, extension = filename.rpartition(".")
        if extension != "ipynb":
            basename, dot, extension = filename.partition(".")
        with told_of(path):
            taken = await self.tree.names(self.own(path), basename)
        if not checked(path) and self.run_log:
            taken.add(self.runs_folder)
        names = (f"{basename}{insert}{n}{dot}{extension}" if n else filename for n in itertools.count())
        return next(name for name in names if name not in taken)

    async def _copy_folder(self, source: str, target: str) -> None:
        if conflicts(source, target):
            raise HTTPError(400, f"{source} cannot be copied into itself")
        found = await self.tree.below(source)
        size = sum(fact.size for _, fact in found)
        if self.max_copy_folder_size_mb and size > self.max_copy_folder_size_mb * _MB:
            raise HTTPError(
                400,
                f"Can't copy folders larger than {self.max_copy_folder_size_mb} MB: {source!r} has {size / _MB:.0f} MB."
                " The setting max_copy_folder_size_mb allows more",
            )
        await self.tree.copy_folder(source, target, found)

    async def _target_of_copy(self, source: str, to_path: str | None, look: Look) -> str:
        """The path of a copy, as Jupyter's own manager of files chooses it."""
        name = copy_pat.sub(".", name_of(source))
        folder = self.own(to_path if to_path is not None else parent_of(source))
        there = await self.tree.look(folder)
        if there.is_folder:
            return joined(folder, await self.increment_filename(name, folder, insert="-Copy"))
        if look.fact is None:
            return joined(folder, name)
        if to_path is None or not (await self.tree.look(parent_of(folder))).is_folder:
            raise HTTPError(404, f"No such directory: {parent_of(folder) or folder}")
        return folder

    def _changeable(self, path: str, what: str) -> str:
        """A path that may be changed.

        :raises HTTPError: when it is the root, hidden, or of the folder of runs.
        """
        path = self.own(path)
        if not path or (not self.allow_hidden and is_hidden(path)):
            raise HTTPError(400, f"Cannot {what} file or directory {path!r}")
        return path

    async def _there(self, path: str) -> Look:
        """What is at a path.

        :raises HTTPError: 404, when there is nothing.
        """
        look = await self.tree.look(path)
        if not look.is_there:
            raise HTTPError(404, f"File or directory does not exist: {path}")
        return look

    async def _refuse_taken(self, path: str) -> None:
        if (await self.tree.look(path)).is_there:
            raise HTTPError(409, f"File already exists: {path}")


class JupyterS3(S3ContentsManager):
    """The same, under the name that configurations of seed 002 have for it: ``c.JupyterS3``."""
