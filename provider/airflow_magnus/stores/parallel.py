"""Many requests at a time: few where they are quick, many where each one waits long."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

MOST = 128
"""Requests at a time, at most."""
FEW = min(8, 4 * len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 8)
"""Requests at a time to begin with: what a quick store and this machine's cores bear."""
TINY = 256 * 1024
"""Bytes that are not counted: as many at a time as there may be hold little."""
_STEP = 4
_WINDOW = 0.012
"""Seconds that a number of requests at a time is tried at least."""
_GAIN = 1.3
"""More at a time must be so much faster, or it is taken back."""

T = TypeVar("T")
R = TypeVar("R")


class Pace:
    """How many requests at a time a store is worth; found out while they are made, and kept for the next ones.

    It grows by four as long as that makes the whole faster by a third. On a store that answers at once it stays where
    it began, as more threads only get in each other's way; where a request takes 20 ms it is 128 after two of them.

    :param most: the limit; 1 for one after the other.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = max(1, most)
        self.now = min(FEW, self.most)
        self._is_settled = False
        self._best = 0.0
        self._before = self.now
        self._done = 0
        self._since = 0.0

    def begin(self) -> None:
        """Start a window of measurement."""
        self._done, self._since = 0, time.monotonic()

    def count(self) -> bool:
        """One request has ended; whether :attr:`now` has changed. Not to be called by two threads at once."""
        self._done += 1
        if self._is_settled or self._done < self.now:
            return False
        took = time.monotonic() - self._since
        if took < _WINDOW:
            return False
        rate = self._done / took
        if rate < self._best * _GAIN:
            self._is_settled = True
            self.now = self._before
        else:
            self._best, self._before = rate, self.now
            self.now = min(self.now * _STEP, self.most)
            self._is_settled = self.now == self._before
        self.begin()
        return True


class Budget:
    """Bytes that transfers may hold in memory, all together."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._changed = threading.Condition()

    @contextmanager
    def of(self, size: int) -> Iterator[None]:
        """Wait until ``size`` bytes are free and hold them; more than there are counts as all, little as nothing."""
        size = min(size, self._size) if size > TINY else 0
        if not size:
            yield
            return
        with self._changed:
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()


def in_parallel(
    work: Callable[[T], R],
    items: Iterable[T],
    pace: Pace | None = None,
) -> list[R]:
    """``work`` on every item, several at a time, results in the order of the items; the first error stops it."""
    todo = list(items)
    if len(todo) < 2:
        return [work(item) for item in todo]
    return _Run(work, todo, pace or Pace()).results()


class _Run:
    """Threads that take one item after the other; fewer or more of them as the pace says."""

    def __init__(self, work: Callable[[T], R], todo: list[T], pace: Pace) -> None:
        self._work = work
        self._todo = iter(enumerate(todo))
        self._results: list[R | None] = [None] * len(todo)
        self._pace = pace
        self._lock = threading.Lock()
        self._threads: set[Future[None]] = set()
        self._at_work = 0
        self._ended = 0
        self._is_stopped = False

    def results(self) -> list[R]:
        most = min(self._pace.most, len(self._results))
        with ThreadPoolExecutor(most, thread_name_prefix="magnus-transfer") as self._pool:
            try:
                with self._lock:
                    self._pace.begin()
                    self._add_threads()
                while True:
                    with self._lock:
                        threads = set(self._threads)
                    wait(threads, return_when=FIRST_EXCEPTION)
                    if any(thread.exception() for thread in threads if thread.done()):
                        break
                    with self._lock:
                        if self._threads == threads:
                            break
            finally:
                # Also when this thread is interrupted: what has not begun does not begin.
                self._is_stopped = True
        for thread in self._threads:
            thread.result()
        return self._results  # type: ignore[return-value]

    def _add_threads(self) -> None:
        for _ in range(min(self._pace.now, len(self._results) - self._ended) - self._at_work):
            self._at_work += 1
            self._threads.add(self._pool.submit(self._take_turns))

    def _take_turns(self) -> None:
        while True:
            with self._lock:
                taken = None if self._at_work > self._pace.now else next(self._todo, None)
                if taken is None or self._is_stopped:
                    self._at_work -= 1
                    return
            index, item = taken
            try:
                self._results[index] = self._work(item)
            except BaseException:
                self._is_stopped = True
                raise
            with self._lock:
                self._ended += 1
                if self._pace.count() and not self._is_stopped:
                    self._add_threads()
