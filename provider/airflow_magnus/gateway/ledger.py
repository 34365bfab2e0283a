"""What passed through the gateway: one line for each object that was read or written."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

MOST_OBJECTS = 100_000
"""Objects that are kept apart; of more only the number is known."""
MOST_RANGES = 64
"""Ranges of one object that are kept apart; more are one from the first byte to the last."""


@dataclass
class Passed:
    """One version of one object that was read or written.

    :param size: of the object, in bytes; None: not known.
    :param etag: without quotes.
    :param sha256: hex; "" where the object did not pass whole and in order.
    :param ranges: first and last byte of what was read, merged; empty: all of it.
    :param times: how often.
    """

    bucket: str
    key: str
    action: str
    size: int | None = None
    etag: str = ""
    sha256: str = ""
    ranges: list[tuple[int, int]] = field(default_factory=list)
    times: int = 0


@dataclass(frozen=True)
class Output:
    """One object that a step has written.

    :param name: visible key.
    :param below: where its bytes are, below the prefix or folder of the view.
    :param size: bytes.
    :param etag: without quotes.
    :param sha256: hex; "" where the bytes did not pass in one piece.
    """

    bucket: str
    name: str
    below: str
    size: int
    etag: str
    sha256: str


class Ledger:
    """The memory of one gateway. A write of a key takes the place of the one before; reads are kept by ETag."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str, str, str], Passed] = {}
        self._written: set[tuple[str, str]] = set()
        self._removed: set[tuple[str, str]] = set()
        self.left_out = 0

    def read(
        self,
        bucket: str,
        key: str,
        *,
        size: int | None,
        etag: str,
        sha256: str = "",
        part: tuple[int, int] | None = None,
    ) -> None:
        """Note a read.

        :param part: first and last byte; None: the whole object.
        """
        etag = etag.strip('"')
        is_new = ("read", bucket, key, etag) not in self._entries
        entry = self._entry("read", bucket, key, etag)
        if entry is None:
            return
        entry.size = size if size is not None else entry.size
        entry.sha256 = sha256 or entry.sha256
        was_whole = not is_new and not entry.ranges
        entry.ranges = [] if part is None or was_whole else _merged([*entry.ranges, part], size)
        entry.times += 1

    def wrote(self, bucket: str, key: str, *, size: int | None, etag: str, sha256: str = "") -> None:
        """Note a write."""
        self._written.add((bucket, key))
        entry = self._entry("write", bucket, key, "")
        if entry is not None:
            entry.size, entry.etag, entry.sha256 = size, etag.strip('"'), sha256
            entry.times += 1

    def removed(self, bucket: str, key: str) -> None:
        """Note that an object is gone, which was written or lies below an overlay."""
        self._written.discard((bucket, key))
        self._removed.add((bucket, key))
        self._entries.pop(("write", bucket, key, ""), None)

    def has_written(self, bucket: str, key: str) -> bool:
        """Whether an object was written and is there still."""
        return (bucket, key) in self._written

    def has_removed(self, bucket: str, key: str) -> bool:
        """Whether an object was removed at any time."""
        return (bucket, key) in self._removed

    def digest(self, bucket: str, key: str, etag: str) -> str:
        """The sha256 of a written object, hex; "" when it is not known or was replaced meanwhile."""
        entry = self._entries.get(("write", bucket, key, ""))
        return entry.sha256 if entry is not None and entry.etag == etag.strip('"') else ""

    def as_json(self) -> dict[str, Any]:
        """All of it, as values of JSON."""
        return {
            "entries": [asdict(entry) for entry in self._entries.values()],
            "left_out": self.left_out,
        }

    def _entry(self, action: str, bucket: str, key: str, etag: str) -> Passed | None:
        name = (action, bucket, key, etag)
        if name not in self._entries:
            if len(self._entries) >= MOST_OBJECTS:
                self.left_out += 1
                return None
            self._entries[name] = Passed(bucket, key, action, etag=etag)
        return self._entries[name]


def _merged(ranges: list[tuple[int, int]], size: int | None) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    if len(merged) > MOST_RANGES:
        merged = [(merged[0][0], merged[-1][1])]
    return [] if size is not None and merged == [(0, size - 1)] else merged
