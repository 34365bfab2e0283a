"""How far a command has come: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

from airflow_magnus.runlog.plan_text import size_text

_EVERY = 15.0
"""Seconds between two lines of a log."""


class Progress(Protocol):
    """Told what is to be done, and what is done. Calls may come from any thread."""

    def begin(self, files: int, size: int) -> None:
        """So many files and bytes more are to be done."""

    def end(self, size: int, files: int = 1) -> None:
        """So many files and bytes more are done."""


@contextmanager
def shown_progress(what: str, stream: TextIO | None = None) -> Iterator[Progress]:
    """Tell on standard error how far ``what`` has come; the bar is gone when it has ended."""
    stream = stream or sys.stderr
    if not stream.isatty():
        yield Lines(what, stream)
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    with _bars(
        stream,
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[files]}/{task.fields[of]} files"),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    ) as bars:
        yield _Bar(what, bars)


@contextmanager
def shown_work(what: str, stream: TextIO | None = None) -> Iterator[None]:
    """Show on a terminal that ``what`` goes on, where nobody knows how far it has come."""
    stream = stream or sys.stderr
    if not stream.isatty():
        yield
        return
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with _bars(stream, *columns) as bars:
        bars.add_task(what, total=None)
        yield


def _bars(stream: TextIO, *columns: Any) -> Any:
    from rich.console import Console
    from rich.progress import Progress as Bars

    # Standard output is the result's: rich would print on the bar's console what is written there meanwhile.
    return Bars(
        *columns, console=Console(file=stream), transient=True, redirect_stdout=False, redirect_stderr=False
    )


class _Bar:
    def __init__(self, what: str, bars: Any) -> None:
        self._lock = threading.Lock()
        self._bars = bars
        self._of = self._files = self._size = 0
        self._task = bars.add_task(what, total=None, files=0, of=0)

    def begin(self, files: int, size: int) -> None:
        with self._lock:
            self._of += files
            self._size += size
            self._bars.update(self._task, total=self._size, of=self._of)

    def end(self, size: int, files: int = 1) -> None:
        with self._lock:
            self._files += files
            self._bars.update(self._task, advance=size, files=self._files)


class Lines:
    """Plain lines, none of what takes no time."""

    def __init__(self, what: str, stream: TextIO) -> None:
        self._what = what
        self._stream = stream
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
            if time.monotonic() - self._told < _EVERY:
                return
            self._told = time.monotonic()
            self._stream.write(
                f"{self._what}: {self._files:,} of {self._of:,} files, "
                f"{size_text(self._size)} of {size_text(self._all)}\n"
            )
            self._stream.flush()
