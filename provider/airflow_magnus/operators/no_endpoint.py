"""What stands for the S3 endpoint of a step that asked for none."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from airflow_magnus.runlog.records import CatalogEntry, ObjectAccess


class NoEndpoint:
    """Nothing is served, nothing passes. The methods are those of :class:`operators.endpoint.StepEndpoint`."""

    def __init__(
        self, before: Collection[ObjectAccess] = (), got_before: Collection[CatalogEntry] = ()
    ) -> None:
        self.accesses = list(before)
        self._got = list(got_before)

    variables: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    holds_catalog = False
    inputs: list[tuple[str, str, str]] | None = []  # noqa: RUF012 - nobody adds to it

    def __enter__(self) -> NoEndpoint:
        return self

    def __exit__(self, *error: Any) -> None:
        """Nothing was opened."""

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The environment stays as it is."""
        yield

    def check(self) -> None:
        """Nothing can have ended."""

    def commit(self, taken: Collection[str]) -> list[CatalogEntry]:
        """Nothing was written."""
        return []

    def got(self) -> list[CatalogEntry]:
        """What was read before a deferral."""
        return self._got

    def note_failure(self) -> None:
        """There is nothing to note."""

    def give_up(self) -> None:
        """There is nothing to keep or to remove."""

    def drop(self) -> None:
        """There is nothing to remove."""
