"""Lengths of time as they are written in a pipeline file."""

from __future__ import annotations

import datetime
import math
import re

FORMS = '"90s", "5m", "1h30m", "2d", "4w", "00:05:00" or a number of seconds'
"""What :func:`parse_duration` reads, for messages."""

_NUMBER = r"\d+(?:\.\d+)?"
_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_PARTS = re.compile("".join(rf"(?:(?P<{name}>{_NUMBER})\s*{unit}\s*)?" for unit, name in _UNITS.items()))
_CLOCK = re.compile(r"(?P<hours>\d+):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d(?:\.\d+)?)")


def parse_duration(value: str | float) -> datetime.timedelta:
    """Read a length of time: a number of seconds, or text such as ``90``, ``5m``, ``1h30m``, ``00:05:00``.

    :raises ValueError: it is none of these, negative, or not finite; the message says what is allowed.
    """
    try:
        return datetime.timedelta(**_amounts(value))
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{value!r} is not a length of time: write {FORMS}") from error


def _amounts(value: str | float) -> dict[str, float]:
    if isinstance(value, bool):
        raise ValueError("a boolean")
    if isinstance(value, int | float):
        if not math.isfinite(value) or value < 0:
            raise ValueError("negative or not finite")
        return {"seconds": value}
    text = value.strip().lower()
    if re.fullmatch(_NUMBER, text):
        return {"seconds": float(text)}
    match = _CLOCK.fullmatch(text) or (_PARTS.fullmatch(text) if text else None)
    if match is None:
        raise ValueError("no such form")
    return {name: float(amount) for name, amount in match.groupdict().items() if amount is not None}
