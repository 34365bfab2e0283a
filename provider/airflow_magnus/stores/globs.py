"""Glob patterns as pipeline files write them, the same for local files and for the names in a catalog.

``*`` and ``?`` do not cross ``/``, ``**`` as a whole segment crosses any number of folders, hidden files match,
upper and lower case differ (Source: spec §10.1).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

PARTIAL = ".magnus-partial-"
"""Begin of the names of files that a get is still writing."""


@lru_cache(maxsize=512)
def compile_glob(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression for whole paths with ``/``."""
    segments = [s for s in pattern.split("/") if s not in ("", ".")]
    parts: list[str] = []
    for index, segment in enumerate(segments):
        is_last = index == len(segments) - 1
        if segment == "**":
            parts.append(".+" if is_last else "(?:[^/]+/)*")
        else:
            parts.append(_segment(segment) + ("" if is_last else "/"))
    return re.compile("".join(parts), re.DOTALL)


def _segment(text: str) -> str:
    """One segment; between two stars the first fit is taken for good, so that many stars cost no more time."""
    pieces = [""]  # what lies between the stars
    i = 0
    while i < len(text):
        char = text[i]
        if char == "*":
            pieces.append("")
        elif char == "?":
            pieces[-1] += "[^/]"
        elif char == "[" and (end := text.find("]", i + (3 if text[i + 1 : i + 2] == "!" else 2))) > 0:
            pieces[-1] += _set(text[i + 1 : end])
            i = end
        else:
            pieces[-1] += re.escape(char)
        i += 1
    if len(pieces) == 1:
        return pieces[0]
    first, *between, last = pieces
    return first + "".join(f"(?>[^/]*?{piece})" for piece in between if piece) + "[^/]*" + last


def _set(text: str) -> str:
    """One of ``[…]``: characters and ranges of them, ``!`` in front for all others; never ``/``."""
    is_negated = text.startswith("!")
    ranges = [(a or one, z or one) for a, z, one in re.findall("(.)-(.)|(.)", text[is_negated:], re.DOTALL)]
    items = "".join(f"{re.escape(a)}-{re.escape(z)}" for a, z in ranges if a <= z)
    if not items:
        return "[^/]" if is_negated else "(?!)"
    return f"(?!/)[{'^' if is_negated else ''}{items}]"


def matches(pattern: str, name: str) -> bool:
    """Whether the whole of ``name`` (a path with ``/``) is matched."""
    return compile_glob(pattern).fullmatch(name) is not None


def files_below(folder: Path, patterns: Sequence[str]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """What lies below a folder and may match, as (path with ``/``, entry), in no order; one folder open at a time.

    Folders are gone through and not given, those that are links are passed over; a folder that no pattern reaches into
    is not read.
    """
    todo = [""]
    while todo:
        base = todo.pop()
        with os.scandir(folder / base) as found:
            for entry in found:
                name = f"{base}/{entry.name}" if base else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if any(reaches_into(pattern, name) for pattern in patterns):
                        todo.append(name)
                elif not entry.name.startswith(PARTIAL) and not (entry.is_symlink() and entry.is_dir()):
                    yield name, entry


def reaches_into(pattern: str, folder: str) -> bool:
    """Whether a pattern may match something below a folder (a path with ``/``)."""
    segments, names = _segments(pattern), folder.split("/")
    for segment, name in zip(segments, names, strict=False):
        if segment is None:
            return True
        if not segment.fullmatch(name):
            return False
    return len(segments) > len(names)


@lru_cache(maxsize=512)
def _segments(pattern: str) -> tuple[re.Pattern[str] | None, ...]:
    """The segments of a pattern; None for ``**``."""
    texts = [s for s in pattern.split("/") if s not in ("", ".")]
    return tuple(None if text == "**" else re.compile(_segment(text), re.DOTALL) for text in texts)
