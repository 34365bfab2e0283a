"""Files that are not what they seem when they are stored."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore  # noqa: TID253 - the tests look at the store beside the code under test
import pytest

from airflow_magnus.errors import CatalogError
from airflow_magnus.runlog.records import CatalogEntry
from airflow_magnus.stores import catalog, parallel, uploads
from airflow_magnus.stores.catalog import CatalogStore
from airflow_magnus.stores.objects import open_object_store

LARGE = uploads.SINGLE_REQUEST + 1


class Catalog:
    def __init__(self, folder: Path) -> None:
        self.store = open_object_store(str(folder / "store"))
        self.catalog = CatalogStore(self.store, "here")
        self.data = folder / "data"
        self.data.mkdir()

    def put(self, *patterns: str, **options: Any) -> dict[str, CatalogEntry]:
        options = {"attempt_id": "one", "known": {}, **options}
        moved = self.catalog.put("run", self.data, patterns or ["**"], **options)
        return {entry.name: entry for entry in moved.entries}

    def listed(self) -> list[str]:
        return sorted(meta["path"] for batch in obstore.list(self.store) for meta in batch)


@pytest.fixture
def there(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path)


@pytest.fixture
def while_reading(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Does something as soon as the first bytes of a file were read."""
    read = os.read

    def begin(action: Callable[[], object]) -> None:
        todo = [action]

        def reading(file: int, size: int) -> bytes:
            data = read(file, min(size, 4096) if todo else size)
            if data and todo:
                todo.pop()()
            return data

        def reading_into(file: int, views: list[memoryview]) -> int:
            data = reading(file, len(views[0]))
            views[0][: len(data)] = data
            return len(data)

        monkeypatch.setattr(uploads.os, "read", reading)
        monkeypatch.setattr(uploads.os, "readv", reading_into)

    return begin


