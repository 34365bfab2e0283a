"""What the catalog promises, on every kind of object store."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import obstore  # noqa: TID253 - the tests look at the store beside the code under test
import pytest

from airflow_magnus.errors import CatalogEntryNotFoundError, CatalogError, DigestMismatchError
from airflow_magnus.runlog.records import CatalogEntry
from airflow_magnus.stores import copies, parallel, uploads
from airflow_magnus.stores.catalog import CatalogStore
from airflow_magnus.stores.client import ObjectClient
from airflow_magnus.stores.globs import PARTIAL

RUN = "run-1"


class Bench:
    """A catalog, and the folders of the steps that use it."""

    def __init__(self, backend: Any, folder: Path) -> None:
        self.backend = backend
        self.store = backend.store
        self.catalog = CatalogStore(backend.store, "the catalog", is_known=backend.is_known)
        self.catalog.is_conditional = self.catalog.find_out_conditional()
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()

    def write(self, files: Mapping[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.data / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def put(
        self, *patterns: str, attempt: str = "one", known: Mapping[str, CatalogEntry] | None = None
    ) -> dict[str, CatalogEntry]:
        moved = self.catalog.put(RUN, self.data, patterns or ["**"], attempt_id=attempt, known=known or {})
        return {entry.name: entry for entry in moved.entries}

    def get(self, entries: Mapping[str, CatalogEntry], *patterns: str, to: str = "got") -> dict[str, bytes]:
        target = self.folder / to
        self.catalog.get(entries, target, patterns or ["**"])
        return files(target)

    def keys(self) -> list[str]:
        return sorted(m["path"] for batch in obstore.list(self.store, prefix=RUN) for m in batch)

    def bytes_at(self, key: str) -> bytes:
        return bytes(obstore.get(self.store, key).bytes())


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def bench(objects: Any, tmp_path: Path) -> Bench:
    return Bench(objects, tmp_path)


@pytest.fixture
def local(tmp_path: Path) -> Bench:
    """On a folder alone, for what the kind of store has no part in."""
    from airflow_magnus.stores.objects import open_object_store
    from contract_backends import ObjectBackend

    return Bench(ObjectBackend("folder", open_object_store(str(tmp_path / "store"))), tmp_path)


# put and get


def test_what_is_put_comes_back_with_its_sub_folders(bench: Bench) -> None:
    content = {"a.txt": b"a", "sub/deep/b.txt": b"b", ".hidden": b"h", "empty": b""}
    bench.write(content)
    entries = bench.put("**")
    assert bench.get(entries) == content
    assert bench.keys() == sorted(f"{RUN}/{name}" for name in content)
    entry = entries["sub/deep/b.txt"]
    assert entry.model_dump() == {
        "name": "sub/deep/b.txt",
        "data_hash": hashlib.sha256(b"b").hexdigest(),
        "catalog_relative_path": f"{RUN}/sub/deep/b.txt",
        "catalog_handler_location": "the catalog",
        "stage": "put",
        "size": 1,
    }


def test_a_get_records_what_it_got(bench: Bench) -> None:
    bench.write({"a": "1"})
    moved = bench.catalog.get(bench.put("a"), bench.folder / "got", ["a"])
    assert [(e.name, e.stage, e.size) for e in moved.entries] == [("a", "get", 1)]
    assert (moved.files, moved.size, moved.warnings) == (1, 1, [])


ODD_NAMES = [
    "with space", " leading", "trailing ", "a+b", "a%20b", "100%", "a&b=c;d", "quote'\"", "[1]", "{x}", "~", "#", "a#b", "#1a",
    "q?", "*", "a|b", "<>", "a:b", "@", "$HOME", "-rf", "back\\slash", "日本語", "🙂", "...", "..a", "a..",
    unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é"), "x" * 200,
]  # fmt: skip


def test_odd_names_of_files_come_back(bench: Bench) -> None:
    content = {f"{name}/{name}": name.encode() for name in ODD_NAMES}
    bench.write(content)
    entries = bench.put("**")
    assert bench.get(entries) == content


@pytest.mark.parametrize("name", [b"bad\xff", b"bad\xff-large", b"new\nline", b"tab\t"])
def test_a_name_that_no_store_takes_is_said_clearly(local: Bench, name: bytes) -> None:
    path = os.path.join(os.fsencode(local.data), name)
    with open(path, "wb") as file:
        file.truncate(17 * 1024 * 1024 if b"large" in name else 10)
    with pytest.raises(CatalogError, match=r"(?s)its name is not allowed.*rename the file") as caught:
        local.put("*")
    str(caught.value).encode()  # it is written into the run log
    assert local.keys() == []


def test_a_name_that_a_folder_cannot_take_is_said_clearly(local: Bench) -> None:
    """obstore keeps names that end in ``#`` and a number for its own unfinished files."""
    local.write({"report#1": "x"})
    with pytest.raises(CatalogError, match=r"report#1 cannot be stored: .*not supported"):
        local.put("*")


