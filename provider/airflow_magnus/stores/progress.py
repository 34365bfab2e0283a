"""How far transfers have come, for people who wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from airflow_magnus.runlog.plan_text import size_text

EVERY = 15.0
"""Seconds between two lines."""


class Progress(Protocol):
    """Told what is to be done, and what is done. Calls may come from any thread."""

    def begin(self, files: int, size: int) -> None:
        """So many files and bytes more are to be done."""

    def end(self, size: int, files: int = 1) -> None:
        """So many files and bytes more are done."""


class Lines:
    """A line now and then; none of what takes no time.

    :param tell: is given each line.
    """

    def __init__(self, what: str, tell: Callable[[str], object]) -> None:
        self._what = what
        self._tell = tell
        self._lock = threading.Lock()
        self._of = self._all = self._files = self._size = 0
        self._told = time.monotonic()

    def begin(self, files: int, size: int) -> None:
        with self._lock:
            self._of += files
            self._all += size

    def end(self, size: int, files: int = 1) -> None:
        with self._lock:
            self._files += files
            self._size += size
            if time.monotonic() - self._told < EVERY:
                return
            self._told = time.monotonic()
            self._tell(
                f"{self._what}: {self._files:,} of {self._of:,} files, "
                f"{size_text(self._size)} of {size_text(self._all)}"
            )