@pytest.mark.parametrize("size", [10_000, 1_000_000, LARGE])
@pytest.mark.parametrize("change", ["grows", "shrinks", "is written over", "is replaced", "is removed"])
def test_a_file_that_changes_meanwhile_is_named_and_not_kept(
    there: Catalog, while_reading: Callable[[Callable[[], object]], None], size: int, change: str
) -> None:
    path = there.data / "table.csv"
    path.write_bytes(b"x" * size)
    os.utime(path, (1, 1))

    def is_replaced() -> None:
        other = there.data.parent / "other"
        other.write_bytes(b"y" * size)
        os.replace(other, path)

    def append() -> None:
        with path.open("ab") as file:
            file.write(b"more")

    def write_over() -> None:
        with path.open("r+b") as file:
            file.write(b"y")

    actions: dict[str, Callable[[], object]] = {
        "grows": append,
        "shrinks": lambda: os.truncate(path, size // 2),
        "is written over": write_over,
        "is replaced": is_replaced,
        "is removed": path.unlink,
    }
    while_reading(actions[change])
    with pytest.raises(CatalogError, match=r"table\.csv changed while it was stored"):
        there.put()
    assert there.listed() == []


def test_a_file_that_vanishes_before_it_is_opened_is_named(
    there: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    (there.data / "a").write_text("a")
    opened = os.open

    def vanish(path: Any, *args: Any, **kwargs: Any) -> int:
        os.unlink(path)
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(uploads.os, "open", vanish)
    with pytest.raises(CatalogError, match="a cannot be stored: it was there when the pattern was matched"):
        there.put()


@pytest.mark.parametrize("kind", ["named pipe", "socket", "link to nothing"])
def test_what_is_no_file_is_named(there: Catalog, kind: str) -> None:
    (there.data / "a").write_text("a")
    odd = there.data / "odd"
    if kind == "named pipe":
        os.mkfifo(odd)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(odd))
    else:
        odd.symlink_to("nowhere")
    with pytest.raises(CatalogError, match=f"odd cannot be stored: it is no file but a {kind}"):
        there.put("*")
    assert sorted(there.put("a")) == ["a"]


def test_a_pipe_that_takes_the_place_of_a_file_does_not_hold_up_the_task(there: Catalog) -> None:
    os.mkfifo(there.data / "pipe")
    with pytest.raises(CatalogError, match="it is no regular file but a named pipe"):
        there.catalog.put_file("run", there.data / "pipe", "pipe", attempt_id="one", known={})


def test_a_folder_that_cannot_be_read_is_named(there: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    (there.data / "closed").mkdir()
    scan = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(CatalogError, match="closed cannot be read: Permission denied"):
        there.put()


@pytest.mark.parametrize("size", [100, LARGE])
def test_unchanged_files_are_not_sent_again(
    there: Catalog, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (there.data / name).write_bytes(name.encode() * size)
    first = there.put()

    class Closed:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"{name} was asked of the store")

    monkeypatch.setattr(there.catalog._client, "store", Closed())
    monkeypatch.setattr(obstore, "open_writer", Closed().__getattr__)
    moved = there.catalog.put("run", there.data, ["**"], attempt_id="two", known=first)
    assert {entry.name: entry for entry in moved.entries} == first
    assert (moved.files, moved.size) == (0, 0)


def test_a_large_file_that_an_earlier_run_has_is_copied_in_the_store(
    there: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    (there.data / "large").write_bytes(b"x" * LARGE)
    (there.data / "other").write_bytes(b"y" * LARGE)
    before = there.put(attempt_id="before")
    (there.data / "other").write_bytes(b"z" * LARGE)
    opened: list[str] = []
    writer = obstore.open_writer
    monkeypatch.setattr(obstore, "open_writer", lambda s, key, **k: opened.append(key) or writer(s, key, **k))
    moved = there.catalog.put("later", there.data, ["*"], attempt_id="one", known={}, earlier=lambda: before)
    assert opened == ["later/.versions/one/other"]
    assert (moved.files, moved.size) == (1, LARGE)
    for entry in moved.entries:
        assert (
            bytes(obstore.get(there.store, entry.catalog_relative_path).bytes())
            == (there.data / entry.name).read_bytes()
        )


def test_a_large_file_is_sent_when_the_copy_is_gone(there: Catalog) -> None:
    (there.data / "large").write_bytes(b"x" * LARGE)
    before = there.put(attempt_id="before")
    for key in there.listed():
        obstore.delete(there.store, key)
    entry = there.catalog.put_file(
        "later", there.data / "large", "large", attempt_id="one", known={}, earlier=lambda: before
    )
    assert obstore.head(there.store, entry.catalog_relative_path)["size"] == LARGE


_MILLION = """
import os, re
from pathlib import Path
from airflow_magnus.stores.names import files_to_put

class Entry:
    def __init__(self, name): self.name, self.path = name, "data/" + name
    def is_dir(self, follow_symlinks=True): return False
    def is_symlink(self): return False
    def is_file(self): return True

class Scan:
    def __enter__(self): return (Entry(f"part-{n:07}.csv") for n in range(1_000_000))
    def __exit__(self, *_): pass

os.scandir = lambda path: Scan()
def most():  # kB; what getrusage gives counts the process that started this one
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

before = most()
chosen = files_to_put(Path("data"), ["*-00000[0-4]?.csv"], [])
print(len(chosen), most() - before)
"""


def test_a_folder_of_a_million_files_is_looked_through_in_little_memory() -> None:
    result = subprocess.run([sys.executable, "-c", _MILLION], check=True, capture_output=True, text=True)
    found, kilobytes = map(int, result.stdout.split())
    assert found == 50
    assert kilobytes < 8 * 1024


def test_memory_is_bounded_whatever_the_number_of_large_files(
    there: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        with (there.data / str(number)).open("wb") as file:
            file.truncate(uploads.SINGLE_REQUEST)
    held: list[int] = []
    now = 0
    lock = threading.Lock()
    send = there.catalog._client.run

    def run(work: Callable[[Any], Any]) -> Any:
        nonlocal now
        with lock:
            now += uploads.SINGLE_REQUEST
            held.append(now)
        try:
            return send(work)
        finally:
            with lock:
                now -= uploads.SINGLE_REQUEST

    monkeypatch.setattr(there.catalog._client, "run", run)
    there.put()
    assert max(held) <= 2 * uploads.SINGLE_REQUEST


def test_memory_of_files_is_used_again_and_given_back(
    there: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    mapped = parallel.mmap.mmap
    monkeypatch.setattr(parallel.mmap, "mmap", lambda *a: taken.append(a[1]) or mapped(*a))
    content = {f"file-{n}": os.urandom(300_000 + 1000 * n) for n in range(40)}
    for name, data in content.items():
        (there.data / name).write_bytes(data)
    entries = there.put()
    assert {n: bytes(there.store.get(e.catalog_relative_path).bytes()) for n, e in entries.items()} == content
    assert len(taken) < len(content)
    assert not there.catalog.client.buffers._free


@pytest.mark.parametrize("change", ["nothing", "its bytes", "its size"])
def test_small_files_that_are_there_are_found_without_the_store(
    there: Catalog, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = there.data / "table.csv"
    path.write_bytes(b"x" * 1000)
    known = there.put()
    uploaded: list[str] = []
    upload = catalog.upload
    monkeypatch.setattr(catalog, "upload", lambda c, task: uploaded.append(task.key) or upload(c, task))
    path.write_bytes({"nothing": b"x" * 1000, "its bytes": b"y" * 1000, "its size": b"x" * 999}[change])
    entries = there.put(known=known, attempt_id="two")
    assert uploaded == ([] if change == "nothing" else ["run/table.csv"])
    assert (entries["table.csv"] == known["table.csv"]) is (change == "nothing")
