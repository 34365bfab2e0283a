"""Two values of one name, side by side, and what differs of two mappings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Missing(Enum):
    """The type of :data:`MISSING`; ``None`` is a value that a run may have recorded."""

    MISSING = "missing"


MISSING = Missing.MISSING
"""Stands in a pair for a side that has no such name."""


@dataclass(frozen=True)
class Pair:
    """One thing as run A and as run B has it."""

    a: Any
    b: Any


Pairs = Mapping[str, Pair]
"""Name → the two values; only names whose values differ."""


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pair]:
    """Name → the two values, of the names whose values differ, in the order of A."""
    pairs = ((name, Pair(a.get(name, MISSING), b.get(name, MISSING))) for name in merged(a, b))
    return {name: pair for name, pair in pairs if not is_same(pair.a, pair.b)}


def is_same(a: Any, b: Any) -> bool:
    """Whether two values are the same JSON: 1 is neither true nor 1.0, NaN is NaN."""
    if a is MISSING or b is MISSING:
        return a is b
    if type(a) is type(b) and isinstance(a, (str, int)):  # nearly all, and much faster
        return bool(a == b)
    return json.dumps(a, sort_keys=True, default=repr) == json.dumps(b, sort_keys=True, default=repr)


def merged(a: Iterable[str], b: Iterable[str]) -> Iterator[str]:
    """The names of A in their order; those of B alone stand where B has them, behind what A alone has there."""
    first, known = list(a), set(a)
    behind: dict[str | None, list[str]] = {}
    common: set[str] = set()
    anchor = None
    for name in b:
        if name in known:
            anchor = name
            common.add(name)
        else:
            behind.setdefault(anchor, []).append(name)
    anchor = None
    for name in first:
        if name in common:
            yield from behind.get(anchor, [])
            anchor = name
        yield name
    yield from behind.get(anchor, [])


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key → value, down to what is no mapping."""
    found: dict[str, Any] = {}
    for key, part in value.items():
        if isinstance(part, Mapping) and part:
            found.update(flat(part, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = part
    return found
