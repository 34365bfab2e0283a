"""Bring the folder of a run that has ended to its final files, by copies inside the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from airflow_magnus.errors import StoreError
from airflow_magnus.runlog.records import CatalogEntry
from airflow_magnus.stores.client import ObjectClient
from airflow_magnus.stores.copies import copy
from airflow_magnus.stores.names import first_key
from airflow_magnus.stores.parallel import in_parallel
from airflow_magnus.stores.uploads import SINGLE_REQUEST


def settle(
    client: ObjectClient,
    location: str,
    run_id: str,
    entries: Iterable[CatalogEntry],
    *,
    is_conditional: bool,
) -> None:
    """Bring the plain keys up to the entries that count.

    Anyone who looks at the run's folder then sees its final files. What a plain key held first is kept, as a
    committed record names it there: a task that is cleared later still gets it. May be done again at any time.
    Cost: 1 LIST; 2 requests for each file that was put more than once or is large, 2 more the first time.
    """
    kept = keys_below(client, location, first_key(run_id, ""))
    moves: dict[str, str] = {}
    for entry in entries:
        plain, first = f"{run_id}/{entry.name}", first_key(run_id, entry.name)
        if entry.catalog_relative_path != plain:
            moves[plain] = entry.catalog_relative_path
        elif first in kept:
            moves[plain] = first
    changing = {plain: first_key(run_id, plain.partition("/")[2]) for plain in moves}
    in_parallel(
        lambda change: _keep(client, location, *change, is_conditional=is_conditional),
        [(p, first) for p, first in changing.items() if first not in kept],
        client.pace,
    )
    copy_all(client, location, moves)


def copy_all(client: ObjectClient, location: str, sources: Mapping[str, str]) -> None:
    """Copy objects inside the store: new key → key. Cost: 1 request each, no byte passes through here."""

    def one(move: tuple[str, str]) -> None:
        try:
            copy(client, move[1], move[0])
        except Exception as error:
            raise StoreError(f"cannot copy {move[1]} to {move[0]} in {location}: {error}") from error

    in_parallel(one, sources.items(), client.pace)


def keys_below(client: ObjectClient, location: str, prefix: str) -> set[str]:
    """All keys below a prefix. Cost: 1 request for each 1,000."""
    import obstore

    def listed(store: object) -> set[str]:
        return {meta["path"] for batch in obstore.list(store, prefix=prefix) for meta in batch}

    try:
        return client.run(listed)
    except Exception as error:
        raise StoreError(f"cannot list {location}/{prefix}: {error}") from error


def _keep(client: ObjectClient, location: str, plain: str, first: str, *, is_conditional: bool) -> None:
    """Copy what is at a plain key aside, unless that was done before."""
    import obstore
    from obstore.exceptions import AlreadyExistsError, BaseError

    try:
        there = client.run(lambda store: obstore.get(store, plain))
        if there.meta["size"] <= SINGLE_REQUEST:  # no attempt creates a plain key of a larger file
            data = there.bytes()
            mode = "create" if is_conditional else "overwrite"
            client.run(lambda store: store.put(first, data, mode=mode, use_multipart=False))
    except (FileNotFoundError, AlreadyExistsError):
        pass
    except BaseError as error:
        raise StoreError(f"cannot copy {plain} to {first} in {location}: {error}") from error
