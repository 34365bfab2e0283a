"""Names of files in the catalog: which files a put takes, where a get writes, and nothing outside the data folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from airflow_magnus.errors import CatalogError
from airflow_magnus.runlog.records import printable
from airflow_magnus.stores.globs import files_below, matches

VERSIONS = ".versions"
"""Folder of a run that holds what has no place at its plain key."""


def first_key(run_id: str, name: str) -> str:
    """Where the bytes are kept that a plain key held first, before it was settled."""
    return f"{run_id}/{VERSIONS}/first/{name}"


def files_to_put(folder: Path, patterns: Sequence[str], warnings: list[str]) -> dict[str, Path]:
    """Files below the folder by name, in the order of the patterns; memory grows with what matches alone.

    Links that lead out of the folder are left out with a warning.

    :raises CatalogError: when a pattern matches what can be no file of a catalog, or a folder cannot be read.
    """
    found: list[list[str]] = [[] for _ in patterns]
    inside = folder.resolve()
    left_out = set()
    try:
        for name, entry in files_below(folder, patterns):
            matching = [
                names for names, pattern in zip(found, patterns, strict=True) if matches(pattern, name)
            ]
            if matching and not entry.is_file():
                mode = os.stat(entry.path, follow_symlinks=os.path.exists(entry.path)).st_mode
                raise CatalogError(
                    f"catalog put: {printable(entry.path)} cannot be stored: it is no file but a {kind_of(mode)}; "
                    "remove it, or let the pattern leave it out"
                )
            if matching and entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(inside):
                left_out.add(name)
            for names in matching:
                names.append(name)
    except CatalogError:
        raise
    except OSError as error:
        raise CatalogError(
            f"catalog put: {printable(str(error.filename))} cannot be read: {error.strerror or error}"
        ) from error
    chosen: dict[str, Path] = {}
    for pattern, names in zip(patterns, found, strict=True):
        if not names:
            warnings.append(f"catalog put: {pattern!r} matches no file in {folder}")
        for name in sorted(names):
            if name in left_out:
                warnings.append(f"catalog put: {name!r} is a link that leads out of {folder}: not stored")
            else:
                chosen[checked(name)] = folder / name
    return chosen


def kind_of(mode: int) -> str:
    """What a file is that is no regular one."""
    kinds = {
        stat.S_IFDIR: "folder",
        stat.S_IFIFO: "named pipe",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "device",
        stat.S_IFBLK: "device",
        stat.S_IFLNK: "link to nothing",
    }
    return kinds.get(stat.S_IFMT(mode), "special file")


def checked(name: str) -> str:
    """A name that is safe as a key below the run's folder."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or name.startswith("/") or "\0" in name or ".." in parts or parts[0] == VERSIONS:
        raise CatalogError(
            f"{name!r} cannot be the name of a file in the catalog: it may not be absolute, hold '..' "
            f"or begin with {VERSIONS!r}"
        )
    return name


class Places:
    """Where entries are written: below the compute data folder; the folders that they need are made.

    :param folder: the compute data folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._inside = folder.resolve()
        self.folders: dict[str, str] = {}
        """Folders of files so far: as they are called in the catalog, and as paths."""

    def of(self, name: str) -> str:
        """The path of one file.

        :raises CatalogError: when that is outside the compute data folder, or no folder can be made for it.
        """
        parent, _, last = checked(name).rpartition("/")
        if parent not in self.folders:
            self.folders[parent] = str(self._made(name, self._folder / parent))
        return f"{self.folders[parent]}/{last}"

    def _made(self, name: str, folder: Path) -> Path:
        if not folder.resolve().is_relative_to(self._inside):
            raise CatalogError(
                f"catalog get: {name!r} would be written to {folder.resolve()}, outside {self._folder}: "
                "remove the link"
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CatalogError(f"catalog get: no folder can be made for {name!r}: {error}") from error
        return folder
