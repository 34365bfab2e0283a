"""The servers of one run of the benchmark, each started when it is first asked for."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.servers import ceph, null
from bench.servers.endpoint import Endpoint
from bench.workloads import Workload

NULL, SLOW, CEPH = "null", "null20", "ceph"
NAMES = (NULL, SLOW, CEPH)
"""Servers by the names that the command line has for them."""
DELAY = 20


class Servers:
    """A context: all servers end with it.

    :param names: of the servers that may be started.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._stack = ExitStack()
        self._running: dict[str, Endpoint] = {}

    def __enter__(self) -> Self:
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def data(self) -> Path:
        """What the null servers serve: folders of one letter."""
        return self.folder / "data"

    def written(self, workload: Workload, *, is_for_ceph: bool) -> Path:
        """The folder with the files of a workload; those that the null servers serve lie where they look."""
        data = self.folder / "data-ceph" if is_for_ceph else self.data
        folder = data / workload.letter
        return folder if folder.exists() else workload.write(data)

    def work(self, *names: str) -> Path:
        """A new folder for what clients write, on the disk of temporary files."""
        folder = self.folder / "-".join(("work", *names))
        folder.mkdir()
        return folder

    def missing(self, name: str) -> str:
        """Why a server has no part in this run; "" when it has."""
        if name not in self._names:
            return "not asked for"
        if name == CEPH and not ceph.is_installed():
            return "not installed: as root on Debian, `tests/servers/install.sh` does it"
        return ""

    def get(self, name: str) -> Endpoint:
        """A server, started unless it runs."""
        if name not in self._running:
            if name == CEPH:
                self._running[name] = self._stack.enter_context(ceph.ceph_gateway())
            else:
                program = self.folder / "nulls3"
                if not program.exists():
                    null.build(self.folder)
                self.data.mkdir(exist_ok=True)
                delay = DELAY if name == SLOW else 0
                self._running[name] = self._stack.enter_context(null.null_server(program, self.data, delay))
        return self._running[name]
