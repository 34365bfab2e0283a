"""Which files of the catalog the patterns of a get name, and whether they are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from airflow_magnus.errors import CatalogError
from airflow_magnus.runlog.records import CatalogEntry
from airflow_magnus.stores.client import ObjectClient
from airflow_magnus.stores.downloads import gone
from airflow_magnus.stores.globs import matches
from airflow_magnus.stores.objects import explain
from airflow_magnus.stores.parallel import in_parallel


def chosen_by(
    patterns: Sequence[str], entries: Mapping[str, CatalogEntry], warnings: list[str]
) -> dict[str, CatalogEntry]:
    """The entries that the patterns of a get match, by name; a pattern without a match is a warning."""
    chosen: dict[str, CatalogEntry] = {}
    for pattern in patterns:
        found = {name: entry for name, entry in entries.items() if matches(pattern, name)}
        if not found:
            warnings.append(f"catalog get: {pattern!r} matches nothing that a step before put")
        chosen.update(found)
    return chosen


def refuse_missing(client: ObjectClient, location: str, entries: Iterable[CatalogEntry]) -> None:
    """Make sure that the objects of entries are there, without reading them. Cost: 1 HEAD each.

    :raises CatalogEntryNotFoundError: when one is gone.
    :raises CatalogError: when one has another size than was recorded, or the store does not answer.
    """

    def look(entry: CatalogEntry) -> None:
        key = entry.catalog_relative_path
        what = f"catalog get: {entry.name!r} at {location}/{key}"
        try:
            size = client.run(lambda store: store.head(key))["size"]
        except FileNotFoundError as error:
            raise gone(what, key) from error
        except Exception as error:
            raise CatalogError(f"{what} cannot be read: {explain(error, '')}") from error
        if entry.size is not None and size != entry.size:
            raise CatalogError(
                f"{what} has {size} bytes, and {entry.size} are recorded: somebody has changed it;"
                " run the step that made it again"
            )

    in_parallel(look, entries, client.pace)
