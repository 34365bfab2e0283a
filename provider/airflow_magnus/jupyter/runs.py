"""The folder of runs: ``<pipeline>/<date>/<run id>/<files>``, read from a run log and a catalog; it cannot be written to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_magnus.errors import RunNotFoundError
from airflow_magnus.jupyter.bucket import Fact
from airflow_magnus.jupyter.models import NO_TIME
from airflow_magnus.jupyter.run_stores import RunFile, RunStores
from airflow_magnus.jupyter.tree import Entry
from airflow_magnus.runlog.run_places import LEVELS, place_of_run

if TYPE_CHECKING:
    from airflow_magnus.jupyter.base import ContentsBase

R = TypeVar("R")


class Runs:
    """The runs of a run log as folders.

    :param root: the path of the folder of runs.
    """

    def __init__(self, root: str, stores: RunStores) -> None:
        self._root, self._stores = root, stores
        self._lock = asyncio.Lock()

    @classmethod
    def of(cls, manager: ContentsBase) -> Runs:
        """Those that the settings of a contents manager name."""
        defaults: dict[str, Any] = {
            "endpoint_url": "" if manager.is_aws else manager.endpoint,
            "region": manager.aws_region,
            "addressing_style": manager.addressing_style,
            "verify": manager.verify,
        }
        stores = RunStores(
            manager.run_log, manager.catalog, defaults, lambda: manager.authentication_class(parent=manager)
        )
        return cls(manager.runs_folder, stores)

    async def fact(self, path: str) -> Fact | None:
        """What is known of a file; None where there is none."""
        file = await self._file(path)
        if file is None:
            return None
        return Fact(file.entry.size or 0, file.entry.data_hash, file.recorded or NO_TIME)

    async def entries(self, path: str) -> list[Entry] | None:
        """What is in a folder; None where there is none."""
        above = self._segments(path)
        if len(above) <= LEVELS:
            headers = await self._ask(self._stores.headers)
            places = [place_of_run(header) for header in headers]
            found = {place[len(above)] for place in places if list(place[: len(above)]) == above}
            return [Entry(name, None) for name in sorted(found)] if found or not above else None
        files = await self._files(above)
        return None if files is None else _in_folder(files.items(), "/".join(above[LEVELS + 1 :]))

    async def read(self, path: str) -> bytes:
        """The bytes of a file that is there."""
        file = await self._file(path)
        if file is None:
            raise RunNotFoundError(f"there is no file {path!r} any more")
        return await asyncio.to_thread(self._stores.read, file)

    def _segments(self, path: str) -> list[str]:
        """What stands behind the folder of runs in a path."""
        return [segment for segment in path.removeprefix(self._root).split("/") if segment]

    async def _file(self, path: str) -> RunFile | None:
        above = self._segments(path)
        if len(above) <= LEVELS + 1:
            return None
        files = await self._files(above)
        return (files or {}).get("/".join(above[LEVELS + 1 :]))

    async def _files(self, above: list[str]) -> dict[str, RunFile] | None:
        """The files of the run that a path leads to; None when it leads to none."""
        place = tuple(above[: LEVELS + 1])
        headers = await self._ask(self._stores.headers)
        run_id = next((header.run_id for header in headers if place_of_run(header) == place), None)
        if run_id is None:
            return None
        try:
            return await self._ask(partial(self._stores.files, run_id))
        except RunNotFoundError:
            return None

    async def _ask(self, call: Callable[[], R]) -> R:
        """What the stores say; one question after the other, so that many requests of a page are answered by one."""
        async with self._lock:
            return await asyncio.to_thread(call)


def _in_folder(files: Iterable[tuple[str, RunFile]], folder: str) -> list[Entry] | None:
    """What is in a folder of a run; None where none of its files lies there."""
    prefix = f"{folder}/" if folder else ""
    found: dict[str, Entry] = {}
    for name, file in files:
        if not name.startswith(prefix):
            continue
        first, slash, _ = name.removeprefix(prefix).partition("/")
        fact = Fact(file.entry.size or 0, file.entry.data_hash, file.recorded or NO_TIME)
        found[first] = Entry(first, None if slash else fact)
    return list(found.values()) if found or not folder else None
