"""What ``magnus execute`` says while it runs: a line for each step that has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TextIO
from unittest.mock import patch

from airflow_magnus.runlog.records import ENDS, MARKED, AttemptClosed
from airflow_magnus.stores.attempts import AttemptStore

_MINUTE = 60


@contextmanager
def progress(stream: TextIO) -> Iterator[None]:
    """Write a line for each outcome that this process records meanwhile: what is told is what the run log says."""

    def told(record: Callable[..., None]) -> Callable[..., None]:
        def recorded(store: AttemptStore, run_id: str, closed: AttemptClosed, *rest: Any) -> None:
            record(store, run_id, closed, *rest)
            if text := line(closed):
                stream.write(f"{text}\n")
                stream.flush()

        return recorded

    with (
        patch.object(AttemptStore, "close", told(AttemptStore.close)),
        patch.object(AttemptStore, "append", told(AttemptStore.append)),
    ):
        yield


def line(closed: AttemptClosed) -> str:
    """An outcome in a line: name, status, time. "" of what is no step: an end, a mark that was set from outside."""
    if closed.step.step_type in ENDS or closed.attempt_id.startswith(MARKED):
        return ""
    took = "not run" if closed.mock else _time(closed.start_time, closed.end_time)
    attempt = f"  attempt {closed.number + 1}" if closed.is_attempt and closed.number else ""
    return f"{closed.step.internal_name}  {closed.status}  {took}{attempt}"


def _time(start: str, end: str) -> str:
    seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    return f"{minutes} min {rest:02} s"
