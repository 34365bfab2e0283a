"""Whether somebody wants this process to end: then no further attempt and no further step is begun."""

from __future__ import annotations

_signals: list[int] = []


def interrupt(number: int) -> None:
    """Note that a signal asked for the end."""
    _signals.append(number)


def interrupted_by() -> int:
    """Number of the first signal that asked for it; 0 when none did."""
    return _signals[0] if _signals else 0


def forget() -> None:
    """Begin anew: the next run is another one."""
    _signals.clear()
