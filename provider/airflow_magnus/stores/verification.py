"""Whether the catalog has what the records of a run name, with the recorded bytes. Reads alone, writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from airflow_magnus.errors import StoreError
from airflow_magnus.runlog.contents import Held
from airflow_magnus.runlog.marks import Collection
from airflow_magnus.runlog.records import CatalogEntry
from airflow_magnus.stores.client import ObjectClient
from airflow_magnus.stores.contents import records_of
from airflow_magnus.stores.downloads import digest_of
from airflow_magnus.stores.names import VERSIONS, first_key
from airflow_magnus.stores.objects import explain
from airflow_magnus.stores.parallel import in_parallel
from airflow_magnus.stores.run_folders import ObjectFolders
from airflow_magnus.stores.runlogs import RunLogStore
from airflow_magnus.stores.services import CatalogObjects


@dataclass(frozen=True)
class Damage:
    """One file that is missing or not what was recorded.

    :param what: in words.
    """

    step: str
    name: str
    key: str
    what: str


@dataclass
class Verified:
    """What was found out about one run.

    :param files: how many were looked at; several records may name one.
    :param size: their bytes, as recorded.
    :param damages: what is wrong, in the order of the names.
    :param unnamed: objects in the run's folder that no record names; bytes.
    :param elsewhere: files that are recorded in another catalog, which was not looked at: where → how many.
    :param collected: files that are gone because they were collected, by which mark.
    """

    run_id: str
    files: int = 0
    size: int = 0
    damages: list[Damage] = field(default_factory=list)
    unnamed: dict[str, int] = field(default_factory=dict)
    elsewhere: dict[str, int] = field(default_factory=dict)
    collected: int = 0
    mark: Collection | None = None

    @property
    def is_whole(self) -> bool:
        """Whether everything that was looked at is as recorded."""
        return not self.damages


Ended = Callable[[int], None]
"""Told the bytes of each file that was looked at."""


def verify(
    run_log: RunLogStore,
    catalog: CatalogObjects,
    run_id: str,
    *,
    mark: Collection | None = None,
    begun: Callable[[int, int], None] = lambda files, size: None,
    ended: Ended = lambda size: None,
) -> Verified:
    """Compare what the records of a run name with what is there. The run may go on meanwhile.

    Cost: of the run log 1 LIST and its parts; of the catalog 1 LIST, and it reads all files.

    :param mark: whether its files were collected; what was recorded before that is not looked for.
    :param begun: told how many files and bytes will be looked at.
    :raises RunNotFoundError: when there is no such run.
    :raises StoreError: when a store does not answer.
    """
    # The records first: what they name lies there before them, so the listing has it.
    named = records_of(run_log, run_id)
    found = Verified(run_id, mark=mark)
    here = []
    for held in named:
        location = held.entry.catalog_handler_location
        if location and location != catalog.location:
            found.elsewhere[location] = found.elsewhere.get(location, 0) + 1
        elif mark is not None and mark.covers(held.recorded):
            found.collected += 1
        else:
            here.append(held)
    sizes = _sizes(catalog, run_id, here)
    found.files, found.size = len(here), sum(held.entry.size or 0 for held in here)
    begun(found.files, found.size)
    client = ObjectClient(catalog.store)

    def check(held: Held) -> Damage | None:
        what = _what_is_wrong(client, held.entry, sizes)
        ended(held.entry.size or 0)
        return Damage(held.step, held.entry.name, held.entry.catalog_relative_path, what) if what else None

    checked = in_parallel(check, here, client.pace)
    found.damages = sorted((d for d in checked if d is not None), key=lambda d: (d.name, d.key))
    expected = _expected(run_id, named)
    found.unnamed = {
        key: size for key, size in sizes.items() if key.startswith(f"{run_id}/") and key not in expected
    }
    return found


def _sizes(catalog: CatalogObjects, run_id: str, named: Iterable[Held]) -> Mapping[str, int]:
    """What lies in the folders of the run, and of other runs whose files it names."""
    folders = ObjectFolders(catalog.store, catalog.location)
    found: dict[str, int] = dict(folders.sizes(run_id))
    for other in {held.entry.catalog_relative_path.partition("/")[0] for held in named} - {run_id, ""}:
        try:
            found |= folders.sizes(other)
        except StoreError:  # no name of a folder: then the key is no key either, and is said to be missing
            continue
    return found


def _what_is_wrong(client: ObjectClient, entry: CatalogEntry, sizes: Mapping[str, int]) -> str:
    """What is wrong with the bytes of an entry at its key; "" when they are there."""
    key = entry.catalog_relative_path
    run_id, _, name = key.partition("/")
    first = first_key(run_id, name)
    # When a run is settled, what a plain key held first goes there: before, after, or while this looks.
    if name.startswith(f"{VERSIONS}/"):
        return _compared(client, entry, key, sizes.get(key))
    if first in sizes and not _compared(client, entry, first, sizes[first]):
        return ""
    if not (what := _compared(client, entry, key, sizes.get(key))):
        return ""
    return what if first in sizes or _compared(client, entry, first, entry.size) else ""


def _compared(client: ObjectClient, entry: CatalogEntry, key: str, size: int | None) -> str:
    from obstore.exceptions import BaseError

    if size is None and entry.catalog_relative_path == key:
        return "missing"
    if None not in (size, entry.size) and size != entry.size:
        return f"has {size:,} bytes, recorded were {entry.size:,}"
    try:
        digest = client.run(lambda store: digest_of(store, key))
    except FileNotFoundError:
        return "missing"
    except (BaseError, OSError, ValueError) as error:
        return f"cannot be read: {explain(error, '')}"
    return "" if digest == entry.data_hash else f"has sha256 {digest}, recorded was {entry.data_hash}"


def _expected(run_id: str, named: Iterable[Held]) -> set[str]:
    """Keys that a run with these records has a use for."""
    found = set()
    for held in named:
        plain = f"{run_id}/{held.entry.name}"
        found |= {held.entry.catalog_relative_path, plain, first_key(run_id, held.entry.name)}
    return found
