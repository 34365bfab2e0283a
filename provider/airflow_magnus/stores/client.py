"""One object store as a task uses it: a transfer that failed is tried again where that can help."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from airflow_magnus.stores.objects import PATIENCE, first_part, reopened
from airflow_magnus.stores.parallel import MOST, Budget, Buffers, Pace

log = logging.getLogger(__name__)

MEMORY = 64 * 1024 * 1024
"""Bytes of files that transfers hold in memory, all together."""
_RENEWALS = 3
"""How often new credentials are asked for because of one request; those that never change are refused soon."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.1, 15.0
_EXPIRED = ("ExpiredToken", "TokenRefreshRequired", "RequestExpired", "RequestTimeTooSkewed")
# What obstore does not try again: answers that are no server error by their number, and bodies that are not whole.
_PASSING = (
    "RequestTimeout",
    "IncompleteBody",
    "BadDigest",
    "OperationAborted",
    "NoSuchUpload",
    "error decoding response body",
    "error reading a body",
    "end of file before message length reached",
    "connection closed",
    "Connection reset",
    "Broken pipe",
    "error sending request",
    "request or response body error",
    "Got invalid",
)
_LASTING = ("NoSuchBucket", "dns error", "certificate", "tcp connect error")

R = TypeVar("R")


class ObjectClient:
    """An obstore store with one memory of how busy it may be kept.

    obstore tries again what a server answers with 429 or 5xx and what a network breaks, with growing pauses, and goes
    on with a body where it was cut. This adds what it leaves out, and credentials that the server calls expired.

    :param store: any obstore store.
    :param patience: seconds for which a request that fails is tried again, all in all.
    :param most: requests at a time, at most.
    """

    def __init__(self, store: Any, *, patience: float = PATIENCE.total_seconds(), most: int = MOST) -> None:
        self.store = store
        self.pace = Pace(most)
        self.budget = Budget(MEMORY)
        self.buffers = Buffers()
        self.seconds = 1.0
        """What a request takes, without what happens to one of them."""
        self._patience = patience
        self._lock = threading.Lock()

    def run(self, work: Callable[[Any], R]) -> R:
        """Give what ``work`` gives when it is called with the store; it may be called again after a passing fault."""
        from obstore.exceptions import BaseError

        deadline = time.monotonic() + self._patience
        longest = _SHORTEST_PAUSE
        renewals = 0
        while True:
            store = self.store
            began = time.perf_counter()
            try:
                given = work(store)
                self.seconds = min(time.perf_counter() - began, 2 * self.seconds)
                return given
            except (BaseError, OSError) as error:
                if getattr(error, "errno", None) is not None:  # of a file, not of the store
                    raise
                text = first_part(str(error))
                if renewals < _RENEWALS and any(mark in str(error) for mark in _EXPIRED):
                    log.warning("the credentials are renewed, as the store refused them: %s", text)
                    renewals += 1
                    self._renew(store)
                    continue
                pause = random.uniform(longest / 2, longest)
                if not is_passing(error) or time.monotonic() + pause > deadline:
                    raise
                log.warning("tried again in %.1f s: %s", pause, text)
            time.sleep(pause)
            longest = min(longest * 2, _LONGEST_PAUSE)

    def _renew(self, store: Any) -> None:
        """Open the store anew: obstore keeps credentials until the end that was told to it."""
        with self._lock:
            if store is not self.store or not hasattr(store, "credential_provider"):
                return
            renew = getattr(store.credential_provider, "renew", None)
            if renew is not None:
                renew()
            self.store = reopened(store)


def is_passing(error: BaseException) -> bool:
    """Whether the same request may succeed a little later, though obstore has given up."""
    text = str(error)
    return any(mark in text for mark in _PASSING) and not any(mark in text for mark in _LASTING)
