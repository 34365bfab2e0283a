"""Contents managers on servers of several kinds."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_stage import Stage, stage_of
from servers.memory import MemoryServer, memory_server
from servers.s3 import S3Server


@pytest.fixture
def anyio_backend() -> str:
    """Tests that are coroutines run in asyncio."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _own_signatures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which notebooks are trusted is kept in a folder of the user."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter-data"))


@pytest.fixture(scope="session")
def moto(moto_server: str) -> S3Server:
    """The server in this process, in the shape of the others."""
    return S3Server(moto_server, "test-access", "test-secret")


@pytest.fixture(scope="session")
def memory() -> Iterator[MemoryServer]:
    """A server that can be told to be slow, and to refuse."""
    folder = Path(tempfile.mkdtemp(prefix="magnus-memory-"))
    with memory_server(folder) as server:
        yield server
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def quick(memory: MemoryServer) -> Iterator[Stage]:
    """A contents manager on that server."""
    memory.set_rules()
    yield stage_of(memory)
    memory.set_rules()


@pytest.fixture(params=["moto", "memory", pytest.param("ceph", marks=pytest.mark.external)])
def stage(request: pytest.FixtureRequest) -> Stage:
    """A contents manager on each server."""
    server: S3Server = request.getfixturevalue(str(request.param))
    if isinstance(server, MemoryServer):
        server.set_rules()
    return stage_of(server)
