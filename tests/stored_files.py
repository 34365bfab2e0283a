"""Files as a catalog has them and a run log records them, for tests of what reads them."""

from __future__ import annotations

import hashlib
from typing import Any

from airflow_magnus.runlog.records import CatalogEntry
from airflow_magnus.stores.catalog import CatalogStore


def entry_of(name: str, data: bytes, **changes: Any) -> CatalogEntry:
    """The record of a file of the run ``run``."""
    entry = CatalogEntry(
        name=name,
        data_hash=hashlib.sha256(data).hexdigest(),
        catalog_relative_path=f"run/{name}",
        catalog_handler_location="memory",
        stage="put",
        size=len(data),
    )
    return entry.model_copy(update=changes)


def catalog_of(objects: dict[str, bytes]) -> CatalogStore:
    """A catalog in memory with files of that run, by name."""
    from obstore.store import MemoryStore

    store = MemoryStore()
    for name, data in objects.items():
        store.put(f"run/{name}", data)
    return CatalogStore(store, "memory")
