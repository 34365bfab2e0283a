"""Files and folders over the keys of a bucket.

A folder is there as soon as a key lies below it; one that Jupyter makes is an object of no bytes whose key ends in ``/``.
Where a file and keys below it have one name, the name is the file's: so lie the checkpoints of a file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from airflow_magnus.jupyter import multipart
from airflow_magnus.jupyter.bucket import Bucket, Fact
from airflow_magnus.jupyter.folders import Listed, copy_keys, delete_prefix, move_prefix
from airflow_magnus.jupyter.paths import Keys, parent_of

CHECKPOINTS = ".checkpoints"
_FEW = 32
"""Keys that a look asks for: names that begin alike may stand between a file and what is below it."""


@dataclass(frozen=True)
class Look:
    """What is at a path.

    :param fact: of the file; None when there is none.
    :param has_below: whether keys lie below it.
    """

    fact: Fact | None
    has_below: bool

    @property
    def is_folder(self) -> bool:
        """Whether a folder is there, and no file."""
        return self.fact is None and self.has_below

    @property
    def is_there(self) -> bool:
        """Whether anything is."""
        return self.fact is not None or self.has_below


@dataclass(frozen=True)
class Entry:
    """One thing in a folder; ``fact`` is None of a folder."""

    name: str
    fact: Fact | None


class Tree:
    """What lies below a prefix of a bucket.

    :param largest: as of :func:`multipart.copy`.
    """

    def __init__(self, bucket: Bucket, keys: Keys, largest: int) -> None:
        self.bucket, self.keys, self.largest = bucket, keys, largest

    async def look(self, path: str) -> Look:
        """What is at a path. Cost: 1 LIST; 2 where many names begin alike."""
        if not path:
            return Look(None, True)
        key, below = self.keys.file(path), self.keys.folder(path)
        page = await self.bucket.first_page(key, delimiter="/", most=_FEW)
        fact = next((fact for name, fact in page.objects if name == key), None)
        has_below = below in page.folders
        if not has_below and not page.is_last:
            has_below = await self._has_key(below)
        return Look(fact, has_below)

    async def has_checkpoints_alone(self, path: str) -> bool:
        """Whether what lies below a path is what a file left that others have removed. Cost: 1 LIST."""
        below = self.keys.folder(path)
        page = await self.bucket.first_page(below, delimiter="/", most=2)
        return not page.objects and list(page.folders) == [f"{below}{CHECKPOINTS}/"]

    async def entries(self, path: str) -> AsyncIterator[list[Entry] | None]:
        """Give what is in a folder, in pages; None first of all when no key lies there. Cost: 1 LIST for each 1,000."""
        prefix, files, is_first = self.keys.folder(path), set[str](), True
        async for page in self.bucket.pages(prefix, delimiter="/"):
            if is_first and path and not page.objects and not page.folders:
                yield None
                return
            is_first = False
            found = [Entry(key.removeprefix(prefix), fact) for key, fact in page.objects]
            files.update(entry.name for entry in found)
            names = (folder.removeprefix(prefix)[:-1] for folder in page.folders)
            found += [Entry(name, None) for name in names if name not in files]
            yield [entry for entry in found if entry.name not in ("", ".", "..")]

    async def names(self, folder: str, beginning: str) -> set[str]:
        """The names in a folder that begin so. Cost: 1 LIST for each 1,000."""
        prefix = self.keys.folder(folder)
        found: set[str] = set()
        async for page in self.bucket.pages(prefix + beginning, delimiter="/"):
            found.update(key.removeprefix(prefix) for key, _ in page.objects)
            found.update(key.removeprefix(prefix)[:-1] for key in page.folders)
        return found

    async def below(self, path: str) -> Listed:
        """All objects of a folder, its marker too. Cost: 1 LIST for each 1,000."""
        return await self.bucket.all(self.keys.folder(path))

    async def write(self, path: str, content: bytes, kind: str, conditions: Mapping[str, str]) -> str:
        """Write a file; gives its ETag."""
        return await self.bucket.put(self.keys.file(path), content, kind=kind, conditions=conditions)

    async def make_folder(self, path: str) -> None:
        """Let a folder be there, whatever lies in it."""
        await self.bucket.put(self.keys.folder(path), b"", kind="application/x-directory")

    async def copy_file(self, old: str, new: str, fact: Fact) -> None:
        """Copy a file inside the store."""
        await multipart.copy(self.bucket, self.keys.file(old), self.keys.file(new), fact, self.largest)

    async def copy_folder(self, old: str, new: str, found: Listed) -> None:
        """Copy what was found in a folder inside the store, without checkpoints."""
        chosen = [(key, fact) for key, fact in found if f"/{CHECKPOINTS}/" not in key]
        await copy_keys(self.bucket, chosen, self.keys.folder(old), self.keys.folder(new), self.largest)
        if self.keys.folder(old) not in dict(chosen):
            await self.make_folder(new)

    async def move_file(self, old: str, new: str, fact: Fact) -> None:
        """Move a file inside the store."""
        await self.copy_file(old, new, fact)
        await self.bucket.delete([self.keys.file(old)])

    async def move_folder(self, old: str, new: str) -> None:
        """Move a folder inside the store."""
        await move_prefix(self.bucket, self.keys.folder(old), self.keys.folder(new), self.largest)

    async def delete(self, path: str, look: Look) -> None:
        """Remove a file, or a folder with all that lies in it."""
        if look.is_folder:
            await delete_prefix(self.bucket, self.keys.folder(path))
        else:
            await self.bucket.delete([self.keys.file(path)])

    async def keep_parent(self, path: str) -> None:
        """Let a folder outlive what was last in it. Cost: 1 LIST, and 1 PUT when it is empty now."""
        folder = parent_of(path)
        if folder and not await self._has_key(self.keys.folder(folder)):
            await self.make_folder(folder)

    async def _has_key(self, prefix: str) -> bool:
        return bool((await self.bucket.first_page(prefix, most=1)).objects)


def conflicts(old: str, new: str) -> bool:
    """Whether a folder would be moved or copied into itself."""
    return new == old or new.startswith(f"{old}/")
