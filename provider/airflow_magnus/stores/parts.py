"""Small named texts that are written once: what the run log is made of, on an object store or in a database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

from airflow_magnus.errors import MissingExtraError, StoreError

if TYPE_CHECKING:
    from sqlalchemy import Engine

READERS = 16
"""Requests at a time when many parts are read."""


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
        self._store = store
        self.location = location
        self.is_conditional = True
        self._is_known = is_known

    def find_out_conditional(self) -> bool:
        """Whether the store honours create-only writes. Cost: 5 requests where that is not known, else none."""
        from airflow_magnus.stores.objects import probe

        return self._is_known or probe(self._store, self.location).is_conditional

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
            obstore.put(self._store, key, data, mode="create", use_multipart=False)
        except AlreadyExistsError:
            # The answer to our own write may have been lost and the write tried again.
            return self.read([key]).get(key) == text
        except Exception as error:
            raise StoreError(f"cannot write {self.location}/{key}: {error}") from error
        return True

    def put(self, key: str, text: str) -> None:
        import obstore

        try:
            obstore.put(self._store, key, text.encode(), use_multipart=False)
        except Exception as error:
            raise StoreError(f"cannot write {self.location}/{key}: {error}") from error

    def read(self, keys: Iterable[str]) -> Mapping[str, str]:
        wanted = list(keys)
        if len(wanted) < 2:
            found = [self._read(key) for key in wanted]
        else:
            with ThreadPoolExecutor(min(READERS, len(wanted))) as pool:
                found = list(pool.map(self._read, wanted))
        return {key: text for key, text in zip(wanted, found, strict=True) if text is not None}

    def _read(self, key: str) -> str | None:
        import obstore

        try:
            return bytes(obstore.get(self._store, key).bytes()).decode()
        except FileNotFoundError:
            return None
        except Exception as error:
            raise StoreError(f"cannot read {self.location}/{key}: {error}") from error

    def list_keys(self, prefix: str) -> list[str]:
        import obstore

        try:
            return sorted(
                meta["path"] for batch in obstore.list(self._store, prefix=prefix) for meta in batch
            )
        except FileNotFoundError:
            return []
        except Exception as error:
            raise StoreError(f"cannot list {self.location}/{prefix}: {error}") from error

    def list_runs(self) -> list[str]:
        import obstore

        try:
            return sorted(obstore.list_with_delimiter(self._store)["common_prefixes"])
        except FileNotFoundError:
            return []
        except Exception as error:
            raise StoreError(f"cannot list {self.location}: {error}") from error


class DatabaseParts:
    """Parts as rows of one table, made on first use, of any database that SQLAlchemy speaks to.

    Every call has a connection of its own: a task asks a few times in hours, and a server has few connections.

    :param url: SQLAlchemy URL; its password is never shown.
    """

    TABLE = "magnus_run_log"

    def __init__(self, url: str) -> None:
        import sqlalchemy as sa

        parsed = sa.make_url(url)
        self.location = parsed.render_as_string(hide_password=True)
        # A second writer of a SQLite file waits for the first, on a slow disk for longer than the usual 5 seconds.
        patience = {"timeout": 60} if parsed.get_backend_name() == "sqlite" else {}
        try:
            self._engine: Engine = sa.create_engine(parsed, poolclass=sa.NullPool, connect_args=patience)
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

    def _begin(self) -> Any:
        import sqlalchemy as sa

        if not self._is_ready:
            try:
                self._table.metadata.create_all(self._engine, checkfirst=True)
            except sa.exc.DBAPIError as error:
                # Two processes may make the table at once; it is there if the second look finds it.
                if not sa.inspect(self._engine).has_table(self.TABLE):
                    raise StoreError(f"cannot make table {self.TABLE} in {self.location}: {error}") from error
            self._is_ready = True
        return self._engine.begin()

    def create(self, key: str, text: str) -> bool:
        import sqlalchemy as sa

        try:
            with self._begin() as connection:
                connection.execute(sa.insert(self._table).values(key=key, body=text))
        except sa.exc.IntegrityError:
            return self.read([key]).get(key) == text
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(f"cannot write {key} to {self.location}: {error}") from error
        return True

    def put(self, key: str, text: str) -> None:
        import sqlalchemy as sa

        update = sa.update(self._table).where(self._table.c.key == key).values(body=text)
        try:
            with self._begin() as connection:
                is_there = connection.execute(update).rowcount > 0
            if not is_there and not self.create(key, text):
                with self._begin() as connection:  # somebody else has made the row between the two
                    connection.execute(update)
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(f"cannot write {key} to {self.location}: {error}") from error

    def read(self, keys: Iterable[str]) -> Mapping[str, str]:
        import sqlalchemy as sa

        wanted = list(keys)
        found: dict[str, str] = {}
        try:
            with self._begin() as connection:
                for start in range(0, len(wanted), 500):
                    chosen = self._table.c.key.in_(wanted[start : start + 500])
                    rows = connection.execute(sa.select(self._table.c.key, self._table.c.body).where(chosen))
                    found.update({row.key: row.body for row in rows})
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(f"cannot read from {self.location}: {error}") from error
        return {key: found[key] for key in wanted if key in found}

    def list_keys(self, prefix: str) -> list[str]:
        column = self._table.c.key
        return self._keys((column >= f"{prefix}/") & (column < f"{prefix}0"))  # "0" comes right after "/"

    def list_runs(self) -> list[str]:
        keys = self._keys(self._table.c.key.endswith("/run.json", autoescape=True))
        return sorted(key.removesuffix("/run.json") for key in keys)

    def _keys(self, condition: Any) -> list[str]:
        import sqlalchemy as sa

        try:
            with self._begin() as connection:
                return sorted(connection.execute(sa.select(self._table.c.key).where(condition)).scalars())
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(f"cannot read from {self.location}: {error}") from error
