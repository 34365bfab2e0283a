"""Parts of the run log as rows of a database, whose server may go away meanwhile."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_magnus.errors import MissingExtraError, StoreError
from airflow_magnus.stores.parts import Listing

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.exc import DBAPIError

log = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE = 60.0
"""Seconds in all that a call tries again to reach a database."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 4.0
_TO_POSTGRES = {"connect_timeout": 10, "keepalives_idle": 20, "keepalives_interval": 5, "keepalives_count": 3}
_TO_MYSQL = {"connect_timeout": 10}
_DRIVER_SETTINGS: Mapping[str, Mapping[str, float]] = {
    # A machine that is gone sends no answer: without these a call would wait for hours.
    "psycopg2": _TO_POSTGRES,
    "psycopg": _TO_POSTGRES,
    "pymysql": _TO_MYSQL,
    "mysqldb": _TO_MYSQL,
}
_PASSING_STATES = ("57P01", "57P02", "57P03", "53300", "40001", "40P01")
"""SQL states: the server is shut down, crashed, starts up, has no connection left; two transactions were in the way of
each other."""
_PASSING_WORDS = (
    "connection refused", "connection reset", "connection timed out", "timeout expired", "lost connection", "gone away",
    "closed the connection", "terminating connection", "can't connect", "starting up", "shutting down",
    "shutdown in progress", "recovery mode", "not yet accepting connections", "too many clients",
    "too many connections", "connection slots are reserved", "temporary failure in name resolution",
    "try restarting transaction", "database is locked", "database table is locked",
)  # fmt: skip
"""What drivers say of the same where they know no state: psycopg2 while it connects, MySQL's, SQLite's."""
_REFUSED_WORDS = ("fatal:", "no password supplied", "certificate")


