"""Two runs side by side, as their page shows them."""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_magnus.errors import MagnusError
from airflow_magnus.runlog.difference import compare
from airflow_magnus.runlog.difference_records import RunDifference, StepDifference
from airflow_magnus.runlog.difference_rows import (
    NONE,
    Bare,
    common_code,
    is_in_code_alone,
    rows_of_runs,
    rows_of_step,
)
from airflow_magnus.runlog.pairs import MISSING, Pair
from airflow_magnus.runlog.records import RunLog
from airflow_magnus.ui.files import find_file
from airflow_magnus.ui.found_runs import FoundRun, find_run
from airflow_magnus.ui.previews.sample import sample_of, text_of
from airflow_magnus.ui.responses import PageError

log = logging.getLogger(__name__)

MOST_STEPS = 200
"""Steps that differ which a page shows."""
_MOST_LINES = 2_000
_LONGEST_LINE = 1_000


@dataclass(frozen=True)
class Side:
    """One of the two runs."""

    found: FoundRun
    log: RunLog

    @property
    def dag_id(self) -> str:
        """Of the run's DAG."""
        return self.found.dag.dag_id


@dataclass(frozen=True)
class Row:
    """One thing that differs, as text; ``file`` where its two texts can be looked at."""

    label: str
    a: str
    b: str
    file: str = ""


@dataclass(frozen=True)
class StepRows:
    """What differs of one step.

    :param is_first: the runs part here.
    """

    step: StepDifference
    rows: Sequence[Row]
    is_first: bool


@dataclass(frozen=True)
class TextDifference:
    """The lines of two texts: each with ``+``, ``-``, ``@`` or a space.

    :param trouble: why there are none; "" otherwise.
    """

    name: str
    lines: Sequence[tuple[str, str]] = ()
    is_cut: bool = False
    trouble: str = ""


@dataclass(frozen=True)
class Comparison:
    """What the page shows: A is the run that began first.

    :param steps: those that differ, the one where the runs part in front.
    :param more: how many others differ.
    :param alone: ``a`` and ``b`` → names of the steps that this run alone has.
    :param in_code: how many differ in nothing but the code of all.
    """

    a: Side
    b: Side
    difference: RunDifference
    of_runs: Sequence[Row]
    steps: Sequence[StepRows]
    more: int
    alone: Mapping[str, Sequence[str]]
    in_code: int

    @property
    def equal(self) -> int:
        """How many steps are equal."""
        return sum(1 for step in self.difference.steps if step.is_equal)


def look(first: tuple[str, str], second: tuple[str, str]) -> Comparison:
    """Lay two runs side by side. The user's right to read both DAGs was checked before. Cost: 6 requests.

    :param first: DAG id and run id.
    :raises PageError: when one of them cannot be read.
    """
    a, b = sorted((_side(*first), _side(*second)), key=lambda side: side.found.header.started)
    difference = compare(a.log, b.log, (a.found.header, b.found.header))
    common = common_code(difference.steps)
    differing = [step for step in difference.steps if not step.is_equal]
    told = [step for step in differing if not is_in_code_alone(step, common)]
    at = difference.first_difference
    first_name = at.step if at else ""
    in_code = len(differing) - len(told)
    alone = {side: [s.internal_name for s in told if s.presence == side] for side in ("a", "b")}
    told = [step for step in told if step.presence == "both" or step.internal_name == first_name]
    told.sort(key=lambda step: step.internal_name != first_name)  # all others stay in their order
    steps = [
        StepRows(step, _rows_of(step, common), step.internal_name == first_name) for step in told[:MOST_STEPS]
    ]
    return Comparison(
        a=a,
        b=b,
        difference=difference,
        of_runs=[
            Row(label, _text(pair.a), _text(pair.b)) for label, pair in rows_of_runs(difference, common)
        ],
        steps=steps,
        more=max(0, len(told) - MOST_STEPS),
        alone=alone,
        in_code=in_code,
    )


def text_difference(seen: Comparison, step_name: str, name: str) -> TextDifference:
    """What differs of the text of a file that a step of both runs read or put.

    Cost: up to 12 requests, and at most as many bytes as a look at each file takes.
    """
    step = next((s for s in seen.difference.steps if s.internal_name == step_name), None)
    pair = None if step is None else (step.outputs.get(name) or step.inputs.get(name))
    if pair is None or MISSING in (pair.a, pair.b):
        return TextDifference(name, trouble="Both runs have this file only where it is listed below.")
    try:
        (a, a_whole), (b, b_whole) = (
            _lines_of(side, name, digest) for side, digest in ((seen.a, pair.a), (seen.b, pair.b))
        )
    except PageError as error:
        return TextDifference(name, trouble=f"{error.title}. {error.what_to_do}")
    except MagnusError as error:
        log.warning("a file of two runs cannot be compared", exc_info=error)
        return TextDifference(
            name, trouble="The catalog cannot be read: look whether the API server can reach it."
        )
    lines = list(_marked(a, b))
    is_cut = not (a_whole and b_whole) or len(lines) > _MOST_LINES
    trouble = "" if lines else "The part of both that is looked at is equal."
    return TextDifference(name, lines[:_MOST_LINES], is_cut, trouble)


def _side(dag_id: str, run_id: str) -> Side:
    found = find_run(dag_id, run_id)
    return Side(found, found.document())


def _rows_of(step: StepDifference, common: Any) -> list[Row]:
    if step.presence != "both":
        return []
    rows = [Row(label, _text(pair.a), _text(pair.b)) for label, pair in rows_of_step(step, common)]
    both = {
        f"{kind} {name}".rstrip(): name
        for kind, pairs in (("input", step.inputs), ("output", step.outputs))
        for name, pair in pairs.items()
        if _is_file(pair) and "://" not in name
    }
    return [Row(row.label, row.a, row.b, both.get(row.label, "")) for row in rows]


def _is_file(pair: Pair) -> bool:
    return all(isinstance(side, str) and len(side) == 64 for side in (pair.a, pair.b))


def _text(value: Any) -> str:
    if value is MISSING:
        return NONE
    if isinstance(value, str | Bare):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=repr)


def _lines_of(side: Side, name: str, digest: str) -> tuple[list[str], bool]:
    sample = sample_of(find_file(side.dag_id, side.found.run_id, name, digest).stored())
    found = text_of(sample)
    if found is None:
        raise PageError(415, f"{name} is no text", "Look at each file by its own page.")
    return found[0].splitlines(), sample.is_whole


def _marked(a: list[str], b: list[str]) -> Iterator[tuple[str, str]]:
    for line in list(difflib.unified_diff(a, b, lineterm="", n=3))[2:]:
        yield line[0], line[1:][:_LONGEST_LINE]
