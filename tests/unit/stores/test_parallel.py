"""How many requests are made at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from airflow_magnus.stores import parallel
from airflow_magnus.stores.parallel import FEW, MOST, Budget, Pace, in_parallel


class Busy:
    """A store that answers after a while, however often it is asked."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._count = threading.Lock()
        self.now = self.most = 0

    def __call__(self, number: int) -> int:
        with self._count:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self._seconds)
        with self._count:
            self.now -= 1
        return number


def test_many_at_a_time_where_each_takes_long() -> None:
    busy = Busy(0.05)
    assert in_parallel(busy, range(600)) == list(range(600))
    assert busy.most > FEW


class Clock:
    """A store that serves so many requests a second, however many there are at a time; and its time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, busy: float = 0) -> None:
        self.now = 0.0
        monkeypatch.setattr(parallel, "CORES", 2)
        monkeypatch.setattr(parallel.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(parallel.time, "process_time", lambda: self.now * busy * 2)

    def serve(self, pace: Pace, count: int, rate: Callable[[int], float]) -> list[int]:
        """The numbers at a time that the pace tried."""
        tried = [pace.now]
        pace.begin()
        for _ in range(count):
            self.now += 1 / rate(pace.now)
            pace.count()
            if pace.now != tried[-1]:
                tried.append(pace.now)
        return tried


def test_few_at_a_time_where_the_store_answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, pace = Clock(monkeypatch), Pace()
    assert clock.serve(pace, 1_000, lambda at_once: FEW * 1_600) == [FEW]


def test_few_at_a_time_where_more_are_no_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, pace = Clock(monkeypatch), Pace()
    assert clock.serve(pace, 1_000, lambda at_once: 2_000) == [FEW, 3 * FEW, FEW]
    assert clock.serve(pace, 1_000, lambda at_once: 10) == [FEW], "once is enough"


def test_few_at_a_time_where_the_cores_are_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, pace = Clock(monkeypatch, busy=0.6), Pace()
    assert clock.serve(pace, 1_000, lambda at_once: at_once / 0.02) == [FEW]


def test_as_many_at_a_time_as_make_it_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, pace = Clock(monkeypatch), Pace()
    assert clock.serve(pace, 2_000, lambda at_once: at_once / 0.02) == [FEW, 120]
    pace = Pace()
    assert clock.serve(pace, 2_000, lambda at_once: at_once / 0.03) == [FEW, MOST]
    pace = Pace()
    served = clock.serve(pace, 4_000, lambda at_once: min(at_once / 0.00601, 2_500))
    assert served == [FEW, 36, 86, 36]


def test_the_first_requests_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait for connections to be opened, on a store as quick as any."""
    clock, pace = Clock(monkeypatch), Pace()
    pace.begin()
    clock.now += 0.5
    for _ in range(FEW):
        pace.count()
    assert clock.serve(pace, 1_000, lambda at_once: FEW * 1_600) == [FEW]


def test_what_was_found_out_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, pace = Clock(monkeypatch), Pace()
    clock.serve(pace, 2_000, lambda at_once: at_once / 0.03)
    assert clock.serve(pace, 200, lambda at_once: at_once / 0.03) == [MOST]


def test_threads_that_are_too_many_end_and_the_others_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    """All see at once that they are too many; not all of them may go."""
    pace = Pace(40)
    done = threading.Barrier(40)

    def work(number: int) -> int:
        if number < 40:
            done.wait(10)
            pace.now = 1
        return number

    pace.now = 40
    monkeypatch.setattr(pace, "count", lambda: False)
    assert in_parallel(work, range(400), pace) == list(range(400))


@pytest.mark.parametrize("most", [1, 3])
def test_never_more_than_allowed(most: int) -> None:
    busy = Busy(0.01)
    in_parallel(busy, range(60), Pace(most))
    assert busy.most == most


def test_memory_is_shared_and_a_large_piece_waits_for_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "TINY", 0)
    budget = Budget(10)
    held: list[int] = []
    now = 0
    lock = threading.Lock()

    def hold(size: int) -> None:
        nonlocal now
        with budget.of(size):
            with lock:
                now += min(size, 10)
                held.append(now)
            time.sleep(0.002)
            with lock:
                now -= min(size, 10)

    in_parallel(hold, [3, 4, 50, 2, 10, 1] * 10)
    assert max(held) <= 10
    assert now == 0


def test_small_pieces_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "TINY", 4)
    budget = Budget(10)
    with budget.of(10), budget.of(4):
        pass
