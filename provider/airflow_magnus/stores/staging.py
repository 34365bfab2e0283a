"""What an attempt has written beside the catalog, and how it becomes entries of it.

It lies at ``<run id>/.versions/<attempt>.staging/`` until the attempt succeeds: then each object is copied, inside the
store, to the attempt's own folder, from which nobody but the record of the step names it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

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


def staged_attempts(store: Any, run_id: str) -> list[str]:
    """The attempts of a run that have a staging, of whatever content. Cost: 1 LIST."""
    import obstore

    try:
        found = obstore.list_with_delimiter(store, prefix=f"{run_id}/{VERSIONS}/")["common_prefixes"]
    except FileNotFoundError:
        return []
    names = [prefix.rstrip("/").rpartition("/")[2] for prefix in found]
    return sorted(name.removesuffix(_END) for name in names if name.endswith(_END))


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
    :param folder: among those of the run's attempts, for the files; "": the attempt's own.
    :raises CatalogError: for a name that no entry can have, before anything is copied; when the store refuses.
    """
    chosen = [
        item for item in staged if not (item.name.endswith("/") and item.size == 0)
    ]  # markers of folders
    for item in chosen:
        _check(item.name)

    def one(item: Staged) -> CatalogEntry:
        before = known.get(item.name)
        if before is not None and item.digest and (before.data_hash, before.size) == (item.digest, item.size):
            return before.model_copy(update={"stage": "put"})
        target = f"{run_id}/{VERSIONS}/{folder or attempt_id}/{item.name}"
        try:
            _bring(client, f"{staging_of(run_id, attempt_id)}/{item.below}", target)
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

    return in_parallel(one, chosen, client.pace)


def publish(client: ObjectClient, source: str, target: str, names: Mapping[str, str]) -> None:
    """Bring what was staged to where it is to be, over what is there. Cost: 1 copy inside the store for each object.

    :param source: of the staging; ``target``: of where it goes; both below the store, "" or with a slash at the end.
    :param names: name → key below the staging.
    :raises CatalogError: when the store refuses; some may have been brought then.
    """

    def one(item: tuple[str, str]) -> None:
        name, below = item
        try:
            _bring(client, f"{source}{below}", f"{target}{name}")
        except Exception as error:
            raise CatalogError(
                f"out: {name!r} cannot be stored at {target}{name}: {explain(error, '')}"
            ) from error

    in_parallel(one, names.items(), client.pace)


def _check(name: str) -> None:
    if {"", ".", ".."} & set(name.split("/")) or not name.isprintable():
        raise CatalogError(
            f"{name!a} in the bucket out cannot be the name of a file in the catalog: between its slashes stand names,"
            " without control characters"
        )
    checked(name)


def _bring(client: ObjectClient, source: str, target: str) -> None:
    from obstore.store import LocalStore

    if isinstance(client.store, LocalStore):
        client.run(lambda store: store.rename(source, target, overwrite=True))
    else:
        copy(client, source, target)