def test_many_small_files_at_once(bench: Bench) -> None:
    content = {f"part-{number % 7}/{number:03}": str(number).encode() for number in range(500)}
    bench.write(content)
    entries = bench.put("**")
    assert len(entries) == 500
    assert bench.get(entries) == content


def test_a_large_file_goes_both_ways_and_is_settled(bench: Bench) -> None:
    content = os.urandom(1024 * 1024) * 17
    bench.write({"large.bin": content})
    entries = bench.put("large.bin", attempt="one")
    assert entries["large.bin"].catalog_relative_path == f"{RUN}/.versions/one/large.bin"
    assert entries["large.bin"].data_hash == hashlib.sha256(content).hexdigest()
    assert entries["large.bin"].size == len(content)
    assert bench.get(entries)["large.bin"] == content
    bench.catalog.settle(RUN, entries.values())
    assert bench.bytes_at(f"{RUN}/large.bin") == content
    again = bench.catalog.put(RUN, bench.data, ["*"], attempt_id="two", known=entries)
    assert (again.files, again.size) == (0, 0)


# versions


def test_the_same_bytes_are_not_sent_again(bench: Bench) -> None:
    bench.write({"a": "one", "b": "two"})
    first = bench.put("*")
    again = bench.catalog.put(RUN, bench.data, ["*"], attempt_id="later", known=first)
    assert (again.files, again.size) == (0, 0)
    assert {e.name: e for e in again.entries} == first


def test_other_bytes_never_replace_those_that_were_first(bench: Bench) -> None:
    bench.write({"a": "one"})
    first = bench.put("*", attempt="one")
    bench.write({"a": "two"})
    second = bench.put("*", attempt="two", known=first)
    bench.write({"a": "three"})
    zombie = bench.put("*", attempt="zombie")
    assert bench.bytes_at(f"{RUN}/a") == b"one"
    assert bench.keys() == [f"{RUN}/.versions/two/a", f"{RUN}/.versions/zombie/a", f"{RUN}/a"]
    assert [bench.get(e, to=t)["a"] for e, t in ((first, "1"), (second, "2"), (zombie, "3"))] == [
        b"one", b"two", b"three",
    ]  # fmt: skip


def test_settling_brings_the_newest_to_the_plain_key(bench: Bench) -> None:
    bench.write({"a": "one", "b": "same"})
    first = bench.put("*", attempt="one")
    bench.write({"a": "two"})
    second = bench.put("*", attempt="two", known=first)
    bench.catalog.settle(RUN, second.values())
    bench.catalog.settle(RUN, second.values())
    assert bench.bytes_at(f"{RUN}/a") == b"two"
    assert bench.bytes_at(f"{RUN}/b") == b"same"


def test_after_settling_every_committed_record_still_gives_its_own_bytes(bench: Bench) -> None:
    """A task of a finished run is cleared: it gets what the step before it put, not what came after."""
    bench.write({"a": "one"})
    first = bench.put("*", attempt="one")
    bench.write({"a": "two"})
    second = bench.put("*", attempt="two", known=first)
    for _ in range(2):
        bench.catalog.settle(RUN, second.values())
    assert bench.get(first, to="1")["a"] == b"one"
    assert bench.get(second, to="2")["a"] == b"two"


def test_settling_again_after_a_clear_brings_the_first_bytes_back(bench: Bench) -> None:
    bench.write({"a": "one"})
    first = bench.put("*", attempt="one")
    bench.write({"a": "two"})
    second = bench.put("*", attempt="two", known=first)
    bench.catalog.settle(RUN, second.values())
    bench.catalog.settle(RUN, first.values())
    assert bench.bytes_at(f"{RUN}/a") == b"one"


