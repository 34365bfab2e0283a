"""The catalog that keeps nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow_magnus.runlog.records import CatalogEntry
from airflow_magnus.stores.catalog import Moved


class DoNothingCatalog:
    """The catalog of type ``do-nothing``: gets and puts do nothing and record nothing."""

    location = ""
    is_conditional = True

    def find_out_conditional(self) -> bool:
        """There is nothing to find out."""
        return True

    def put(self, run_id: str, folder: Path, patterns: Sequence[str], **_: Any) -> Moved:
        """Store nothing."""
        return Moved()

    def put_file(self, run_id: str, path: Path, name: str, **_: Any) -> None:
        """Store nothing."""

    def get(
        self, entries: Mapping[str, CatalogEntry], folder: Path, patterns: Sequence[str], **_: Any
    ) -> Moved:
        """Fetch nothing."""
        return Moved()

    def settle(self, run_id: str, entries: Iterable[CatalogEntry]) -> None:
        """There is nothing to settle."""

    def copy(self, sources: Mapping[str, str]) -> None:
        """There is nothing to copy."""

    def are_whole(self, entries: Iterable[CatalogEntry]) -> bool:
        """Nothing can be missing."""
        return True

    def forget(self, keys: Iterable[str]) -> None:
        """There is nothing to remove."""

    def located(self, run_id: str, entries: Iterable[CatalogEntry]) -> list[CatalogEntry]:
        """Nothing was stored."""
        return list(entries)
