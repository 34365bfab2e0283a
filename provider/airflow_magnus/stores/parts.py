"""Small named texts that are written once: what the run log is made of, on an object store or in a database."""

from __future__ import annotations

import hashlib
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from airflow_magnus.errors import MissingExtraError, RecordError, StoreError
from airflow_magnus.runlog.texts import unreadable
from airflow_magnus.stores.client import ObjectClient
from airflow_magnus.stores.objects import first_part, probe
from airflow_magnus.stores.parallel import in_parallel

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.exc import DBAPIError

log = logging.getLogger(__name__)
T = TypeVar("T")

_MD5 = 32
READERS = 16
"""Requests at a time when many parts are read."""
MAX_BYTES = 256 * 1024 * 1024
"""How large an object may be that is read: the document of a run with a million files."""
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


class PartStore(Protocol):
    """Texts by key, keys like paths. All calls may be made from any thread of the process that opened the store."""

    location: str
    """For people: where the parts are, without credentials."""

    def create(self, key: str, text: str) -> bool:
        """Write ``key`` unless it is there; False when it was. Cost: 1 request."""

    def put(self, key: str, text: str) -> None:
        """Write ``key``, replacing what is there. Cost: 1 request."""

    def read(self, keys: Iterable[str]) -> Mapping[str, str]:
        """The texts of those keys that exist. Cost: 1 request a key, many at a time."""

    def list_keys(self, prefix: str) -> list[str]:
        """All keys below the folder ``prefix``, sorted. Cost: 1 request for each 1,000 keys."""

    def list_runs(self) -> list[str]:
        """The first segments of all keys that have more than one, sorted. Cost: 1 request for each 1,000."""


class ObjectParts:
    """Parts as objects of an obstore store (S3, a folder, memory).

    :param is_known: False for a server that may ignore create-only writes: one of S3's kind that is not AWS.

    Where ``is_conditional`` is set to False, a create looks first and reads back.
    """

    def __init__(self, store: Any, location: str, *, is_known: bool = True) -> None:
        self._client = ObjectClient(store)
        self.location = location
        self.is_conditional = True
        self._is_known = is_known

    def find_out_conditional(self) -> bool:
        """Whether the store honours create-only writes. Cost: 5 requests where that is not known, else none."""
        return self._is_known or probe(self._client.store, self.location).is_conditional

    def create(self, key: str, text: str) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError

        data = text.encode()
        if not self.is_conditional:
            if self.read([key]):
                return False
            self.put(key, text)
            return self.read([key]).get(key) == text
        try:
            self._client.run(lambda s: obstore.put(s, key, data, mode="create", use_multipart=False))
        except AlreadyExistsError:
            # The answer to our own write may have been lost and the write tried again.
            return self.read([key]).get(key) == text
        except Exception as error:
            raise StoreError(f"cannot write {self.location}/{key}: {first_part(str(error))}") from error
        return True

    def put(self, key: str, text: str) -> None:
        import obstore

        data = text.encode()
        try:
            self._client.run(lambda store: obstore.put(store, key, data, use_multipart=False))
        except Exception as error:
            raise StoreError(f"cannot write {self.location}/{key}: {first_part(str(error))}") from error

    def read(self, keys: Iterable[str]) -> Mapping[str, str]:
        wanted = list(keys)
        found = in_parallel(self._read, wanted, self._client.pace)
        return {key: text for key, text in zip(wanted, found, strict=True) if text is not None}

    def _read(self, key: str) -> str | None:
        try:
            return self._client.run(lambda store: self._bytes(store, key)).decode()
        except FileNotFoundError:
            return None
        except RecordError:
            raise
        except UnicodeDecodeError as error:
            raise unreadable(f"{self.location}/{key}", error) from error
        except Exception as error:
            raise StoreError(f"cannot read {self.location}/{key}: {first_part(str(error))}") from error

    def _bytes(self, store: Any, key: str) -> bytes:
        """An object; asked for again when it came damaged: the ETag of a small object of S3 is mostly its MD5."""
        import obstore

        before = None
        while True:
            found = obstore.get(store, key)
            if found.meta["size"] > MAX_BYTES:
                raise unreadable(f"{self.location}/{key}", f"it has {found.meta['size']} bytes")
            data, tag = bytes(found.bytes()), str(found.meta.get("e_tag") or "").strip('"')
            if len(tag) != _MD5 or hashlib.md5(data, usedforsecurity=False).hexdigest() == tag:
                return data
            if data == before:  # the tag is none (objects that the server encrypts)
                return data
            before = data

    def list_keys(self, prefix: str) -> list[str]:
        import obstore

        def listed(store: Any) -> list[str]:
            return sorted(meta["path"] for batch in obstore.list(store, prefix=prefix) for meta in batch)

        try:
            return self._client.run(listed)
        except FileNotFoundError:
            return []
        except Exception as error:
            raise StoreError(f"cannot list {self.location}/{prefix}: {first_part(str(error))}") from error

    def list_runs(self) -> list[str]:
        import obstore

        try:
            found = self._client.run(obstore.list_with_delimiter)
            return sorted(found["common_prefixes"])
        except FileNotFoundError:
            return []
        except Exception as error:
            raise StoreError(f"cannot list {self.location}: {first_part(str(error))}") from error


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

    def put(self, key: str, text: str) -> None:
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
