"""What an attempt has written beside the catalog, and how it becomes entries of it.

It lies at ``<run id>/.versions/<attempt>.staging/`` until the attempt succeeds: then each object is copied, inside the
store, to the attempt's own folder, from which nobody but the record of the step names it. A mark says that there is one,
so that what a kill or a power cut leaves is found by whoever comes next.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from airflow_magnus.errors import CatalogError
from airflow_magnus.runlog.records import CatalogEntry
from airflow_magnus.stores.client import ObjectClient
from airflow_magnus.stores.copies import copy
from airflow_magnus.stores.downloads import digest_of
from airflow_magnus.stores.names import VERSIONS, checked
from airflow_magnus.stores.objects import explain
from airflow_magnus.stores.parallel import in_parallel

log = logging.getLogger(__name__)

_END = ".staging"
_FAILED = ".failed"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MARKS = ".staged"
"""Beside the folders of runs: what may be left of attempts that were killed, of whatever run."""


@dataclass(frozen=True)
class Staged:
    """One object in a staging.

    :param name: that it gets in the catalog.
    :param below: its key below the staging.
    :param size: bytes.
    :param digest: sha256 hex; "" when it is not known yet.
    """

    name: str
    below: str
    size: int
    digest: str = ""


def staging_of(run_id: str, attempt_id: str) -> str:
    """Where an attempt writes, below the catalog's location; without a slash at its end."""
    return f"{run_id}/{VERSIONS}/{attempt_id}{_END}"


def kept_of(attempt_id: str) -> str:
    """The folder, among those of a run's attempts, where the files of a failed one are kept on request."""
    return f"{attempt_id}{_FAILED}"


def mark(client: ObjectClient, run_id: str, attempt_id: str) -> None:
    """Say that an attempt has a staging, before it has; :func:`unmark` takes that back. Cost: 1 request."""
    client.run(lambda store: store.put(_mark(run_id, attempt_id), b""))


def unmark(client: ObjectClient, run_id: str, attempt_id: str) -> None:
    """Say that the staging of an attempt is gone. Cost: 1 request."""
    with suppress(FileNotFoundError):
        client.run(lambda store: store.delete(_mark(run_id, attempt_id)))


def marked(client: ObjectClient) -> list[tuple[str, str]]:
    """Run and attempt of all that may have a staging. Cost: 1 LIST for each 1,000 of them."""

    def listed(store: Any) -> list[str]:
        import obstore

        try:
            return [item["path"] for page in obstore.list(store, prefix=f"{_MARKS}/") for item in page]
        except FileNotFoundError:
            return []

    names = [path.rpartition("/")[2] for path in client.run(listed)]
    parts = [name.rpartition(".") for name in names]
    return sorted((run_id, attempt_id) for run_id, _, attempt_id in parts if run_id)


def _mark(run_id: str, attempt_id: str) -> str:
    return f"{_MARKS}/{run_id}.{attempt_id}"


