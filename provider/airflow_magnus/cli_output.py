"""What the commands print: results on standard output, remarks on standard error."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def tell(text: str) -> None:
    """A line of the result."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))  # noqa: T201


def say(text: str) -> None:
    """A remark, which is no part of the result."""
    print(text, file=sys.stderr)  # noqa: T201


def columns(rows: Sequence[tuple[str, ...]], right: int) -> list[str]:
    """Rows of one table; the column ``right`` is set to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if index == right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def number(count: int, noun: str) -> str:
    """``1 file``, ``2,500 files``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def line(text: str) -> str:
    """Text of others on one line, without characters that a terminal would act on."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
