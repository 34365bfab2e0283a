"""An object that the gateway itself reads, and ranges of bytes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from airflow_magnus.gateway.faults import S3Error

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True)
class Opened:
    """An object that is about to be read.

    :param size: of what ``blocks`` gives.
    :param headers: that are kept with the object, by lower-case name.
    """

    size: int
    headers: Mapping[str, str]
    blocks: Callable[[], AsyncIterator[bytes]]


def requested(value: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a Range header; None where the whole object is to be given.

    :raises S3Error: when nothing of the object lies in it.
    """
    match = _RANGE.fullmatch(value.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        first, last = max(0, size - int(match[2])), size - 1
        is_empty = int(match[2]) == 0 or not size
    else:
        first, last = int(match[1]), min(int(match[2] or size - 1), size - 1)
        if match[2] and int(match[2]) < first:
            return None
        is_empty = first >= size
    if is_empty:
        raise S3Error("InvalidRange", f"the object has {size} bytes")
    return first, last


def part_of(value: str) -> tuple[int, int] | None:
    """First and last byte of a header that names both; None without one."""
    match = _RANGE.fullmatch(value.strip())
    return (int(match[1]), int(match[2])) if match and match[1] and match[2] else None


def size_of(status: int, headers: Mapping[str, str]) -> tuple[int | None, tuple[int, int] | None]:
    """The size of an object and the part of it that an answer holds (None: all), from the answer's headers."""
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if status == 206 and match:
        return int(match[3]), (int(match[1]), int(match[2]))
    length = headers.get("Content-Length", "")
    return (int(length) if length.isdigit() else None), None
