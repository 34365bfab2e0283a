"""The folder of a run in the catalog as a whole: what lies there, and its removal. Nothing outside it is ever touched."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from airflow_magnus.errors import StoreError
from airflow_magnus.runlog.layout import is_run_id
from airflow_magnus.stores.objects import explain

_AT_ONCE = 1_000
"""Keys of one request for removal; S3 takes no more."""


class RunFolders(Protocol):
    """The folders of runs, one for each run id."""

    location: str

    def sizes(self, run_id: str) -> Mapping[str, int]:
        """Key (below the catalog's location) to bytes of all that lies in a run's folder.

        :raises StoreError: when it cannot be listed, or the id is not fit to name a folder.
        """

    def remove(self, run_id: str, keys: Sequence[str], ended: Callable[[int], None]) -> None:
        """Remove these keys of a run's folder; those that are gone already are passed over.

        :param ended: told how many more are gone.
        :raises ValueError: for a key outside the folder; nothing is removed then.
        :raises StoreError: when one cannot be removed.
        """


def run_folders(store: Any, location: str) -> RunFolders:
    """The folders of runs in an obstore store."""
    from obstore.store import LocalStore

    if isinstance(store, LocalStore) and store.prefix is not None:
        return LocalFolders(Path(store.prefix), location)
    return ObjectFolders(store, location)


class ObjectFolders:
    """In an object store."""

    def __init__(self, store: Any, location: str) -> None:
        self._store = store
        self.location = location

    def sizes(self, run_id: str) -> Mapping[str, int]:
        """Cost: 1 request for each 1,000 objects."""
        import obstore

        _check_id(run_id)
        found: dict[str, int] = {}
        try:
            for metas in obstore.list(self._store, prefix=run_id):
                found.update({meta["path"]: meta["size"] for meta in metas})
        except FileNotFoundError:
            return {}
        except Exception as error:
            raise StoreError(f"cannot list {self.location}/{run_id}: {explain(error, '')}") from error
        return {key: size for key, size in found.items() if key.startswith(f"{run_id}/")}

    def remove(self, run_id: str, keys: Sequence[str], ended: Callable[[int], None]) -> None:
        """Cost: 1 request for each 1,000 objects, and 1 LIST."""
        _check_keys(run_id, keys)
        for start in range(0, len(keys), _AT_ONCE):
            some = list(keys[start : start + _AT_ONCE])
            try:
                self._delete(some)
            except Exception as error:
                raise StoreError(
                    f"cannot remove files of {self.location}/{run_id}: {explain(error, '')}"
                ) from error
            ended(len(some))
        # The markers of folders that other tools make have a slash at their end, which no key here can have.
        left = [key for key, size in self.sizes(run_id).items() if size and key in set(keys)]
        if left:
            raise StoreError(
                f"{len(left)} files of {self.location}/{run_id} are there after their removal, such as {left[0]}"
            )

    def _delete(self, keys: list[str]) -> None:
        import obstore

        try:
            obstore.delete(self._store, keys)
        except FileNotFoundError:  # S3 does not mind; folders and memory stop at the first that is gone
            for key in keys:
                with suppress(FileNotFoundError):
                    obstore.delete(self._store, key)


class LocalFolders:
    """In a folder of this machine. Links are removed, never followed: what they lead to lies elsewhere."""

    def __init__(self, folder: Path, location: str) -> None:
        self._folder = folder.resolve()
        self.location = location

    def sizes(self, run_id: str) -> Mapping[str, int]:
        """Also of what a put that was killed has left."""
        found: dict[str, int] = {}
        for folder, folders, names in os.walk(self._top(run_id), onerror=self._fail):
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            for name in [*names, *links]:
                path = Path(folder, name)
                with suppress(FileNotFoundError):
                    found[path.relative_to(self._folder).as_posix()] = path.lstat().st_size
        return found

    def remove(self, run_id: str, keys: Sequence[str], ended: Callable[[int], None]) -> None:
        """And the folders that are empty then."""
        _check_keys(run_id, keys)
        top = self._top(run_id)
        try:
            for key in keys:
                (self._folder / key).unlink(missing_ok=True)
                ended(1)
        except OSError as error:
            raise StoreError(
                f"cannot remove {error.filename}: {error.strerror or error}; see who may write there"
            ) from error
        for folder, _, _ in os.walk(top, topdown=False):
            with suppress(OSError):  # something has come meanwhile
                os.rmdir(folder)

    def _top(self, run_id: str) -> Path:
        _check_id(run_id)
        top = self._folder / run_id
        if top.is_symlink():
            raise StoreError(
                f"{top} is a link to {os.readlink(top)}, outside the catalog: move the files of the run back, "
                "or remove them and the link by hand"
            )
        return top

    def _fail(self, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise StoreError(f"cannot list {error.filename}: {error.strerror or error}") from error


def _check_id(run_id: str) -> None:
    if not is_run_id(run_id):
        raise StoreError(f"{run_id!a} cannot be the name of a run's folder in the catalog: it is left alone")


def _check_keys(run_id: str, keys: Sequence[str]) -> None:
    _check_id(run_id)
    for key in keys:
        if not key.startswith(f"{run_id}/") or {"", ".", ".."} & set(key.split("/")):
            raise ValueError(f"{key!a} does not lie in the folder of run {run_id!r}")
