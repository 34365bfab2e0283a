"""Asking a store again that could not answer: for what the gateway itself asks when a step has ended."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from airflow_magnus.gateway.faults import S3Error

_LONGEST = 300.0
_PAUSES = (0.2, 20.0)
"""Seconds before it is asked again: at first, and at most."""

T = TypeVar("T")


async def persistently(action: Callable[[], Awaitable[T]]) -> T:
    """Do what may be done twice, again for five minutes while the store fails.

    :raises S3Error: that of the last time; what is no failure of the store's at once.
    """
    end, pause = time.monotonic() + _LONGEST, _PAUSES[0]
    while True:
        try:
            return await action()
        except S3Error as fault:
            if not (fault.status >= 500 or fault.status == 429) or time.monotonic() + pause > end:
                raise
        await asyncio.sleep(pause * random.uniform(0.5, 1))
        pause = min(pause * 2, _PAUSES[1])
