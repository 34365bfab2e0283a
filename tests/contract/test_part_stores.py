"""What every part store promises."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from airflow_magnus.errors import StoreError
from airflow_magnus.runlog import layout
from airflow_magnus.stores.database import DatabaseParts
from airflow_magnus.stores.objects import open_object_store
from airflow_magnus.stores.parts import BIDS, IndexableParts, Listing, ObjectParts, PartStore

EXTERNAL = pytest.mark.external
CONDITIONAL_PART_STORES = [
    "memory", "folder", "moto", "sqlite",
    pytest.param("ceph", marks=EXTERNAL), pytest.param("postgres", marks=EXTERNAL),
]  # fmt: skip
"""All but `rclone serve s3`, which ignores the conditions of a write: of that, test_many_writers.py."""
NAMES = [
    "step parameters", "a/b", ".", "..", "%2F", "100%", "a+b", "a&b=c", "x'y\"z", "[1]{2}(3)", "~a", "#1", "?*",
    "naïve", "日本", "e\u0301", "\u00e9", "🙂", " leading", "trailing ", "a\nb", "back\\slash", "@", "_", "A", "x" * 500,
]  # fmt: skip


def test_a_key_is_created_once(parts: PartStore) -> None:
    assert parts.create("run/a.json", "first")
    assert not parts.create("run/a.json", "second")
    assert parts.read(["run/a.json"]) == {"run/a.json": "first"}


@pytest.mark.parametrize("parts", CONDITIONAL_PART_STORES, indirect=True)
def test_creating_again_with_the_same_text_counts_as_the_same_write(parts: PartStore) -> None:
    """The answer to a write may be lost on its way, and the write sent again by the client."""
    assert parts.create("run/a.json", "token 1")
    assert parts.create("run/a.json", "token 1")


@pytest.mark.parametrize("parts", CONDITIONAL_PART_STORES, indirect=True)
def test_one_of_many_writers_wins_each_key(parts: PartStore) -> None:
    keys, writers = [f"run/{number:02}.json" for number in range(50)], 8
    start = Barrier(writers)

    def write(writer: int) -> list[bool]:
        start.wait()
        return [parts.create(key, f"writer {writer}") for key in keys]

    with ThreadPoolExecutor(writers) as pool:
        outcomes = list(pool.map(write, range(writers)))
    texts = parts.read(keys)
    for index, key in enumerate(keys):
        winners = [writer for writer in range(writers) if outcomes[writer][index]]
        assert len(winners) == 1, key
        assert texts[key] == f"writer {winners[0]}"


def test_put_replaces(parts: PartStore) -> None:
    parts.put("run.json", "one")
    parts.put("run.json", "two")
    assert parts.read(["run.json"]) == {"run.json": "two"}


def test_many_put_one_new_key_at_once(parts: PartStore) -> None:
    start = Barrier(4)

    def write(writer: int) -> None:
        start.wait()
        for number in range(10):
            parts.put(f"run/{number}.json", f"writer {writer}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert len(parts.read([f"run/{number}.json" for number in range(10)])) == 10


def test_reading_passes_over_keys_that_are_not_there(parts: PartStore) -> None:
    parts.put("a", "1")
    parts.put("b", "2")
    assert list(parts.read(["b", "missing", "a", "gone/too"]).items()) == [("b", "2"), ("a", "1")]
    assert parts.read([]) == {}
    assert parts.read(["missing"]) == {}


def test_texts_come_back_as_they_were(parts: PartStore) -> None:
    text = json.dumps({"ü": "🙂\r\n\x00\u2028", "long": "x" * 200_000}, ensure_ascii=False)
    text = text.replace("\x00", "\\u0000")
    parts.put("text", text)
    assert parts.read(["text"])["text"] == text


def test_a_list_is_of_a_folder_and_not_of_a_prefix(parts: PartStore) -> None:
    for key in ("run/a/1", "run/a/deep/2", "run/ab/3", "run/a", "run/A/4", "run/_/5", "run/%/6", "other/a/7"):
        if key != "run/a" or not _is_folder(parts):
            parts.put(key, "x")
    assert parts.list_keys("run/a") == ["run/a/1", "run/a/deep/2"]
    assert parts.list_keys("run/A") == ["run/A/4"]
    assert parts.list_keys("run/_") == ["run/_/5"]
    assert parts.list_keys("run/%") == ["run/%/6"]
    assert parts.list_keys("nothing/here") == []


def test_runs_are_the_first_segments_of_longer_keys(parts: PartStore) -> None:
    assert parts.list_runs() == []
    for run_id in ("b", "a", "a.2", "A"):
        parts.put(layout.header_key(run_id), "{}")
        parts.put(layout.part_key(run_id, "", "step", 0, "open"), "{}")
        parts.put(layout.document_key(run_id), "{}")
    parts.put("foreign.json", "{}")
    assert parts.list_runs() == ["A", "a", "a.2", "b"]


def test_keys_of_odd_names_come_back_as_they_were(parts: PartStore) -> None:
    keys = {layout.part_key("run", "", name, 0, "open"): name for name in NAMES}
    assert len(keys) == len(NAMES)
    for key, name in keys.items():
        assert parts.create(key, json.dumps(name)), name
    assert parts.list_keys("run/steps/@") == sorted(keys)
    assert {key: json.loads(text) for key, text in parts.read(keys).items()} == keys
    for key, name in keys.items():
        assert parts.list_keys(layout.step_prefix("run", "", name)) == [key]


def test_a_list_of_several_pages_is_whole(parts: PartStore) -> None:
    keys = [f"run/steps/@/step/{number:04}.open.json" for number in range(2_500)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: parts.put(key, key[-14:]), keys))
    assert parts.list_keys("run/steps") == keys
    some = keys[::12]
    assert dict(parts.read(some)) == {key: key[-14:] for key in some}


def _is_folder(parts: PartStore) -> bool:
    """Folders and rclone have no object beside a folder of its name; nothing of ours asks for both."""
    return parts.location in ("folder", "rclone")


# databases


def test_a_database_that_cannot_be_opened_is_named_without_its_password(tmp_path: Path) -> None:
    parts = DatabaseParts(f"sqlite:///{tmp_path}/missing/folder/runs.db")
    with pytest.raises(StoreError, match=r"missing/folder/runs\.db"):
        parts.create("a", "b")
    with pytest.raises(StoreError, match=r"missing/folder/runs\.db"):
        parts.read(["a"])


def test_several_processes_may_make_the_table_at_once(tmp_path: Path) -> None:
    stores = [DatabaseParts(f"sqlite:///{tmp_path}/runs.db") for _ in range(8)]
    start = Barrier(8)

    def write(number: int) -> bool:
        start.wait()
        return stores[number].create(f"key {number}", "x")

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(write, range(8)))


@EXTERNAL
def test_several_processes_may_make_the_table_of_a_server_at_once(postgres) -> None:
    url = postgres.make_database()
    stores = [DatabaseParts(url) for _ in range(8)]
    start = Barrier(8)

    def write(number: int) -> bool:
        start.wait()
        return stores[number].create(f"key {number}", "x")

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(write, range(8)))


@EXTERNAL
def test_no_connection_is_held_between_two_calls(postgres) -> None:
    """A task waits for its command for hours, and a server has a hundred connections."""
    import sqlalchemy as sa
    from sqlalchemy.pool import NullPool

    url = postgres.make_database()
    parts = DatabaseParts(url)
    parts.put("a", "b")
    with sa.create_engine(url, poolclass=NullPool).connect() as connection:
        held = connection.execute(
            sa.text(
                "select count(*) from pg_stat_activity where datname = current_database()"
                " and pid <> pg_backend_pid()"
            )
        ).scalar()
    assert held == 0


@EXTERNAL
def test_the_password_of_a_database_is_never_shown(postgres) -> None:
    import sqlalchemy as sa

    url = sa.make_url(postgres.url).set(database="missing_database")
    parts = DatabaseParts(url.render_as_string(hide_password=False))
    with pytest.raises(StoreError, match="missing_database") as caught:
        parts.put("a", "b")
    assert postgres.password not in f"{caught.value} {parts.location}"


# objects


def test_a_store_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import obstore
    from obstore.store import LocalStore

    def fail(*_: object, **__: object) -> None:
        raise obstore.exceptions.GenericError("out of order")

    parts = ObjectParts(LocalStore(tmp_path), "file:///there")
    for name in ("put", "get", "list", "list_with_delimiter"):
        monkeypatch.setattr(obstore, name, fail)
    for call in (
        lambda: parts.create("run/a", "x"),
        lambda: parts.put("run/a", "x"),
        lambda: parts.read(["run/a"]),
        lambda: parts.list_keys("run/a"),
        lambda: parts.list_runs(),
    ):
        with pytest.raises(StoreError, match=r"file:///there.*out of order"):
            call()


def test_writers_who_have_all_looked_before_one_writes_have_one_winner_without_conditions() -> None:
    """On a server that ignores conditions: the moment that to look first and to read back does not cover."""
    store, writers = open_object_store("memory://"), 4
    start = Barrier(writers)

    class Looking(ObjectParts):
        looked = False

        def read(self, keys: Iterable[str]) -> Mapping[str, str]:
            found = super().read(keys)
            if not self.looked:
                self.looked = True
                start.wait(10)
                time.sleep(0.1 * int(self.location))  # and one after the other writes and reads back
            return found

    def write(number: int) -> bool:
        parts = Looking(store, str(number))
        parts.is_conditional = False
        return parts.create("run/a.json", f"writer {number}")

    with ThreadPoolExecutor(writers) as pool:
        outcomes = list(pool.map(write, range(writers)))
    assert outcomes.count(True) == 1
    parts = ObjectParts(store, "memory")
    assert parts.read(["run/a.json"]) == {"run/a.json": f"writer {outcomes.index(True)}"}
    assert parts.list_keys("run") == ["run/a.json"]


def test_a_bidder_who_was_killed_has_won_all_the_same() -> None:
    store = open_object_store("memory://")
    parts = ObjectParts(store, "memory")
    parts.is_conditional, parts.settling = False, 0.01
    parts.put(f"run/a.json{BIDS}/0", "of the dead")
    assert not parts.create("run/a.json", "of another")
    assert parts.read(["run/a.json"]) == {"run/a.json": "of the dead"}
    assert parts.list_runs() == ["run"]


# what an index needs


@pytest.mark.parametrize("parts", CONDITIONAL_PART_STORES, indirect=True)
def test_a_listing_is_of_one_folder_and_tells_versions_apart(parts: IndexableParts) -> None:
    assert parts.listing() == parts.listing("nothing") == Listing([], {})
    first = parts.put("run.json", "one")
    assert parts.listing().versions == {"run.json": first}
    second = parts.put("run.json", "another")
    assert second != first
    parts.put(layout.header_key("run"), "{}")
    parts.put(".pins/a.json", "x")
    parts.put(".pins/deep/b.json", "x")
    top = parts.listing()
    assert top.versions == {"run.json": second}
    assert [name for name in top.folders if not name.startswith(".")] == ["run"]
    assert list(parts.listing(".pins").versions) == [".pins/a.json"]


def test_what_is_removed_is_gone_and_what_is_gone_is_passed_over(parts: IndexableParts) -> None:
    for key in ("x/a", "x/b", "x/c"):
        parts.put(key, "text")
    parts.remove(["x/a", "x/never", "x/b"])
    assert parts.list_keys("x") == ["x/c"]
    parts.remove([])
    parts.remove(["x/c", "x/a"])
    assert parts.list_keys("x") == []
    parts.put("x/a", "again")
    assert parts.read(["x/a"]) == {"x/a": "again"}
