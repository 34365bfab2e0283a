"""The lines of ``magnus execute`` on steps that have ended."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_magnus.dags.progress import line
from airflow_magnus.runlog.records import MARKED, AttemptClosed, StepIdentity


def closed(kind: str = "task", end: str = "10:00:00.250000", **fields: Any) -> AttemptClosed:
    step = StepIdentity(name="train", internal_name="each.a.train", graph_name="each.a", step_type=kind)
    times = {"start_time": "2026-01-01 10:00:00.000000+00:00", "end_time": f"2026-01-01 {end}+00:00"}
    return AttemptClosed(
        **{"step": step, "number": 0, "attempt_id": "1", "status": "SUCCESS", **times, **fields}
    )


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (closed(), "each.a.train  SUCCESS  0.2 s"),
        (closed(end="10:00:59.900000", status="FAIL"), "each.a.train  FAIL  59.9 s"),
        (closed(end="11:02:05.400000"), "each.a.train  SUCCESS  62 min 05 s"),
        (closed(number=1), "each.a.train  SUCCESS  0.2 s  attempt 2"),
        (closed("map", number=1, is_attempt=False), "each.a.train  SUCCESS  0.2 s"),
        (closed(mock=True), "each.a.train  SUCCESS  not run"),
        (closed("success"), ""),
        (closed("fail"), ""),
        (closed(attempt_id=f"{MARKED}1"), ""),
    ],
)
def test_line_says_name_status_and_time(outcome: AttemptClosed, text: str) -> None:
    assert line(outcome) == text
