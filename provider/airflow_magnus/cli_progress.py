"""How far a command has come: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from airflow_magnus.stores.progress import Lines, Progress


@contextmanager
def shown_progress(what: str, stream: TextIO | None = None) -> Iterator[Progress]:
    """Tell on standard error how far ``what`` has come; the bar is gone when it has ended."""
    stream = stream or sys.stderr
    if not stream.isatty():
        yield Lines(what, lambda line: print(line, file=stream, flush=True))
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
