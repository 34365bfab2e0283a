"""Checkpoints beside their files, in the bucket: ``<file>/.checkpoints/<id>``, made and restored by copies in the store."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jupyter_server.services.contents.checkpoints import AsyncCheckpoints
from tornado.web import HTTPError
from traitlets import Enum, Int

from airflow_magnus.jupyter import multipart
from airflow_magnus.jupyter.bucket import Fact
from airflow_magnus.jupyter.errors import told_of
from airflow_magnus.jupyter.folders import delete_prefix, move_prefix
from airflow_magnus.jupyter.paths import checked, joined, name_of, parent_of
from airflow_magnus.jupyter.probe import takes_keys_below_objects
from airflow_magnus.jupyter.tree import CHECKPOINTS, Tree

if TYPE_CHECKING:
    from airflow_magnus.jupyter.contents import S3ContentsManager

BELOW, BESIDE = "below", "beside"


class S3Checkpoints(AsyncCheckpoints):
    """Checkpoints of the files of :class:`S3ContentsManager`, the oldest first."""

    parent: S3ContentsManager

    max_checkpoints = Int(
        10, min=1, config=True, help="How many checkpoints a file has; older ones are removed"
    )
    layout = Enum(
        ["auto", BELOW, BESIDE],
        "auto",
        config=True,
        help="below: <file>/.checkpoints/<id>; beside: <folder>/.checkpoints/<file>/<id>, for stores that refuse keys"
        " below the key of an object; auto: below, unless the store refuses it",
    )

    _found_layout = ""

    @property
    def _tree(self) -> Tree:
        return self.parent.tree

    async def create_checkpoint(self, contents_mgr: Any, path: str) -> dict[str, Any]:
        """Keep a file as it is now. Cost: 1 copy, 1 LIST; the first time some more, see :func:`probe`."""
        path = self.parent.own(path)
        with told_of(path):
            look = await self._tree.look(path)
            if look.fact is None:
                raise HTTPError(404, f"There is no file {path!r} to keep a checkpoint of")
            return await self.keep(path, look.fact)

    async def keep(self, path: str, fact: Fact) -> dict[str, Any]:
        """Keep a file that is known to be there."""
        number = f"{datetime.now(UTC):%Y%m%dT%H%M%S-%f}-{uuid.uuid4().hex[:4]}"
        prefix = await self._prefix(path)
        await self._copy(self._tree.keys.file(path), prefix + number, fact)
        kept = await self._tree.bucket.all(prefix)
        await self._tree.bucket.delete([key for key, _ in kept[: -self.max_checkpoints]])
        modified = dict(kept)[prefix + number].modified
        return {"id": number, "last_modified": modified}

    async def has_some_beside(self, path: str) -> bool:
        """Whether a file below which no key lies has checkpoints: where they lie beside it. Cost: 1 LIST, or none."""
        if await self._layout() == BELOW:
            return False
        return bool((await self._tree.bucket.first_page(await self._prefix(path), most=1)).objects)

    async def restore_checkpoint(self, contents_mgr: Any, checkpoint_id: str, path: str) -> None:
        """Let a file be as it was. Cost: 1 LIST, 1 copy."""
        path = self.parent.own(path)
        with told_of(path):
            key, fact = await self._known(checkpoint_id, path)
            await self._copy(key, self._tree.keys.file(path), fact)
        self.parent.forget(path)

    async def rename_checkpoint(self, checkpoint_id: str, old_path: str, new_path: str) -> None:
        """Let one checkpoint be of another file."""
        old_path, new_path = self.parent.own(old_path), self.parent.own(new_path)
        with told_of(old_path):
            key, fact = await self._known(checkpoint_id, old_path)
            await self._copy(key, await self._prefix(new_path) + checkpoint_id, fact)
            await self._tree.bucket.delete([key])

    async def delete_checkpoint(self, checkpoint_id: str, path: str) -> None:
        """Remove one checkpoint."""
        path = self.parent.own(path)
        with told_of(path):
            key, _ = await self._known(checkpoint_id, path)
            await self._tree.bucket.delete([key])

    async def list_checkpoints(self, path: str) -> list[dict[str, Any]]:
        """The checkpoints of a file, the oldest first. Cost: 1 LIST."""
        path = checked(path)
        if self.parent.is_of_runs(path):
            return []
        with told_of(path):
            prefix = await self._prefix(path)
            found = await self._tree.bucket.all(prefix)
        return [{"id": key.removeprefix(prefix), "last_modified": fact.modified} for key, fact in found]

    async def rename_all_checkpoints(self, old_path: str, new_path: str) -> None:
        """Let all checkpoints be of another file; those in a folder move with it. Cost: 1 LIST, and a copy each."""
        old_path, new_path = self.parent.own(old_path), self.parent.own(new_path)
        with told_of(old_path):
            old, new = await self._prefix(old_path), await self._prefix(new_path)
            await move_prefix(self._tree.bucket, old, new, self._tree.largest)

    async def delete_all_checkpoints(self, path: str) -> None:
        """Remove all checkpoints of a file. Cost: 1 LIST, and 1 request when there are any."""
        path = self.parent.own(path)
        with told_of(path):
            await delete_prefix(self._tree.bucket, await self._prefix(path))

    async def _copy(self, source: str, target: str, fact: Fact) -> None:
        await multipart.copy(self._tree.bucket, source, target, fact, self._tree.largest)

    async def _known(self, checkpoint_id: str, path: str) -> tuple[str, Fact]:
        """The key of a checkpoint, and what the store says of it.

        :raises HTTPError: 404, when there is none of this id.
        """
        prefix = await self._prefix(path)
        found = dict(await self._tree.bucket.all(prefix))
        if prefix + checkpoint_id not in found:
            raise HTTPError(404, f"{path!r} has no checkpoint {checkpoint_id!r}")
        return prefix + checkpoint_id, found[prefix + checkpoint_id]

    async def _prefix(self, path: str) -> str:
        """What the keys of a file's checkpoints begin with."""
        if await self._layout() == BELOW:
            return f"{self._tree.keys.folder(path)}{CHECKPOINTS}/"
        folder = joined(parent_of(path), CHECKPOINTS)
        return self._tree.keys.folder(joined(folder, name_of(path)))

    async def _layout(self) -> str:
        if not self._found_layout:
            if self.layout != "auto":
                self._found_layout = self.layout
            elif self.parent.is_aws or await takes_keys_below_objects(
                self._tree.bucket, self._tree.keys.prefix
            ):
                self._found_layout = BELOW
            else:
                self._found_layout = BESIDE
                self.log.warning(
                    "the store refuses keys below objects: checkpoints lie at <folder>/%s/<file>/",
                    CHECKPOINTS,
                )
        return self._found_layout