def test_a_settled_large_file_over_a_small_one_leaves_the_small_one(bench: Bench) -> None:
    bench.write({"a": "small"})
    first = bench.put("*", attempt="one")
    large = os.urandom(1024) * 17 * 1024
    bench.write({"a": large})
    second = bench.put("*", attempt="two", known=first)
    for _ in range(2):
        bench.catalog.settle(RUN, second.values())
    assert bench.bytes_at(f"{RUN}/a") == large
    assert bench.get(first)["a"] == b"small"


def test_an_object_that_the_store_will_not_copy_passes_through(
    local: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 copies at most 5 GiB by itself."""

    class Refusing:
        def __init__(self, store: Any) -> None:
            self.store = store

        def copy(self, *_: Any, **__: Any) -> None:
            raise obstore.exceptions.GenericError("the copy source is larger than the maximum allowable size")

        def head(self, key: str) -> Any:
            return self.store.head(key)

    local.write({"large": b"x" * 100})
    local.put("large")
    monkeypatch.setattr(copies, "LARGEST_COPY", 99)
    client = ObjectClient(Refusing(local.store))
    monkeypatch.setattr(obstore, "get", lambda s, key, _get=obstore.get: _get(local.store, key))
    monkeypatch.setattr(
        obstore, "open_writer", lambda s, key, _open=obstore.open_writer, **k: _open(local.store, key, **k)
    )
    copies.copy(client, f"{RUN}/large", f"{RUN}/copy")
    assert local.bytes_at(f"{RUN}/copy") == b"x" * 100
    monkeypatch.setattr(copies, "LARGEST_COPY", 100)
    with pytest.raises(obstore.exceptions.GenericError):
        copies.copy(client, f"{RUN}/large", f"{RUN}/copy")


# damage


def test_a_corrupt_object_leaves_the_local_file_as_it_was(bench: Bench) -> None:
    bench.write({"a": "right", "b": "b"})
    entries = bench.put("*")
    obstore.put(bench.store, f"{RUN}/a", b"wrong")
    target = bench.folder / "got"
    target.mkdir()
    (target / "a").write_text("mine")
    with pytest.raises(DigestMismatchError, match="sha256"):
        bench.get(entries, "a")
    assert files(target) == {"a": b"mine"}


def test_a_missing_object_is_named(bench: Bench) -> None:
    bench.write({"a": "1", "b": "2"})
    entries = bench.put("*")
    obstore.delete(bench.store, f"{RUN}/a")
    with pytest.raises(CatalogEntryNotFoundError, match="'a'"):
        bench.get(entries, "a")
    assert files(bench.folder / "got") == {}


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets files of a name be such that may not be read; the tests run as root, who may read all."""

    def forbid(name: str) -> None:
        original = os.open

        def fail(path: Any, *args: Any, **kwargs: Any) -> int:
            if Path(path).name == name:
                time.sleep(0.2)
                raise PermissionError(13, "Permission denied", str(path))
            return original(path, *args, **kwargs)

        monkeypatch.setattr(uploads.os, "open", fail)

    return forbid


def test_a_failed_put_leaves_nothing_behind(bench: Bench, unreadable: Callable[[str], None]) -> None:
    bench.write({f"{number:02}": "x" for number in range(20)})
    unreadable("07")
    with pytest.raises(CatalogError, match="07 cannot be stored: Permission denied"):
        bench.put("*")
    assert bench.keys() == []


def test_a_failed_put_leaves_alone_what_was_there(bench: Bench, unreadable: Callable[[str], None]) -> None:
    bench.write({"a": "one"})
    first = bench.put("a")
    bench.write({"a": "one", "b": "two"})
    unreadable("b")
    with pytest.raises(CatalogError):
        bench.put("*", attempt="two", known=first)
    with pytest.raises(CatalogError):
        bench.put("*", attempt="three")
    assert bench.keys() == [f"{RUN}/a"]
    assert bench.get(first) == {"a": b"one"}


def test_a_store_that_is_out_of_order_is_a_fault_of_the_catalog(moto: Any, tmp_path: Path) -> None:
    from contract_backends import ObjectBackend

    backend = ObjectBackend("moto", moto.open("no-such-bucket"))
    bench = Bench(backend, tmp_path)
    bench.write({"a": "1", "large": b"x" * (17 * 1024 * 1024)})
    for pattern in ("a", "large"):
        with pytest.raises(CatalogError, match=r"bucket .* does not exist"):
            bench.put(pattern)


# patterns and folders


def test_the_folder_of_a_put_must_be_there(local: Bench) -> None:
    with pytest.raises(CatalogError, match="missing does not exist"):
        local.catalog.put(RUN, local.folder / "missing", ["*"], attempt_id="one", known={})
    assert local.catalog.put(RUN, local.folder / "missing", [], attempt_id="one", known={}).entries == []


def test_a_get_makes_its_folder_also_when_nothing_matches(local: Bench) -> None:
    moved = local.catalog.get({}, local.folder / "new/data", ["*.csv"])
    assert (local.folder / "new/data").is_dir()
    assert moved.warnings == ["catalog get: '*.csv' matches nothing that a step before put"]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["*"], ["a.csv", "b.txt"]),
        (["*.csv"], ["a.csv"]),
        (["**"], ["a.csv", "b.txt", "sub/c.csv", "sub/deep/d.csv"]),
        (["**/*.csv"], ["a.csv", "sub/c.csv", "sub/deep/d.csv"]),
        (["sub/*"], ["sub/c.csv"]),
        (["sub/**"], ["sub/c.csv", "sub/deep/d.csv"]),
        (["a.csv", "*.csv", "b.txt"], ["a.csv", "b.txt"]),
        (["sub"], []),
        (["../*"], []),
    ],
)
def test_put_and_get_read_patterns_alike(local: Bench, patterns: list[str], expected: list[str]) -> None:
    local.write(dict.fromkeys(["a.csv", "b.txt", "sub/c.csv", "sub/deep/d.csv"], "x"))
    (local.folder / "outside").write_text("x")
    put = local.catalog.put(RUN, local.data, patterns, attempt_id="one", known={})
    assert sorted(entry.name for entry in put.entries) == expected
    everything = local.put("**")
    assert sorted(local.get(everything, *patterns)) == expected
    assert bool(put.warnings) is (expected == [])


