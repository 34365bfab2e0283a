"""Where a run stands among all runs when they are shown as folders: ``<pipeline>/<day>/<run id>``."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow_magnus.runlog.records import RunHeader

LEVELS = 2
"""Folders above a run: its pipeline and its day, in UTC."""
_UNKNOWN = "unknown"


def place_of_run(header: RunHeader) -> tuple[str, str, str]:
    """The names of a run's folder and of those above it, from the top; none holds a slash."""
    try:
        day = datetime.fromisoformat(header.started).astimezone(UTC).date().isoformat()
    except ValueError:
        day = _UNKNOWN
    return header.pipeline.replace("/", "%2F") or _UNKNOWN, day, header.run_id
