"""How ``magnus execute`` tells of a failed step: what the user's code did, without the frames of Airflow around it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import Any

_EVENT = "Task failed with exception"
_AROUND = (str(Path(__file__).parents[1]), "/airflow/", "/contextlib.py", "/functools.py")
"""Parts of the names of files whose frames say nothing of the user's code."""


def tell_shortly() -> None:
    """Shorten what Airflow's log says of failed tasks, in this process."""
    import structlog

    processors = structlog.get_config()["processors"]
    if _shortened not in processors:
        processors.insert(0, _shortened)  # in place: loggers that were made keep the list


def _shortened(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    error = sys.exc_info()[1]
    if event.get("event") != _EVENT or error is None:
        return event
    trimmed = users_frames(error.__traceback__)
    if trimmed is None:
        event.pop("exc_info", None)
        event["event"] = f"failed: {error}" if str(error) else f"failed: {type(error).__name__}"
    else:
        event["exc_info"] = (type(error), error.with_traceback(trimmed), trimmed)
    return event


def users_frames(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame of the user's code on; None when there is none."""
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        if not any(part in name for part in _AROUND):
            return traceback
        traceback = traceback.tb_next
    return None
