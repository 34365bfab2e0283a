"""When the steps of a run ran, as bars on one axis of time. Lengths are percent of the axis, so a drawing fits any width."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise

from airflow_magnus.runlog.records import AttemptLog, BranchLog, StepLog
from airflow_magnus.ui.responses import status_text, time_text

_STEPS_OF_AXIS = (
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    14400,
    43200,
    86400,
)
_MOST_TICKS = 6
_NARROWEST = 0.4
_AXIS_WIDTH, _CHARACTER, _BETWEEN = 160, 6.6, 8
"""Pixels: of the narrowest axis (``.line`` in ``runs.css``), of a character of a label, between two labels."""


@dataclass(frozen=True)
class Span:
    """From when to when something ran, in seconds since 1970.

    :param is_open: it has not ended.
    """

    start: float
    end: float
    is_open: bool = False

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start


@dataclass(frozen=True)
class Bar:
    """One attempt on the axis; ``x`` and ``width`` are percent."""

    x: float
    width: float
    status: str
    title: str


@dataclass(frozen=True)
class Tick:
    """A line across the axis, in percent.

    :param label: "" where there is no room for one.
    :param is_last: the label ends at the line, as behind it is no room.
    """

    x: float
    label: str
    is_last: bool = False


@dataclass(frozen=True)
class Axis:
    """The time that a drawing shows.

    :param zero: what its labels count from, in seconds since 1970.
    """

    start: float
    end: float
    zero: float

    @property
    def ticks(self) -> list[Tick]:
        """Where lines stand; as many of them have labels as fit beside each other."""
        length = self.end - self.start
        step = next((s for s in _STEPS_OF_AXIS if length / s <= _MOST_TICKS), None)
        if step is None:
            step = (int(length / _MOST_TICKS / 86400) + 1) * 86400
        first = -(-(self.start - self.zero) // step) * step
        found: list[Tick] = []
        while self.zero + first <= self.end and len(found) <= _MOST_TICKS:
            found.append(Tick(self._percent(self.zero + first), f"+{_label(first)}"))
            first += step
        return _with_room(found)

    def bars(self, attempts: Iterable[AttemptLog], now: float) -> list[Bar]:
        """The attempts of a step."""
        return [
            self._bar(span, one.status, f"attempt {one.attempt_number}")
            for one in attempts
            if (span := span_of_attempt(one, now)) is not None
        ]

    def bar(self, span: Span | None, status: str) -> list[Bar]:
        """What is made of steps, as one bar; none where nothing of it ran."""
        return [] if span is None else [self._bar(span, status, "all of its steps")]

    def _bar(self, span: Span, status: str, what: str) -> Bar:
        x = self._percent(span.start)
        width = min(max(self._percent(span.end) - x, _NARROWEST), 100 - min(x, 100 - _NARROWEST))
        ending = "going on for" if span.is_open else f"{status_text(status)} after"
        began = datetime.fromtimestamp(span.start, UTC).strftime("%H:%M:%S UTC")
        return Bar(
            min(x, 100 - _NARROWEST), width, status, f"{what}: {began}, {ending} {time_text(span.seconds)}"
        )

    def _percent(self, moment: float) -> float:
        length = self.end - self.start
        return round(min(100.0, max(0.0, (moment - self.start) / length * 100)), 3) if length > 0 else 0.0


def _with_room(ticks: Sequence[Tick]) -> list[Tick]:
    """Ticks of which every second, third … keeps its label, so that none touches another."""
    for every in range(1, len(ticks) + 1):
        kept = [_placed(tick) if n % every == 0 else replace(tick, label="") for n, tick in enumerate(ticks)]
        places = [_place(tick) for tick in kept if tick.label]
        if all(end <= start for (_, end), (start, _) in pairwise(places)):
            return kept
    return list(ticks)


def _placed(tick: Tick) -> Tick:
    return replace(tick, is_last=_place(tick)[1] > 100)


def _place(tick: Tick) -> tuple[float, float]:
    """From where to where a label goes, with the gap behind it; percent of the narrowest axis."""
    width = (len(tick.label) * _CHARACTER + _BETWEEN) * 100 / _AXIS_WIDTH
    return (tick.x - width, tick.x) if tick.is_last else (tick.x, tick.x + width)


def axis_of(spans: Sequence[Span], zero: float | None = None) -> Axis | None:
    """The axis that holds all of these; None of none."""
    if not spans:
        return None
    start, end = min(span.start for span in spans), max(span.end for span in spans)
    return Axis(start, max(end, start + 0.001), start if zero is None else min(zero, start))


def seconds_of(text: str) -> float | None:
    """A time of a run log in seconds since 1970; None where there is none. Without a zone it is UTC."""
    try:
        value = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    if value is None:
        return None
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()


def span_of_attempt(attempt: AttemptLog, now: float) -> Span | None:
    """When an attempt ran; until now where it has not ended."""
    start, end = seconds_of(attempt.start_time), seconds_of(attempt.end_time)
    if start is None:
        return None
    return Span(start, max(start, now if end is None else end), end is None)


def span_of(of: StepLog | BranchLog, now: float) -> Span | None:
    """From the first attempt's start to the last one's end, of the steps inside too; None where nothing ran."""
    spans = [span for one in _attempts(of) if (span := span_of_attempt(one, now)) is not None]
    if not spans:
        return None
    return Span(
        min(span.start for span in spans),
        max(span.end for span in spans),
        any(span.is_open for span in spans),
    )


def _attempts(of: StepLog | BranchLog) -> Iterator[AttemptLog]:
    todo: list[StepLog | BranchLog] = [of]
    while todo:
        one = todo.pop()
        if isinstance(one, StepLog):
            yield from one.attempts
            todo.extend(one.branches.values())
        else:
            todo.extend(one.steps.values())


def _label(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + " s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02} h" if hours < 48 else f"{hours // 24} d"
