"""The indexes of stores as this server has them open: read in threads of their own, kept in memory up to a limit."""

from __future__ import annotations

import functools
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from airflow_magnus.errors import MagnusError
from airflow_magnus.hooks.description import Description
from airflow_magnus.runlog.index_view import IndexView
from airflow_magnus.stores.run_index import IndexMemory, RunIndex
from airflow_magnus.stores.runlogs import RunLogStore
from airflow_magnus.ui.responses import PageError
from airflow_magnus.ui.run_stores import open_stores

log = logging.getLogger(__name__)

MOST_BYTES = 256 * 1024 * 1024
"""How much of indexes is kept in memory. One that is asked for is kept, however large."""
LONGEST = 15.0
"""Seconds that are waited for a store; the others are shown without it then."""
_REOPENED = 30.0
"""Seconds after which a store is opened anew, as its connection may have been changed."""
_AT_ONCE = 8
_UNREADABLE = "its run log store cannot be read; the log of Airflow's API server says why"
_LATE = f"its run log store did not answer within {LONGEST:.0f} seconds"


@dataclass(frozen=True)
class Opened:
    """An index that was read.

    :param key: tells its store from others.
    """

    key: str
    view: IndexView


@dataclass(frozen=True)
class _Store:
    run_log: RunLogStore
    key: str
    opened_at: float


class OpenIndexes:
    """The indexes of a server."""

    def __init__(self) -> None:
        self._stores: dict[str, _Store] = {}
        self._memories: OrderedDict[str, IndexMemory] = OrderedDict()
        self._going_on: dict[str, Future[Opened]] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="magnus-index")

    def read(self, descriptions: Sequence[Description]) -> list[Opened | str]:
        """The index of each description's run log; or why it cannot be read, in words without paths."""
        names = [_name(one) for one in descriptions]
        futures = {name: self._begun(name, one) for name, one in zip(names, descriptions, strict=True)}
        wait(futures.values(), LONGEST)
        results = {name: self._result(future) for name, future in futures.items()}
        self._shrink({found.key for found in results.values() if isinstance(found, Opened)})
        return [results[name] for name in names]

    def _begun(self, name: str, description: Description) -> Future[Opened]:
        """The reading of a store: one that has not ended is waited for instead of another one."""
        with self._lock:
            there = self._going_on.get(name)
            if there is None or there.done():
                there = self._going_on[name] = self._pool.submit(self._read, name, description)
            return there

    def _result(self, future: Future[Opened]) -> Opened | str:
        if not future.done():
            return _LATE
        error = future.exception()
        if isinstance(error, PageError):
            return error.title
        if isinstance(error, MagnusError | OSError | ValueError):
            log.warning("the index of a run log cannot be read", exc_info=error)
            return _UNREADABLE
        return future.result()

    def _read(self, name: str, description: Description) -> Opened:
        store = self._stores.get(name)
        if store is None or time.monotonic() - store.opened_at > _REOPENED:
            store = self._stores[name] = _opened(description)
        with self._lock:
            memory = self._memories.setdefault(store.key, IndexMemory())
            self._memories.move_to_end(store.key)
        return Opened(store.key, RunIndex(store.run_log, memory).view())

    def _shrink(self, wanted: set[str]) -> None:
        """Forget the indexes that were not asked for the longest, while all are too large."""
        with self._lock:
            sizes = {key: memory.size for key, memory in self._memories.items()}
            for key in list(self._memories):
                if sum(sizes.values()) <= MOST_BYTES:
                    break
                if key not in wanted:
                    del self._memories[key], sizes[key]


def _name(description: Description) -> str:
    """What tells the run log of a description from others, before it is opened."""
    sources = description.sources
    settings = {
        name: sources.settings[name] for name in ("run_log_store", "secrets") if name in sources.settings
    }
    told = {
        "settings": {name: (one.type, dict(one.config)) for name, one in settings.items()},
        "connections": dict(sources.connections),
        "folder": str(sources.folder) if settings else "",
        "withheld": description.withheld.get("run_log_store", ""),
    }
    return json.dumps(told, sort_keys=True, default=str)


def _opened(description: Description) -> _Store:
    """The run log of a description, open; its catalog is not looked at."""
    sources = description.sources
    settings = {
        name: sources.settings[name] for name in ("run_log_store", "secrets") if name in sources.settings
    }
    withheld = {name: why for name, why in description.withheld.items() if name == "run_log_store"}
    alone = replace(description, sources=replace(sources, settings=settings), withheld=withheld)
    services = open_stores(alone)
    chosen = json.dumps(services.run_config.get("run_log_store"), sort_keys=True, default=str)
    return _Store(services.run_log, f"{services.run_log.location} {chosen}", time.monotonic())


def open_indexes(descriptions: Sequence[Description]) -> list[Opened | str]:
    """The index of each description's run log, as of :meth:`OpenIndexes.read`."""
    return _all().read(descriptions)


@functools.cache
def _all() -> OpenIndexes:
    return OpenIndexes()
