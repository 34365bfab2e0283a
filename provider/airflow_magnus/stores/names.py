"""Names of files in the catalog: which files a put takes, where a get writes, and nothing outside the data folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from airflow_magnus.errors import CatalogError
from airflow_magnus.stores.globs import files_below, matches

VERSIONS = ".versions"
"""Folder of a run that holds what has no place at its plain key."""


def first_key(run_id: str, name: str) -> str:
    """Where the bytes are kept that a plain key held first, before it was settled."""
    return f"{run_id}/{VERSIONS}/first/{name}"


def files_to_put(folder: Path, patterns: Sequence[str], warnings: list[str]) -> dict[str, Path]:
    """Files below the folder by name; links that lead out of it are left out with a warning."""
    present = dict(files_below(folder))
    inside = folder.resolve()
    chosen: dict[str, Path] = {}
    for pattern in patterns:
        found = [name for name in present if matches(pattern, name)]
        if not found:
            warnings.append(f"catalog put: {pattern!r} matches no file in {folder}")
        for name in found:
            if present[name].resolve().is_relative_to(inside):
                chosen[checked(name)] = present[name]
            else:
                warnings.append(f"catalog put: {name!r} is a link that leads out of {folder}: not stored")
    return chosen


def checked(name: str) -> str:
    """A name that is safe as a key below the run's folder."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or "\0" in name or ".." in parts or parts[0] == VERSIONS:
        raise CatalogError(
            f"{name!r} cannot be the name of a file in the catalog: it may not be absolute, hold '..' "
            f"or begin with {VERSIONS!r}"
        )
    return name


def place_to_write(folder: Path, name: str) -> Path:
    """Where an entry is written; its folder is made.

    :raises CatalogError: when that is outside the compute data folder.
    """
    target = folder / checked(name)
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise CatalogError(
            f"catalog get: {name!r} would be written to {target.parent.resolve()}, outside {folder}: remove the link"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CatalogError(f"catalog get: no folder can be made for {name!r}: {error}") from error
    return target
