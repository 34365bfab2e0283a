"""Many requests at a time: few where they are quick, many where each one waits long."""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import count
from typing import TypeVar

MOST = 128
"""Requests at a time, at most."""
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
FEW = min(8, 2 * CORES)
"""Requests at a time to begin with: what a quick store and this machine's cores bear."""
TINY = 256 * 1024
"""Bytes that are not counted: as many at a time as there may be hold little."""
_WINDOW = 0.008
"""Seconds that a number of requests at a time is looked at, at least."""
_RATE = 6_000
"""Requests a second that are worth having; a number at a time is guessed from it and from what one takes."""
_BUSY = 0.5
"""Share of the cores that this process uses, above which more requests at a time would only wait for them."""
_USABLE = 4
"""Cores that the threads of one Python can keep busy, at most."""
_GAIN = 1.3
"""More at a time must be so much faster, or it is taken back."""

T = TypeVar("T")
R = TypeVar("R")


class Pace:
    """How many requests at a time a store is worth; found out while they are made, and kept for the next ones.

    It grows while requests wait for the store, which leaves the cores idle, and as long as that makes the whole faster
    by a third. On a store that answers at once it stays where it began, as more threads only get in each other's way;
    where a request takes 20 ms it is 120 after two of them.

    :param most: the limit; 1 for one after the other.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = max(1, most)
        self.now = min(FEW, self.most)
        self._is_settled = self.now == self.most
        self._is_warm = False
        self._before: tuple[int, float] | None = None
        self._lock = threading.Lock()
        self.begin()

    def begin(self) -> None:
        """Start a window of measurement."""
        # The next value of a counter is taken in one step: threads that end a request do not wait for each other.
        self._done = count(1)
        self._since, self._used = time.monotonic(), time.process_time()

    def count(self) -> bool:
        """One request has ended; whether :attr:`now` has changed."""
        done = next(self._done)
        if self._is_settled or done < self.now or not self._lock.acquire(blocking=False):
            return False
        try:
            if not self._is_warm:  # the first requests open connections, and say little
                self._is_warm = True
                self.begin()
                return False
            took = time.monotonic() - self._since
            if took < _WINDOW or self._is_settled:
                return False
            busy = (time.process_time() - self._used) / took / min(CORES, _USABLE)
            before, self.now = self.now, self._next(done / took, busy)
            self.begin()
            return self.now != before
        finally:
            self._lock.release()

    def _next(self, rate: float, busy: float) -> int:
        """How many at a time after a window with so many requests a second and that share of the cores used."""
        if self._before is not None and rate < self._before[1] * _GAIN:
            self._is_settled = True
            return self._before[0]
        self._before = None
        wanted = min(int(_RATE * self.now / rate), self.most)
        if busy > _BUSY or wanted < 2 * self.now:
            return self.now
        self._before = (self.now, rate)
        return wanted


_NOTHING = nullcontext()


class Budget:
    """Bytes that transfers may hold in memory, all together."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._changed = threading.Condition()

    def of(self, size: int) -> AbstractContextManager[None]:
        """Wait until ``size`` bytes are free and hold them; more than there are counts as all, little as nothing."""
        return self._hold(min(size, self._size)) if size > TINY else _NOTHING

    @contextmanager
    def _hold(self, size: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()


class Buffers:
    """Memory for whole files, used again for the next one: the system gives it, page by page, at a price."""

    def __init__(self) -> None:
        self._free: list[mmap.mmap] = []

    def of(self, size: int) -> AbstractContextManager[memoryview | None]:
        """At least so many bytes while the block goes on; None: so few that Python's own memory does."""
        return self._hold(size) if size > TINY else _NOTHING

    @contextmanager
    def _hold(self, size: int) -> Iterator[memoryview]:
        try:
            buffer = self._free.pop()
        except IndexError:
            buffer = mmap.mmap(-1, size)
        if len(buffer) < size:
            buffer = mmap.mmap(-1, size)
        try:
            yield memoryview(buffer)
        finally:
            self._free.append(buffer)

    def release(self) -> None:
        """Give the memory back."""
        self._free.clear()


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
        self._left = len(todo)
        self._threads: set[Future[None]] = set()
        self._at_work = 0
        self._is_stopped = False

    def results(self) -> list[R]:
        most = min(self._pace.most, len(self._results))
        with ThreadPoolExecutor(most, thread_name_prefix="magnus-transfer") as self._pool:
            try:
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
                with self._lock:
                    self._is_stopped = True
        for thread in self._threads:
            thread.result()
        return self._results  # type: ignore[return-value]

    def _add_threads(self) -> None:
        with self._lock:
            wanted = 0 if self._is_stopped else min(self._pace.now, self._left)
            for _ in range(wanted - self._at_work):
                self._at_work += 1
                self._threads.add(self._pool.submit(self._take_turns))

    def _take_turns(self) -> None:
        while not self._is_stopped and not self._is_one_too_many():
            taken = next(self._todo, None)  # one step, as the next value of a counter
            if taken is None:
                return
            index, item = taken
            self._left = len(self._results) - index
            try:
                self._results[index] = self._work(item)
            except BaseException:
                self._is_stopped = True
                raise
            if self._pace.count():
                self._add_threads()

    def _is_one_too_many(self) -> bool:
        """Whether this thread is to end, as the pace has gone down."""
        if self._at_work <= self._pace.now:
            return False
        with self._lock:
            is_so = self._at_work > self._pace.now
            self._at_work -= is_so
        return is_so