def test_links_that_lead_out_are_not_stored(local: Bench) -> None:
    (local.folder / "secret").write_text("secret")
    (local.folder / "elsewhere").mkdir()
    (local.folder / "elsewhere/file").write_text("secret")
    local.write({"real": "x"})
    (local.data / "out").symlink_to(local.folder / "secret")
    (local.data / "folder").symlink_to(local.folder / "elsewhere")
    (local.data / "inside").symlink_to("real")
    moved = local.catalog.put(RUN, local.data, ["**", "out"], attempt_id="one", known={})
    assert sorted(entry.name for entry in moved.entries) == ["inside", "real"]
    assert [w for w in moved.warnings if "'out'" in w and "leads out" in w]


def test_nothing_is_written_through_a_link_that_leads_out(local: Bench) -> None:
    local.write({"sub/a": "new", "b": "new"})
    entries = local.put("**")
    (local.folder / "elsewhere").mkdir()
    (local.folder / "mine").write_text("mine")
    (local.folder / "got").mkdir()
    (local.folder / "got/sub").symlink_to(local.folder / "elsewhere")
    (local.folder / "got/b").symlink_to(local.folder / "mine")
    with pytest.raises(CatalogError, match="remove the link"):
        local.get(entries, "sub/a")
    assert files(local.folder / "elsewhere") == {}
    local.get(entries, "b")
    assert (local.folder / "mine").read_text() == "mine"
    assert (local.folder / "got/b").read_text() == "new"
    assert not (local.folder / "got/b").is_symlink()


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/etc/x", "..", ".", "", ".versions/one/x", "./.versions/x", "a\0b"],
)
def test_hostile_names_are_refused(local: Bench, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    local.write({"x": "1"})
    with pytest.raises(CatalogError):
        local.catalog.put_file(RUN, local.data / "x", name, attempt_id="one", known={})
    entry = local.put("x")["x"].model_copy(update={"name": name})
    (local.folder / "work").mkdir()
    before = files(local.folder)
    # What matches is a matter of the pattern: here every name does.
    monkeypatch.setattr("airflow_magnus.stores.wanted.matches", lambda pattern, name: True)
    with pytest.raises(CatalogError):
        local.catalog.get({name: entry}, local.folder / "work/data", ["**"])
    assert files(local.folder) == before


def test_a_file_of_the_name_of_the_versions_is_refused(local: Bench) -> None:
    local.write({".versions/x": "1"})
    with pytest.raises(CatalogError, match=r"\.versions"):
        local.put("**")


@pytest.mark.parametrize(("there", "wanted"), [("a", "a/b"), ("a/b", "a")])
def test_a_folder_in_the_way_of_a_file_is_said(local: Bench, there: str, wanted: str) -> None:
    local.write({wanted: "x"})
    entries = local.put("**")
    target = local.folder / "got" / there
    target.parent.mkdir(parents=True)
    target.write_text("mine")
    with pytest.raises(CatalogError, match=f"'{wanted}'"):
        local.get(entries)
    assert files(local.folder / "got") == {there: b"mine"}


def test_half_a_file_is_never_seen_or_stored(local: Bench) -> None:
    local.write({"a": "1", f"{PARTIAL}dead": "half"})
    assert sorted(local.put("**")) == ["a"]


def test_a_single_file_is_put_by_name(bench: Bench) -> None:
    bench.write({"a": "1"})
    entry = bench.catalog.put_file(RUN, bench.data / "a", "models/a.pickle", attempt_id="one", known={})
    assert bench.get({entry.name: entry}) == {"models/a.pickle": b"1"}
    with pytest.raises(CatalogError, match="there is no file"):
        bench.catalog.put_file(RUN, bench.data / "b", "b", attempt_id="one", known={})


# what goes on at the same time


def test_the_first_error_stops_what_has_not_begun() -> None:
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        time.sleep(0.01)
        if number == 3:
            raise KeyError(number)

    with pytest.raises(KeyError):
        parallel.in_parallel(work, range(1_000))
    assert len(begun) < 100


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_stops_what_has_not_begun() -> None:
    """Airflow ends a task by an exception in its main thread."""
    begun: list[int] = []

    class EndedError(BaseException):
        pass

    def end(*_: Any) -> None:
        raise EndedError

    def work(number: int) -> None:
        begun.append(number)
        time.sleep(0.02)

    before = signal.signal(signal.SIGALRM, end)
    # More than once: Python loses an exception that is raised while it runs the callback of a weak reference.
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    try:
        with pytest.raises(EndedError):
            parallel.in_parallel(work, range(2_000), parallel.Pace(8))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(begun) < 300


def test_results_are_in_the_order_of_the_items() -> None:
    def work(number: int) -> int:
        time.sleep(0.02 if number % 2 else 0)
        return number

    before = threading.active_count()
    assert parallel.in_parallel(work, range(30)) == list(range(30))
    assert threading.active_count() <= before


@pytest.mark.parametrize("attempts", [8])
def test_attempts_that_put_one_name_at_once_keep_their_own_bytes(
    conditional_objects: Any, tmp_path: Path, attempts: int
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    catalog = CatalogStore(conditional_objects.store, "here")
    start = threading.Barrier(attempts)

    def put(number: int) -> CatalogEntry:
        path = tmp_path / str(number)
        path.write_text(f"of {number}")
        start.wait()
        return catalog.put_file(RUN, path, "a", attempt_id=f"attempt-{number}", known={})

    with ThreadPoolExecutor(attempts) as pool:
        entries = list(pool.map(put, range(attempts)))
    keys = [entry.catalog_relative_path for entry in entries]
    assert len(set(keys)) == attempts
    assert keys.count(f"{RUN}/a") == 1
    for number, entry in enumerate(entries):
        catalog.get({"a": entry}, tmp_path / f"got {number}", ["a"])
        assert (tmp_path / f"got {number}/a").read_text() == f"of {number}"


def test_what_a_get_costs(local: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    local.write({"a": "1", "b": "2"})
    entries = local.put("*")
    calls = _count(monkeypatch, "get", "list", "head")
    local.get(entries, "a", "*")
    assert calls == {"get": 2}


def _count(monkeypatch: pytest.MonkeyPatch, *names: str) -> dict[str, int]:
    calls: dict[str, int] = {}

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls[name] = calls.get(name, 0) + 1
            return function(*args, **kwargs)

        return call

    for name in names:
        monkeypatch.setattr(obstore, name, counted(name, getattr(obstore, name)))
    return calls
