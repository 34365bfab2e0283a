"""The parts of runs that go on, read once by a server that shows them again and again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from airflow_magnus.runlog import layout
from airflow_magnus.stores.parts import PartStore

MOST = 64_000_000
"""Characters that are remembered, of all runs together; the run that was looked at last is remembered however large."""


class RememberedParts:
    """A part store that reads no part of a step twice: those are written once and never changed.

    :param texts: key → what was read, of one run; it grows.
    """

    def __init__(self, parts: PartStore, texts: dict[str, str]) -> None:
        self._parts = parts
        self._texts = texts
        self.location = parts.location

    def create(self, key: str, text: str) -> bool:
        """As of :class:`PartStore`."""
        return self._parts.create(key, text)

    def put(self, key: str, text: str) -> None:
        """As of :class:`PartStore`."""
        self._parts.put(key, text)

    def read(self, keys: Iterable[str]) -> Mapping[str, str]:
        """As of :class:`PartStore`. Cost: 1 request for each key that is no part of a step, or was not read before."""
        wanted = list(keys)
        read = self._parts.read([key for key in wanted if key not in self._texts])
        self._texts.update({key: text for key, text in read.items() if layout.parse_part(key)})
        found = {key: read.get(key, self._texts.get(key)) for key in wanted}
        return {key: text for key, text in found.items() if text is not None}

    def list_keys(self, prefix: str) -> list[str]:
        """As of :class:`PartStore`."""
        return self._parts.list_keys(prefix)

    def list_runs(self) -> list[str]:
        """As of :class:`PartStore`."""
        return self._parts.list_runs()


class PartsMemory:
    """What is remembered of runs, the one that was looked at last at the end."""

    def __init__(self) -> None:
        self._runs: OrderedDict[tuple[str, str], dict[str, str]] = OrderedDict()
        self._lock = threading.Lock()

    def of_run(self, parts: PartStore, token: str) -> RememberedParts:
        """The parts of a run.

        :param token: of the run's header: a run that was removed and made again has another one.
        """
        place = (parts.location, token)
        with self._lock:
            texts = self._runs.setdefault(place, {})
            self._runs.move_to_end(place)
            sizes = {one: sum(map(len, list(known.values()))) for one, known in self._runs.items()}
            for one in list(self._runs)[:-1]:
                if sum(sizes.values()) <= MOST:
                    break
                del self._runs[one], sizes[one]
        return RememberedParts(parts, texts)
