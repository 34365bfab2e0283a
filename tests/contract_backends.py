"""What the contract tests know of a back end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_magnus.stores.parts import PartStore


@dataclass(frozen=True)
class ObjectBackend:
    """A place for objects, opened.

    :param is_known: whether the package may take it for granted that create-only writes are honoured.
    :param client: boto3's, of an S3 server; its bucket.
    """

    name: str
    store: Any
    is_known: bool = True
    is_conditional: bool = True
    client: Any = None
    bucket: str = ""


class CountedParts:
    """A part store that counts the calls that cost requests: a read costs one for each key."""

    def __init__(self, parts: PartStore) -> None:
        self._parts = parts
        self.location = parts.location
        self.counts: dict[str, int] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self._parts, name)

        def counted(*arguments: Any) -> Any:
            cost = 1
            if name == "read":
                arguments = (list(arguments[0]),)
                cost = len(arguments[0])
            self.counts[name] = self.counts.get(name, 0) + cost
            return method(*arguments)

        return counted

    def spent(self) -> Mapping[str, int]:
        """The calls since this was asked last."""
        counts, self.counts = self.counts, {}
        return counts
