"""Many requests at a time, as few as a limit says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any


async def at_once(calls: Iterable[Callable[[], Awaitable[Any]]], most: int) -> None:
    """Make all calls, at most ``most`` at a time. The first that fails ends the others, and is raised."""
    waiting = iter(calls)

    async def work() -> None:
        for call in waiting:
            await call()

    workers = [asyncio.create_task(work()) for _ in range(most)]
    try:
        await asyncio.gather(*workers)
    except BaseException:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        raise
