"""A comparison of two runs as rows of a table: a label and the two values; for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from airflow_magnus.runlog.difference_records import RunDifference, StepDifference
from airflow_magnus.runlog.pairs import MISSING, Pair, Pairs

NONE = "(none)"
"""Stands for a side that does not have a value."""
_DIGEST = 12
Row = tuple[str, Pair]


class Bare(str):
    """Text that is shown without quotes: a digest, a commit."""


def rows_of_runs(difference: RunDifference, common: Pairs) -> Iterator[Row]:
    """What differs of the runs as a whole.

    :param common: as of :func:`common_code`.
    """
    yield from _scalar("status", _bare(difference.status))
    yield from _scalar("dag hash", _digest(difference.dag_hash))
    yield from _rows("code", {kind: _code(pair) for kind, pair in common.items()})
    yield from _rows("began with", difference.initial_parameters or {})
    yield from _rows("ended with", difference.parameters)
    for service, pairs in difference.run_config.items():
        yield from _rows(service, pairs)


def rows_of_step(step: StepDifference, common: Pairs) -> Iterator[Row]:
    """What differs of a step.

    :param common: as of :func:`common_code`; it is not said again.
    """
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
        yield "seconds", Pair(Bare(f"{seconds.a:.0f}"), Bare(f"{seconds.b:.0f}"))


def common_code(steps: Iterable[StepDifference]) -> Pairs:
    """The two codes, when all steps that ran in both have these."""
    kinds = [step.code for step in steps if step.presence == "both" and not step.taken_over]
    codes = [code for code in kinds if code]
    return codes[0] if len(codes) > 1 and all(code == codes[0] for code in codes) else {}


def is_in_code_alone(step: StepDifference, common: Pairs) -> bool:
    """Whether a step differs in nothing but the common code."""
    others = step.definition or step.inputs or step.has_other_results or step.taken_over == "unknown"
    return bool(common) and step.code == common and step.types.a == step.types.b and not others


def _scalar(label: str, pair: Pair) -> Iterator[Row]:
    if pair.a != pair.b:
        yield label, pair


def _rows(kind: str, pairs: Mapping[str, Pair]) -> Iterator[Row]:
    for name, pair in pairs.items():
        yield f"{kind} {name}".rstrip(), pair


def _bare(pair: Pair) -> Pair:
    return Pair(Bare(pair.a), Bare(pair.b))


def _digest(pair: Pair) -> Pair:
    return Pair(*(MISSING if side is MISSING else _short(side, pair) for side in (pair.a, pair.b)))


def _short(digest: str, pair: Pair) -> Bare:
    is_clear = MISSING in (pair.a, pair.b) or pair.a[:_DIGEST] != pair.b[:_DIGEST]
    return Bare(digest[:_DIGEST] if is_clear else digest)


def _code(pair: Pair) -> Pair:
    def shown(identity: Any) -> Any:
        if identity is MISSING:
            return MISSING
        changed = "" if identity["is_dependable"] else " + uncommitted"
        return Bare((identity["identifier"] or NONE).removeprefix("sha256:")[:_DIGEST] + changed)

    return Pair(shown(pair.a), shown(pair.b))
