"""The servers as fixtures, started once a session by the first test that asks for them.

A test that asks for one is marked ``external``. Where a server is not installed such a test fails, and says so.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import pytest

from servers.airflow import AirflowServer, airflow_server
from servers.ceph import ceph_server
from servers.postgres import PostgresServer, postgres_server
from servers.programs import Programs
from servers.rclone import rclone_server
from servers.s3 import S3Server

Server = TypeVar("Server")


@pytest.fixture(scope="session")
def ceph(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    """Ceph's RADOS gateway: S3 with conditional writes, signatures and digests checked. Starts in 15 s."""
    yield from _served(request, "ceph", ceph_server)


@pytest.fixture(scope="session")
def rclone(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    """``rclone serve s3``, which ignores the conditions of a write."""
    yield from _served(request, "rclone", rclone_server)


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """PostgreSQL with an empty database."""
    yield from _served(request, "postgres", postgres_server)


@pytest.fixture(scope="session")
def airflow(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[AirflowServer]:
    """Airflow with a scheduler and LocalExecutor on PostgreSQL. Starts in 40 s."""
    yield from _served(request, "airflow", lambda folder: airflow_server(folder, postgres))


def _served(
    request: pytest.FixtureRequest,
    name: str,
    serve: Callable[[Path], AbstractContextManager[tuple[Server, Programs]]],
) -> Iterator[Server]:
    # Not pytest's own folder: its path is too long for Unix sockets and closed to other users.
    folder = Path(tempfile.mkdtemp(prefix=f"magnus-{name}-", dir="/tmp"))
    failed_before = request.session.testsfailed
    try:
        with serve(folder) as (server, programs):
            yield server
            if request.session.testsfailed > failed_before:
                _show(request, f"tests failed while {name} served; its logs end in\n{programs.logs()}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _show(request: pytest.FixtureRequest, text: str) -> None:
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(text)
