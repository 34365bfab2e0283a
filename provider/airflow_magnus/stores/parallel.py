"""Many requests at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

THREADS = 8
"""Transfers at a time."""

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(work: Callable[[T], R], items: Iterable[T], threads: int = THREADS) -> list[R]:
    """``work`` on every item, several at a time, results in the order of the items; the first error stops it."""
    todo = list(items)
    if len(todo) < 2:
        return [work(item) for item in todo]
    with ThreadPoolExecutor(min(threads, len(todo)), thread_name_prefix="magnus-transfer") as pool:
        futures = [pool.submit(work, item) for item in todo]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            # Also when this thread is interrupted: what has not begun does not begin.
            for future in futures:
                future.cancel()
        return [future.result() for future in futures if not future.cancelled()]
