"""What stands for the S3 endpoint of a step that asked for none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from airflow_magnus.runlog.records import CatalogEntry, ObjectAccess


class NoEndpoint:
    """Nothing is served, nothing passes. The methods are those of :class:`operators.endpoint.StepEndpoint`."""

    def __init__(self, before: Collection[ObjectAccess] = ()) -> None:
        self.accesses = list(before)

    variables: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    inputs: list[tuple[str, str, str]] | None = []  # noqa: RUF012 - nobody adds to it

    def __enter__(self) -> NoEndpoint:
        return self

    def __exit__(self, *error: Any) -> None:
        """Nothing was opened."""

    def environment(self, outer: Mapping[str, str]) -> Mapping[str, str]:
        """The environment as it is."""
        return outer

    def check(self) -> None:
        """Nothing can have ended."""

    def commit(self, taken: Collection[str]) -> list[CatalogEntry]:
        """Nothing was written."""
        return []

    def got(self) -> list[CatalogEntry]:
        """Nothing was read."""
        return []

    def keep_failed(self) -> None:
        """There is nothing to keep."""

    def drop(self) -> None:
        """There is nothing to remove."""
