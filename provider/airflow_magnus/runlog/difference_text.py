"""The comparison of two runs as text for a terminal of 100 columns."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from airflow_magnus.runlog.difference_records import RunDifference, StepDifference
from airflow_magnus.runlog.pairs import MISSING, Pair, Pairs

_WIDTH, _LABEL, _VALUE = 100, 31, 31
_DIGEST = 12
_NONE = "(none)"


def as_text(difference: RunDifference) -> str:
    """Whether two runs are equal, where they part, and a block for each step that differs."""
    common = _common_code(difference.steps)
    first = difference.first_difference
    lines = [*_head(difference), ""]
    lines += _block("the runs", _of_runs(difference, common))
    equal = in_code = 0
    for step in difference.steps:
        if step.is_equal:
            equal += 1
        elif _is_only(step, common):
            in_code += 1
        elif step.presence == "both":
            is_first = first is not None and step.internal_name == first.step  # its reason is on top
            lines += _block(_title(step), _of_step(step, common), "" if is_first else step.reason)
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


# rows: a label and the two values


def _of_runs(difference: RunDifference, common: Pairs) -> Iterator[str]:
    yield from _scalar("status", _bare(difference.status))
    yield from _scalar("dag hash", _digest(difference.dag_hash))
    yield from _rows("code", {kind: _code(pair) for kind, pair in common.items()})
    yield from _rows("began with", difference.initial_parameters or {})
    yield from _rows("ended with", difference.parameters)
    for service, pairs in difference.run_config.items():
        yield from _rows(service, pairs)


def _of_step(step: StepDifference, common: Pairs) -> Iterator[str]:
    yield from _scalar("status", _bare(step.status))
    yield from _scalar("type", _bare(step.types))
    yield from _scalar("run again", Pair(not step.mock.a, not step.mock.b))
    yield from _rows("definition", step.definition)
    yield from _rows("code", {k: _code(pair) for k, pair in step.code.items() if common.get(k) != pair})
    yield from _rows("input", {name: _digest(pair) for name, pair in step.inputs.items()})
    yield from _rows("output", {name: _digest(pair) for name, pair in step.outputs.items()})
    yield from _rows("sets", step.parameters)
    yield from _rows("metric", step.metrics)
    yield from _scalar("message", step.message)
    yield from _scalar("failure", step.failure)
    yield from _scalar("attempts", step.attempts)
    seconds = step.seconds
    if None not in (seconds.a, seconds.b) and abs(seconds.a - seconds.b) >= 1:
        yield _row("seconds", f"{seconds.a:.0f}", f"{seconds.b:.0f}")


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


def _scalar(label: str, pair: Pair) -> Iterator[str]:
    if pair.a != pair.b:
        yield _row(label, *_shown(pair))


def _rows(kind: str, pairs: Mapping[str, Pair]) -> Iterator[str]:
    for name, pair in pairs.items():
        yield _row(f"{kind} {_name(name)}".rstrip(), *_shown(pair))


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
        return _NONE
    if isinstance(value, _Bare):
        return value
    return _name(json.dumps(value, ensure_ascii=False, default=repr))


class _Bare(str):
    """Text that is shown without quotes: a digest, a commit."""


def _bare(pair: Pair) -> Pair:
    return Pair(_Bare(pair.a), _Bare(pair.b))


def _digest(pair: Pair) -> Pair:
    return Pair(*(MISSING if side is MISSING else _short(side, pair) for side in (pair.a, pair.b)))


def _short(digest: str, pair: Pair) -> _Bare:
    is_clear = MISSING in (pair.a, pair.b) or pair.a[:_DIGEST] != pair.b[:_DIGEST]
    return _Bare(_name(digest[:_DIGEST] if is_clear else digest))


def _code(pair: Pair) -> Pair:
    def shown(identity: Any) -> Any:
        if identity is MISSING:
            return MISSING
        changed = "" if identity["is_dependable"] else " + uncommitted"
        return _Bare(_name((identity["identifier"] or _NONE).removeprefix("sha256:")[:_DIGEST]) + changed)

    return Pair(shown(pair.a), shown(pair.b))


def _common_code(steps: Iterable[StepDifference]) -> Pairs:
    """The two codes, when all steps that ran in both have these."""
    kinds = [step.code for step in steps if step.presence == "both" and not step.taken_over]
    codes = [code for code in kinds if code]
    return codes[0] if len(codes) > 1 and all(code == codes[0] for code in codes) else {}


def _is_only(step: StepDifference, common: Pairs) -> bool:
    """Whether a step differs in nothing but the common code."""
    others = step.definition or step.inputs or step.has_other_results or step.taken_over == "unknown"
    return bool(common) and step.code == common and step.types.a == step.types.b and not others


def _name(text: str) -> str:
    """Text without characters that a terminal would act on."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        _name(text), _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
