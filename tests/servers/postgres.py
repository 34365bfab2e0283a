"""A PostgreSQL server with one database. It refuses to run as root: then it runs as the user that Debian made for it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from servers.programs import Programs, answers, ended_together, free_port, program

_DEBIAN = Path("/usr/lib/postgresql")
_PASSWORD = "a p@ss/word"


@dataclass(frozen=True)
class PostgresServer:
    """How to reach the server.

    :param url: SQLAlchemy's, with user and password.
    """

    url: str
    password: str
    port: int
    programs: Programs | None = field(default=None, repr=False)

    def restart(self, *, is_crash: bool, seconds_down: float = 0) -> None:
        """End the server, killed or shut down, and start it again; returns before it answers."""
        assert self.programs is not None
        self.programs.restart("-D", is_crash=is_crash, seconds_between=seconds_down)

    def wait_until_up(self) -> None:
        assert self.programs is not None
        self.programs.wait_until(lambda: _is_up(self.port), "PostgreSQL")

    def make_database(self) -> str:
        """Make an empty database that no other test has; returns its URL."""
        import sqlalchemy as sa
        from sqlalchemy.pool import NullPool

        url, name = sa.make_url(self.url), f"test_{uuid4().hex[:12]}"
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        return url.set(database=name).render_as_string(hide_password=False)


def _is_up(port: int) -> bool:
    """Whether the server takes connections; one that starts up only answers."""
    import psycopg2

    if not answers(port):
        return False
    try:
        psycopg2.connect(
            host="127.0.0.1", port=port, user="test", password=_PASSWORD, dbname="postgres"
        ).close()
    except psycopg2.OperationalError:
        return False
    return True


@contextmanager
def postgres_server(folder: Path) -> Iterator[tuple[PostgresServer, Programs]]:
    """A server below ``folder``, whose path must be short: it holds a Unix socket."""
    from urllib.parse import quote

    folders = sorted(_DEBIAN.glob("*/bin"), reverse=True)
    initdb, postgres = program("initdb", *folders), program("postgres", *folders)
    user = "postgres" if os.geteuid() == 0 else None
    data, password_file, port = folder / "data", folder / "password", free_port()
    password_file.write_text(_PASSWORD)
    if user is not None:
        for path in (folder, password_file):
            shutil.chown(path, user, user)
    with ended_together(folder) as programs:
        programs.run(
            initdb, "--pgdata", str(data), "--username", "test", "--pwfile", str(password_file),
            "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", user=user,
        )  # fmt: skip
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": str(folder),
            "fsync": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        programs.start([postgres, "-D", str(data), *options], user=user, end_by=signal.SIGINT)
        programs.wait_until(lambda: _is_up(port), "PostgreSQL")
        url = f"postgresql+psycopg2://test:{quote(_PASSWORD, safe='')}@127.0.0.1:{port}/postgres"
        yield PostgresServer(url, _PASSWORD, port, programs), programs
