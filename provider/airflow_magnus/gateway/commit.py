"""The bucket ``out`` and the catalog: where a step writes, how that becomes entries, and what is left of dead attempts."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from airflow_magnus.errors import CatalogError
from airflow_magnus.gateway.process import Gateway
from airflow_magnus.gateway.views import Folder, Origin, Prefix, View
from airflow_magnus.runlog.records import WRITTEN, CatalogEntry
from airflow_magnus.stores.client import ObjectClient
from airflow_magnus.stores.globs import matches
from airflow_magnus.stores.names import VERSIONS
from airflow_magnus.stores.staging import Staged, kept_of, staging_of, take_in, unmark

log = logging.getLogger(__name__)

Place = Origin | Path
"""Where a catalog's objects are: a bucket of a store, or a folder."""


def out_view(place: Place, prefix: str, run_id: str, attempt_id: str) -> View:
    """What ``out`` of an attempt writes to.

    :param prefix: of the catalog in its bucket, without slashes around it; of a folder: "".
    """
    below = staging_of(run_id, attempt_id)
    if isinstance(place, Path):
        return Folder(place / below)
    return Prefix(place, f"{prefix}/{below}/" if prefix else f"{below}/")


def commit(
    gateway: Gateway,
    client: ObjectClient,
    location: str,
    run_id: str,
    attempt_id: str,
    known: Mapping[str, CatalogEntry],
    taken: Collection[str] = (),
    patterns: Sequence[str] = ("**",),
) -> list[CatalogEntry]:
    """Make catalog entries of what lies in ``out``; called when the command has succeeded, before the record.

    Nothing can be written any more then.

    Write the record of the step with them, then call ``gateway.drop()``.

    :param client: over the catalog's store.
    :param known: what is committed in this run already, by name.
    :param taken: names that the attempt has put in another way, and that cannot lie in ``out`` too.
    :param patterns: of the names that become entries.
    :raises GatewayError: when the gateway is gone: the step has failed.
    :raises CatalogError: for a key that cannot be a name in the catalog, for an object that was written and is not there, or
        when the store refuses.
    """
    gateway.seal()
    staged = _staged(gateway)
    there = {item.name for item in staged}
    lost = [
        p.key for p in gateway.ledger() if p.action == "write" and p.bucket == WRITTEN and p.key not in there
    ]
    if lost:
        raise CatalogError(
            f"{lost[0]!r} was written to the bucket out and is not there any more ({len(lost)} such objects): somebody else has"
            " removed it from the store, or the store has lost it"
        )
    staged = [item for item in staged if any(matches(pattern, item.name) for pattern in patterns)]
    both = sorted({item.name for item in staged} & set(taken))
    if both:
        raise CatalogError(
            f"{both[0]!r} was put in the catalog and lies in the bucket out too ({len(both)} such names): give one of the"
            " two another name"
        )
    return take_in(client, location, run_id, attempt_id, staged, known)


def keep_failed(gateway: Gateway, client: ObjectClient, location: str, run_id: str, attempt_id: str) -> None:
    """Lay aside, at :func:`kept_at`, what lies in ``out`` of an attempt that has failed: under names that files can have.

    :raises GatewayError: when the gateway is gone.
    :raises CatalogError: when the store refuses.
    """
    gateway.seal()
    take_in(client, location, run_id, attempt_id, _staged(gateway), {}, kept_of(attempt_id))


def kept_at(location: str, run_id: str, attempt_id: str) -> str:
    """Where the files of a failed attempt are kept."""
    return f"{location}/{run_id}/{VERSIONS}/{kept_of(attempt_id)}"


def _staged(gateway: Gateway) -> list[Staged]:
    return [Staged(item.name, item.below, item.size, item.sha256) for item in gateway.outputs()]


def clear_dead(client: ObjectClient, place: Place, prefix: str, attempts: Iterable[tuple[str, str]]) -> None:
    """Drop the staging of attempts that cannot go on, each with a gateway of its own.

    :param attempts: run and attempt.
    """
    for run_id, attempt_id in attempts:
        with Gateway({}, out_view(place, prefix, run_id, attempt_id)) as gateway:
            gateway.drop()
        unmark(client, run_id, attempt_id)
        log.info("s3: what attempt %s of run %s had staged is removed", attempt_id, run_id)
