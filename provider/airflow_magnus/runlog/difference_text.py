"""The comparison of two runs as text for a terminal of 100 columns."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from airflow_magnus.runlog.difference_records import RunDifference, StepDifference
from airflow_magnus.runlog.difference_rows import (
    NONE,
    Bare,
    Row,
    common_code,
    is_in_code_alone,
    rows_of_runs,
    rows_of_step,
)
from airflow_magnus.runlog.pairs import MISSING, Pair

_WIDTH, _LABEL, _VALUE = 100, 31, 31


def as_text(difference: RunDifference) -> str:
    """Whether two runs are equal, where they part, and a block for each step that differs."""
    common = common_code(difference.steps)
    first = difference.first_difference
    lines = [*_head(difference), ""]
    lines += _block("the runs", _rows(rows_of_runs(difference, common)))
    equal = in_code = 0
    for step in difference.steps:
        if step.is_equal:
            equal += 1
        elif is_in_code_alone(step, common):
            in_code += 1
        elif step.presence == "both":
            is_first = first is not None and step.internal_name == first.step  # its reason is on top
            lines += _block(_title(step), _rows(rows_of_step(step, common)), "" if is_first else step.reason)
    lines += _lonely(difference.steps)
    if in_code:
        lines.append(f"{in_code} step{' differs' if in_code == 1 else 's differ'} in nothing but the code.")
    return "\n".join([*lines, _equal(difference, equal)]) + "\n"


def _head(difference: RunDifference) -> Iterator[str]:
    first = difference.first_difference
    if difference.is_equal:
        yield "The runs are equal."
    elif first is None:
        yield "No step differs, but the runs as a whole do."
    else:
        yield from _wrapped(f"The runs part at step {_name(first.step)!r}: {first.reason}.")
    for side, run_id, status, tag in (
        ("A", difference.run_id.a, difference.status.a, difference.tag.a),
        ("B", difference.run_id.b, difference.status.b, difference.tag.b),
    ):
        yield f"  {side}  {_name(run_id)}  {status}" + (f"  {_name(tag)}" if tag else "")


def _equal(difference: RunDifference, equal: int) -> str:
    total = len(difference.steps)
    taken = sum(1 for step in difference.steps if step.taken_over == "same" and step.mock.a != step.mock.b)
    text = f"{equal} of {total} step{'' if total == 1 else 's'} {'is' if equal == 1 else 'are'} equal"
    return f"{text}, {taken} of them taken over from one run into the other." if taken else f"{text}."


def _block(title: str, rows: Iterable[str], reason: str = "") -> list[str]:
    lines = list(rows)
    if not (lines or reason):
        return []
    return [*_wrapped(f"{title}: {reason}" if reason else title), *lines, ""]


def _title(step: StepDifference) -> str:
    return f"step {_name(step.internal_name)!r} ({step.step_type})"


def _lonely(steps: Iterable[StepDifference]) -> list[str]:
    """A line for the steps of A alone, one for those of B alone."""
    lines: list[str] = []
    for side in ("a", "b"):
        names = [step.internal_name for step in steps if step.presence == side]
        lines += _wrapped(f"only in {side.upper()}: {', '.join(names)}") if names else []
    return [*lines, ""] if lines else []


def _rows(rows: Iterable[Row]) -> Iterator[str]:
    for label, pair in rows:
        yield _row(_name(label), *_shown(pair))


def _row(label: str, a: str, b: str) -> str:
    values = f"  {a:<{_VALUE}} | {b}".rstrip()
    if len(label) <= _LABEL:
        return f"  {label:<{_LABEL}}{values}"
    return f"  {label}\n  {'':<{_LABEL}}{values}"


# values as text


def _shown(pair: Pair) -> tuple[str, str]:
    """Both values on one line each, shortened so that what differs can be seen."""
    a, b = _value(pair.a), _value(pair.b)
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    start = 0 if same < _VALUE - 2 else same - _VALUE // 2
    return _window(a, start), _window(b, start)


def _window(text: str, start: int) -> str:
    if len(text) <= _VALUE:
        return text
    part = ("…" if start else "") + text[start:]
    return part if len(part) <= _VALUE else part[: _VALUE - 1] + "…"


def _value(value: Any) -> str:
    if value is MISSING:
        return NONE
    if isinstance(value, Bare):
        return _name(value)
    return _name(json.dumps(value, ensure_ascii=False, default=repr))


def _name(text: str) -> str:
    """Text without characters that a terminal would act on."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        _name(text), _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