class DatabaseParts:
    """Parts as rows of one table, made on first use, of any database that SQLAlchemy speaks to.

    Every call has a connection of its own: a task asks a few times in hours, and a server has few connections.

    :param url: SQLAlchemy URL; its password is never shown.
    :param patience: seconds in all that a call tries again while the server starts, stops or cannot be reached.
    """

    TABLE = "magnus_run_log"

    def __init__(self, url: str, *, patience: float = PATIENCE) -> None:
        import sqlalchemy as sa

        parsed = sa.make_url(url)
        self.location = parsed.render_as_string(hide_password=True)
        self._patience = patience
        settings = dict(_DRIVER_SETTINGS.get(parsed.get_driver_name(), {}))
        if parsed.get_backend_name() == "sqlite":  # a second writer of a file waits for the first
            settings = {"timeout": patience}
        settings = {name: value for name, value in settings.items() if name not in parsed.query}
        try:
            self._engine: Engine = sa.create_engine(parsed, poolclass=sa.NullPool, connect_args=settings)
        except ModuleNotFoundError as error:
            driver = f"a run log at {self.location} (its driver {error.name!r} is not installed)"
            raise MissingExtraError(driver, "database") from error
        # Keys are compared byte by byte, whatever the language of the database: `a` is not `A`, and the keys of a
        # folder lie side by side in the index.
        key = sa.String(700)
        for backend, collation in (("postgresql", "C"), ("mysql", "utf8mb4_bin"), ("mariadb", "utf8mb4_bin")):
            key = key.with_variant(sa.String(700, collation=collation), backend)
        self._table = sa.Table(
            self.TABLE,
            sa.MetaData(),
            sa.Column("key", key, primary_key=True),
            sa.Column("body", sa.Text, nullable=False),
            sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now()),
        )
        self._is_ready = False

    def _run(self, work: Callable[[Connection], T]) -> T:
        """One transaction, tried again while the server is not there. What is tried again may have been committed."""
        import sqlalchemy as sa

        end, pause = time.monotonic() + self._patience, _FIRST_PAUSE
        while True:
            try:
                self._make_table()
                with self._engine.begin() as connection:
                    return work(connection)
            except sa.exc.DBAPIError as error:
                wait = random.uniform(pause / 2, pause)
                if not _may_pass(error) or time.monotonic() + wait > end:
                    raise
                level = logging.WARNING if pause == _FIRST_PAUSE else logging.DEBUG
                log.log(
                    level,
                    "run log at %s: asked again for %g s: %s",
                    self.location,
                    self._patience,
                    error.orig,
                )
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _make_table(self) -> None:
        import sqlalchemy as sa

        if self._is_ready:
            return
        try:
            self._table.metadata.create_all(self._engine, checkfirst=True)
        except sa.exc.DBAPIError as error:
            if _may_pass(error):
                raise
            # Two processes may make the table at once; it is there if the second look finds it.
            if not sa.inspect(self._engine).has_table(self.TABLE):
                raise StoreError(f"cannot make table {self.TABLE} in {self.location}: {error}") from error
        self._is_ready = True

    def create(self, key: str, text: str) -> bool:
        import sqlalchemy as sa

        insert = sa.insert(self._table).values(key=key, body=text)
        try:
            self._run(lambda connection: connection.execute(insert))
        except sa.exc.IntegrityError:
            # The answer to our own commit may have been lost and the row written again.
            return self.read([key]).get(key) == text
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(f"cannot write {key} to {self.location}: {error}") from error
        return True

    def put(self, key: str, text: str) -> str:
        import sqlalchemy as sa

        update = sa.update(self._table).where(self._table.c.key == key).values(body=text)
        try:
            is_there = self._run(lambda connection: connection.execute(update).rowcount > 0)
            if not is_there and not self.create(key, text):
                self._run(
                    lambda connection: connection.execute(update)
                )  # somebody has made the row meanwhile
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(f"cannot write {key} to {self.location}: {error}") from error
        return str(len(text))

    def read(self, keys: Iterable[str]) -> Mapping[str, str]:
        import sqlalchemy as sa

        wanted = list(keys)

        def found(connection: Connection) -> dict[str, str]:
            texts: dict[str, str] = {}
            for start in range(0, len(wanted), 500):
                chosen = self._table.c.key.in_(wanted[start : start + 500])
                rows = connection.execute(sa.select(self._table.c.key, self._table.c.body).where(chosen))
                texts.update({row.key: row.body for row in rows})
            return texts

        try:
            texts = self._run(found)
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(f"cannot read from {self.location}: {error}") from error
        return {key: texts[key] for key in wanted if key in texts}

    def list_keys(self, prefix: str) -> list[str]:
        column = self._table.c.key
        return self._keys((column >= f"{prefix}/") & (column < f"{prefix}0"))  # "0" comes right after "/"

    def list_runs(self) -> list[str]:
        keys = self._keys(self._table.c.key.endswith("/run.json", autoescape=True))
        return sorted(key.removesuffix("/run.json") for key in keys)

    def listing(self, folder: str = "") -> Listing:
        """Versions are lengths: of what is written anew, a document or a mark, another one has another length."""
        import sqlalchemy as sa

        column, body = self._table.c.key, self._table.c.body
        is_here = ~column.contains("/")
        if folder:
            is_here = (column >= f"{folder}/") & (column < f"{folder}0")
        chosen = sa.select(column, sa.func.char_length(body)).where(is_here)
        if self._engine.dialect.name == "sqlite":
            chosen = sa.select(column, sa.func.length(body)).where(is_here)
        try:
            rows = self._run(lambda connection: connection.execute(chosen).all())
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(f"cannot read from {self.location}: {error}") from error
        versions = {key: str(length) for key, length in rows if "/" not in key.removeprefix(f"{folder}/")}
        return Listing([] if folder else self.list_runs(), versions)

    def remove(self, keys: Iterable[str]) -> None:
        import sqlalchemy as sa

        wanted = list(keys)

        def removed(connection: Connection) -> None:
            for start in range(0, len(wanted), 500):
                chosen = self._table.c.key.in_(wanted[start : start + 500])
                connection.execute(sa.delete(self._table).where(chosen))

        try:
            self._run(removed)
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(f"cannot remove from {self.location}: {error}") from error

    def _keys(self, condition: Any) -> list[str]:
        import sqlalchemy as sa

        chosen = sa.select(self._table.c.key).where(condition)
        try:
            return self._run(lambda connection: sorted(connection.execute(chosen).scalars()))
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(f"cannot read from {self.location}: {error}") from error


def _may_pass(error: DBAPIError) -> bool:
    """Whether the server may do the same later: it was not reached, went away, or had no room."""
    import sqlalchemy as sa

    if isinstance(error, sa.exc.IntegrityError | sa.exc.DataError | sa.exc.ProgrammingError):
        return False
    state = str(getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or "")
    text = str(error.orig).lower()
    return (
        error.connection_invalidated
        or state.startswith("08")
        or state in _PASSING_STATES
        or any(words in text for words in _PASSING_WORDS)
        # libpq has many words for a server that goes away while it connects; what the server refuses is "FATAL: …".
        or ("connection to server" in text and not any(words in text for words in _REFUSED_WORDS))
    )
