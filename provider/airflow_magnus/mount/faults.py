"""What goes wrong with a mount, in words for people."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_magnus.errors import StoreError

_NAMED = 10


class MountError(StoreError):
    """A mount did not come up, has ended by itself, or has not brought to the store what was written."""


class UnsavedError(MountError):
    """Files that were written are not in the store; they are named."""


def some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
