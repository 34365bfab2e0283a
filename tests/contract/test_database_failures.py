"""What a run log in a database does when the server is not there, goes away, or its answers are lost."""

from __future__ import annotations

import logging
import shutil
import socket
import sqlite3
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.errors import StoreError
from airflow_magnus.runlog import layout
from airflow_magnus.runlog.records import RunHeader
from airflow_magnus.stores.database import DatabaseParts
from airflow_magnus.stores.runlogs import RunLogStore
from contract_writers import Place, claim, record, started, step
from servers.postgres import PostgresServer, postgres_server
from servers.programs import free_port

EXTERNAL = pytest.mark.external
RUN = "run-1"
WRITERS, RECORDS = 32, 100


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server of this test alone: it is restarted."""
    folder = Path(tempfile.mkdtemp(prefix="magnus-pg-", dir="/tmp"))
    try:
        with postgres_server(folder) as (server, _):
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# the server goes away


@EXTERNAL
def test_writers_get_through_while_the_server_is_restarted(own_postgres: PostgresServer) -> None:
    """Shut down, killed, and away for seconds: the 3,200 records of 32 processes are there once each."""
    url = own_postgres.make_database()
    place = Place("postgres", url)
    store = place.run_log()
    store.claim(RunHeader(run_id=RUN, token="mine"))
    run_ids = [f"claimed-{number}" for number in range(20)]
    with started(record, [(place, RUN, w, RECORDS) for w in range(WRITERS)]) as results, started(
        claim, [(place, w, run_ids) for w in range(4)]
    ) as claims:  # fmt: skip
        for share, is_crash, seconds in ((0.1, False, 1.0), (0.35, True, 0.0), (0.6, True, 2.0)):
            _wait_for_records(store, int(share * WRITERS * RECORDS))
            own_postgres.restart(is_crash=is_crash, seconds_down=seconds)
        assert len(_keys(store)) < WRITERS * RECORDS, "all were written before the last restart"
        assert results() == [RECORDS] * WRITERS
        won = claims()
    assert sorted(run_id for some in won for run_id in some) == sorted(run_ids), "each is claimed once"
    written = store.write_document(RUN)
    assert len(written.steps) == len(_keys(store)) == WRITERS * RECORDS
    assert {(log.status, len(log.attempts)) for log in written.steps.values()} == {("SUCCESS", 1)}
    own = {f"w{w:02}-{n:03}": n for w in range(WRITERS) for n in range(RECORDS)}
    assert {name: written.parameters[name] for name in own} == own


def _keys(store: RunLogStore) -> list[str]:
    return DatabaseParts.list_keys(store._parts, layout.steps_prefix(RUN))  # type: ignore[arg-type]


def _wait_for_records(store: RunLogStore, count: int) -> None:
    end = time.monotonic() + 100
    while len(_keys(store)) < count:
        assert time.monotonic() < end
        time.sleep(0.05)


@EXTERNAL
def test_a_commit_whose_answer_was_lost_is_recognised_by_a_server_too(own_postgres: PostgresServer) -> None:
    with _losing_commits(own_postgres.port) as (port, lost):
        url = own_postgres.make_database().replace(f":{own_postgres.port}/", f":{port}/")
        parts = DatabaseParts(url)
        parts.read([])  # the table is made, and the answer to that is lost as well
        store = RunLogStore(parts)
        before = lost()
        for number in range(5):
            opened = store.open_attempt(RUN, step("A"), f"attempt {number}", {}).opened
            assert opened.number == number
            store.close(RUN, opened.ended(status="SUCCESS"))
        assert lost() - before >= 10
    assert sorted(store_of(own_postgres, url, port).graph(RUN, "")["A"].attempts) == list(range(5))


def store_of(server: PostgresServer, url: str, port: int) -> RunLogStore:
    return RunLogStore(DatabaseParts(url.replace(f":{port}/", f":{server.port}/")))


@contextmanager
def _losing_commits(upstream: int) -> Iterator[tuple[int, Any]]:
    """A port that leads to the server and cuts every other connection once its COMMIT has been done."""
    listener = socket.create_server(("127.0.0.1", 0))
    lost: list[int] = []
    lock = threading.Lock()

    def cut(*sockets: socket.socket) -> None:
        for one in sockets:
            with suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.close()

    def serve(client: socket.socket, number: int) -> None:
        server = socket.create_connection(("127.0.0.1", upstream))
        threading.Thread(target=pump, args=(server, client), daemon=True).start()
        with suppress(OSError):
            while data := client.recv(65536):
                if b"COMMIT" in data and number % 2 == 0:
                    with lock:
                        lost.append(number)
                    quiet.add(server)
                    server.sendall(data)
                    time.sleep(0.05)  # it is done and answered
                    break
                server.sendall(data)
        cut(client, server)

    quiet: set[socket.socket] = set()

    def pump(server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if server not in quiet:
                    client.sendall(data)

    def accept() -> None:
        number = 0
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve, args=(client, number), daemon=True).start()
                number += 1

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1], lambda: len(lost)
    finally:
        listener.close()


class _Commits:
    """Loses the answers to the commits of a store that ``wanted`` says, which are counted from 0."""

    def __init__(self, parts: DatabaseParts, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = self.lost = 0
        self.wanted = {0}
        dialect = parts._engine.dialect
        commit = dialect.do_commit

        def do_commit(connection: Any) -> None:
            commit(connection)
            self.count += 1
            if self.count - 1 in self.wanted:
                self.lost += 1
                raise sqlite3.OperationalError("server closed the connection unexpectedly")

        monkeypatch.setattr(dialect, "do_commit", do_commit)


@pytest.fixture
def parts(tmp_path: Path) -> DatabaseParts:
    opened = DatabaseParts(f"sqlite:///{tmp_path}/runs.db")
    opened.read([])  # makes the table
    return opened


def test_a_create_whose_answer_was_lost_is_our_own(
    parts: DatabaseParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = _Commits(parts, monkeypatch)
    assert parts.create("key", "mine")
    assert commits.lost == 1
    assert not parts.create("key", "another's")
    assert parts.read(["key"]) == {"key": "mine"}


def test_an_attempt_whose_answers_are_lost_keeps_its_number_and_its_outcome(
    parts: DatabaseParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunLogStore(parts)
    commits = _Commits(parts, monkeypatch)
    commits.wanted = set(range(0, 100, 2))
    store.claim(RunHeader(run_id=RUN, token="mine"))
    opened = store.open_attempt(RUN, step("A"), "mine", {}).opened
    store.close(RUN, opened.ended(status="SUCCESS", parameters={"x": 1}))
    store.append(RUN, opened.model_copy(update={"number": 1}).ended(status="FAIL"))
    assert commits.lost > 5
    assert sorted(store.graph(RUN, "")["A"].attempts) == [0, 1]


def test_a_put_whose_answer_was_lost_is_done(parts: DatabaseParts, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = _Commits(parts, monkeypatch)
    for number in range(4):
        commits.wanted = {commits.count}
        parts.put("key", str(number))
        assert parts.read(["key"]) == {"key": str(number)}
    assert commits.lost == 4


# how long it tries


def test_a_server_that_is_not_there_is_asked_for_the_stated_time(caplog: pytest.LogCaptureFixture) -> None:
    parts = DatabaseParts(f"postgresql+psycopg2://me:secret@127.0.0.1:{free_port()}/runs", patience=1.5)
    started_at = time.monotonic()
    with caplog.at_level(logging.WARNING), pytest.raises(StoreError, match="Connection refused") as caught:
        parts.create("key", "text")
    assert 0.7 < time.monotonic() - started_at < 10
    warned = [entry.getMessage() for entry in caplog.records if entry.name.startswith("airflow_magnus")]
    assert len(warned) == 1, "the first try alone is told of"
    assert "asked again for 1.5 s" in warned[0]
    assert "secret" not in f"{warned}{caught.value}"


def test_what_the_database_refuses_is_not_tried_again(
    parts: DatabaseParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(_: float) -> None:
        raise AssertionError("nothing here would be better later")

    monkeypatch.setattr("airflow_magnus.stores.database.time.sleep", sleep)
    assert parts.create("key", "first")
    assert not parts.create("key", "second")
    with parts._engine.begin() as connection:
        connection.exec_driver_sql("drop table magnus_run_log")
    for call in (lambda: parts.create("a", "b"), lambda: parts.put("a", "b"), lambda: parts.read(["a"])):
        with pytest.raises(StoreError, match="no such table"):
            call()


@EXTERNAL
@pytest.mark.parametrize("changes", [{"password": "wrong"}, {"database": "nowhere"}, {"username": "nobody"}])
def test_a_login_that_is_refused_is_not_tried_again(
    postgres: PostgresServer, changes: dict[str, str]
) -> None:
    import sqlalchemy as sa

    url = sa.make_url(postgres.url).set(**changes)  # type: ignore[arg-type]
    started_at = time.monotonic()
    with pytest.raises(StoreError, match="FATAL"):
        DatabaseParts(url.render_as_string(hide_password=False)).read(["a"])
    assert time.monotonic() - started_at < 10


def test_a_writer_of_a_file_waits_for_another_one_as_long_as_it_is_patient(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    DatabaseParts(url).put("key", "before")
    with closing(
        sqlite3.connect(tmp_path / "runs.db", isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute("begin exclusive")
        with pytest.raises(StoreError, match="locked"):
            DatabaseParts(url, patience=0.2).create("a", "b")
        timer = threading.Timer(0.7, lambda: other.execute("rollback"))
        timer.start()
        assert DatabaseParts(url, patience=20).create("a", "b")
        timer.join()
