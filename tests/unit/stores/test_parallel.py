"""How many requests are made at a time."""

from __future__ import annotations

import threading
import time

import pytest

from airflow_magnus.stores import parallel
from airflow_magnus.stores.parallel import FEW, MOST, Budget, Pace, in_parallel


class Busy:
    """A store that answers after a while, as often as it is asked or only one request after the other."""

    def __init__(self, seconds: float, *, is_serial: bool = False) -> None:
        self._seconds = seconds
        self._one = threading.Lock() if is_serial else None
        self._count = threading.Lock()
        self.now = self.most = 0

    def __call__(self, number: int) -> int:
        with self._count:
            self.now += 1
            self.most = max(self.most, self.now)
        if self._one is None:
            time.sleep(self._seconds)
        else:
            with self._one:
                time.sleep(self._seconds)
        with self._count:
            self.now -= 1
        return number


def test_many_at_a_time_where_each_takes_long() -> None:
    busy, pace = Busy(0.05), Pace()
    assert in_parallel(busy, range(600), pace) == list(range(600))
    assert pace.now == MOST
    assert busy.most == MOST


def test_few_at_a_time_where_more_are_no_faster() -> None:
    busy, pace = Busy(0.002, is_serial=True), Pace()
    in_parallel(busy, range(300), pace)
    assert pace.now == FEW
    busy.most = 0
    in_parallel(busy, range(100), pace)
    assert busy.most <= FEW


def test_what_was_found_out_is_kept() -> None:
    pace = Pace()
    in_parallel(Busy(0.03), range(400), pace)
    busy = Busy(0.03)
    in_parallel(busy, range(MOST), pace)
    assert busy.most == MOST


@pytest.mark.parametrize("most", [1, 3])
def test_never_more_than_allowed(most: int) -> None:
    busy = Busy(0.01)
    in_parallel(busy, range(60), Pace(most))
    assert busy.most == most


def test_each_end_is_told() -> None:
    told: list[int] = []
    in_parallel(Busy(0.001), range(50), ended=told.append)
    assert told == list(range(1, 51))


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
