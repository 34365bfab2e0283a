"""Wait until an engine has sent everything."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from airflow_magnus.mount.engine import Engine, Unsaved
from airflow_magnus.mount.faults import UnsavedError, some
from airflow_magnus.mount.holders import holders
from airflow_magnus.mount.places import Place

_SHORTEST, _LONGEST = 0.05, 1.0
"""Seconds between two looks."""
_TRIES = 3
"""How often a file may be sent in vain before that is an error; rclone itself would go on for ever."""


class Saving:
    """The wait for one bucket.

    :param patience: seconds to wait for files that programs hold open, while nothing else happens.
    :param until: by the monotonic clock; None: no end.
    :param check: raises when there is no more hope.
    """

    def __init__(
        self, engine: Engine, place: Place, patience: float, until: float | None, check: Callable[[], None]
    ) -> None:
        self._engine, self._place, self._patience = engine, place, patience
        self._until, self._check = until, check
        self._tries: dict[str, int] = {}

    def wait(self) -> None:
        """Wait until nothing is left.

        :raises UnsavedError: names the files that cannot be saved.
        """
        delay, still = _SHORTEST, time.monotonic() + self._patience
        while True:
            self._check()
            left = self._engine.hurry(self._place)
            if not left:
                return
            self._give_up_refused(left)
            now = time.monotonic()
            if not all(file.is_open for file in left):
                still = now + self._patience
            elif now >= still:
                raise UnsavedError(f"programs still hold files open that they write to: {self._open(left)}")
            if self._until is not None and now >= self._until:
                raise UnsavedError(f"{len(left)} files are not saved in time: {_names(left)}")
            time.sleep(delay)
            delay = min(delay * 1.3, _LONGEST)

    def _give_up_refused(self, left: Sequence[Unsaved]) -> None:
        refused = [
            file for file in left if file.tries - self._tries.setdefault(file.name, file.tries) >= _TRIES
        ]
        if refused:
            said = self._place.last_words() or "nothing"
            raise UnsavedError(
                f"{len(refused)} files were sent {_TRIES} times in vain: {_names(refused)}; {self._engine.name} says: {said}"
            )

    def _open(self, left: Sequence[Unsaved]) -> str:
        by = some([*map(str, holders(self._place.mountpoint))]) or "a process that this user may not look at"
        return f"{_names(left)}, by {by}; end them before the step ends"


def _names(files: Sequence[Unsaved]) -> str:
    return some([repr(file.name) for file in files])