def take_in(
    client: ObjectClient,
    location: str,
    run_id: str,
    attempt_id: str,
    staged: Iterable[Staged],
    known: Mapping[str, CatalogEntry],
    folder: str = "",
) -> list[CatalogEntry]:
    """Make entries of what is staged. The staging stays: it is dropped when the record is written.

    Cost: 1 copy inside the store for each object; those without a digest are read. In a folder files are moved.

    :param known: what is committed in this run already: the same name and digest is not copied again.
    :param folder: among those of the run's attempts, for the files, which get names that fit then; "": the attempt's own.
    :raises CatalogError: for a name that no entry can have, before anything is copied; when the store refuses.
    """
    chosen = [
        item for item in staged if not (item.name.endswith("/") and item.size == 0)
    ]  # markers of folders
    if folder:
        chosen = _with_names_that_fit(chosen)
    for item in chosen:
        _check(item.name)
    if _is_folder(client):
        _check_together([item.name for item in chosen])
    brought: list[tuple[str, str]] = []

    def one(item: Staged) -> CatalogEntry:
        before = known.get(item.name)
        if before is not None and item.digest and (before.data_hash, before.size) == (item.digest, item.size):
            return before.model_copy(update={"stage": "put"})
        target = f"{run_id}/{VERSIONS}/{folder or attempt_id}/{item.name}"
        try:
            source = f"{staging_of(run_id, attempt_id)}/{item.below}"
            _bring(client, source, target)
            brought.append((source, target))
            digest = item.digest or client.run(lambda store: digest_of(store, target))
        except Exception as error:
            raise CatalogError(
                f"catalog put: {item.name!r} cannot be stored at {location}/{target}: {explain(error, '')}"
            ) from error
        return CatalogEntry(
            name=item.name,
            data_hash=digest,
            catalog_relative_path=target,
            catalog_handler_location=location,
            stage="put",
            size=item.size,
        )

    try:
        return in_parallel(one, chosen, client.pace)
    except BaseException:
        in_parallel(lambda pair: _take_back(client, *pair), brought, client.pace)
        raise


def publish(client: ObjectClient, source: str, target: str, names: Mapping[str, str]) -> None:
    """Bring what was staged to where it is to be, over what is there. Cost: 1 copy inside the store for each object.

    :param source: of the staging; ``target``: of where it goes; both below the store, "" or with a slash at the end.
    :param names: name → key below the staging.
    :raises CatalogError: for a name that no file can have, before anything is brought; when the store refuses, and some may
        have been brought then.
    """

    def one(item: tuple[str, str]) -> None:
        name, below = item
        try:
            _bring(client, f"{source}{below}", f"{target}{name}")
        except Exception as error:
            raise CatalogError(
                f"out: {name!r} cannot be stored at {target}{name}: {explain(error, '')}"
            ) from error

    for name in names:
        _check(name)
    in_parallel(one, names.items(), client.pace)


def _check(name: str) -> None:
    if {"", ".", ".."} & set(name.split("/")) or _CONTROL.search(name):
        raise CatalogError(
            f"{name!a} in the bucket out cannot be the name of a file in the catalog: between its slashes stand names,"
            " without control characters"
        )
    checked(name)


def _check_together(names: Iterable[str]) -> None:
    """On a disk no name is both a file and a folder."""
    known = set(names)
    for name in known:
        for end in [i for i, char in enumerate(name) if char == "/"]:
            if name[:end] in known:
                raise CatalogError(
                    f"{name[:end]!r} and {name!r} lie in the bucket out, and in a folder one name cannot be a file and a folder:"
                    " give one of them another name"
                )


def _with_names_that_fit(staged: Iterable[Staged]) -> list[Staged]:
    """What a failed attempt has written under whatever keys: to be looked at."""
    found: list[Staged] = []
    names: set[str] = set()
    folders: set[str] = set()
    for number, item in enumerate(staged):
        above = {item.name[:end] for end, char in enumerate(item.name) if char == "/"}
        try:
            _check(item.name)
            fits = item.name not in folders and not above & names
        except CatalogError:
            fits = False
        if fits:
            names.add(item.name)
            folders |= above
        else:
            item = replace(item, name=f"{number}~{quote(item.name, safe='')}"[:200])
        found.append(item)
    return found


def _take_back(client: ObjectClient, source: str, target: str) -> None:
    with suppress(Exception):
        if _is_folder(client):
            client.run(lambda store: store.rename(target, source, overwrite=True))
        else:
            client.run(lambda store: store.delete(target))


def _bring(client: ObjectClient, source: str, target: str) -> None:
    if _is_folder(client):
        client.run(lambda store: store.rename(source, target, overwrite=True))
    else:
        copy(client, source, target)


def _is_folder(client: ObjectClient) -> bool:
    from obstore.store import LocalStore

    return isinstance(client.store, LocalStore)
