"""Names and keys that somebody has chosen to do harm, and those at the edge of what a file system takes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.errors import CatalogError, MagnusError
from airflow_magnus.runlog.records import CatalogEntry
from airflow_magnus.stores.catalog import CatalogStore
from airflow_magnus.stores.objects import open_object_store
from contract_backends import ObjectBackend

RUN = "run-1"
EXTERNAL = pytest.mark.external


@pytest.fixture
def catalog(objects: ObjectBackend) -> CatalogStore:
    opened = CatalogStore(objects.store, "the catalog", is_known=objects.is_known)
    opened.is_conditional = opened.find_out_conditional()
    return opened


def put(
    catalog: CatalogStore, folder: Path, names: Mapping[str, bytes], attempt: str = "one"
) -> dict[str, CatalogEntry]:
    for name, content in names.items():
        path = folder / attempt / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    moved = catalog.put(RUN, folder / attempt, ["**"], attempt_id=attempt, known={})
    return {entry.name: entry for entry in moved.entries}


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# records of a hostile run log


@pytest.mark.parametrize(
    "key",
    ["../secret.txt", "../../secret.txt", "run-1/../../secret.txt", "/etc/passwd", "file:///etc/passwd", "", ".", "..", "run-1//x",
     "run-1/./x", "run-1/\0x", "run-1/a\nb", "run-1/\udcff", "x" * 3_000, "other-run/x", "%2e%2e/secret.txt"],
)  # fmt: skip
def test_a_record_cannot_make_a_get_read_elsewhere(key: str, tmp_path: Path) -> None:
    """The digest is that of the file outside: it alone would not keep a get from giving it."""
    (tmp_path / "secret.txt").write_bytes(b"secret")
    catalog = CatalogStore(open_object_store(str(tmp_path / "store")), "the catalog")
    put(catalog, tmp_path / "work", {"x": b"1"})
    before = files(tmp_path)
    digest = hashlib.sha256(
        (Path("/etc/passwd") if "passwd" in key else tmp_path / "secret.txt").read_bytes()
    ).hexdigest()
    entry = CatalogEntry.model_construct(
        name="x",
        data_hash=digest,
        catalog_relative_path=key,
        catalog_handler_location="",
        stage="put",
        size=6,
    )
    with pytest.raises(MagnusError) as caught:
        catalog.get({"x": entry}, tmp_path / "got", ["**"])
    str(caught.value).encode()
    assert files(tmp_path) == before


@pytest.mark.parametrize("objects", ["folder", "moto", pytest.param("ceph", marks=EXTERNAL)], indirect=True)
@pytest.mark.parametrize(
    "lies",
    [{"size": -1}, {"size": 0}, {"size": 10**15}, {"size": None}, {"data_hash": ""}, {"data_hash": "../x"},
     {"data_hash": "0" * 64}, {"data_hash": "x" * 1_000_000}],
)  # fmt: skip
@pytest.mark.parametrize("content", [b"whole", b"l" * (5 * 1024 * 1024)], ids=["small", "large"])
def test_a_record_that_lies_brings_the_whole_file_or_none(
    catalog: CatalogStore, tmp_path: Path, lies: dict[str, Any], content: bytes
) -> None:
    entry = put(catalog, tmp_path / "work", {"x": content})["x"].model_copy(update=lies)
    got = tmp_path / "got"
    got.mkdir()
    (got / "x").write_bytes(b"as it was")
    try:
        catalog.get({"x": entry}, got, ["**"])
    except CatalogError:
        assert files(got) == {"x": b"as it was"}
    else:
        assert "data_hash" not in lies
        assert files(got) == {"x": content}


# names at the edge

LONGEST = ["x" * 255, "é" * 127 + "x", "🙂" * 63 + "xyz", f"{'d' * 255}/{'f' * 255}"]
TWINS = ["a", "A", "é", "e\u0301", "É", "ß", "ss", "ﬁ", "fi", "a.", "a ", "a/b".replace("/", "∕")]


@pytest.mark.parametrize("name", LONGEST, ids=["ASCII", "two bytes", "four bytes", "folder and file"])
def test_a_name_of_255_bytes_comes_back_or_is_refused_clearly(
    catalog: CatalogStore, objects: ObjectBackend, tmp_path: Path, name: str
) -> None:
    if objects.name == "folder":  # it needs a longer name while it writes a file
        with pytest.raises(CatalogError) as caught:
            put(catalog, tmp_path / "work", {name: b"1"})
        assert name[-50:] in str(caught.value)
        return
    entries = put(catalog, tmp_path / "work", {name: b"1", "other": b"2"})
    catalog.get(entries, tmp_path / "got", ["**"])
    assert files(tmp_path / "got") == {name: b"1", "other": b"2"}


# `rclone serve s3` takes é and e with an accent for one name: there a get says that the digest is another one.
@pytest.mark.parametrize(
    "objects", ["memory", "folder", "moto", pytest.param("ceph", marks=EXTERNAL)], indirect=True
)
def test_names_that_look_alike_stay_apart(catalog: CatalogStore, tmp_path: Path) -> None:
    content = {f"{name}/{other}": f"{name} {other}".encode() for name in TWINS for other in TWINS[:4]}
    entries = put(catalog, tmp_path / "work", content)
    assert sorted(entries) == sorted(content)
    catalog.get(entries, tmp_path / "got", ["**"])
    assert files(tmp_path / "got") == content
    catalog.get(entries, tmp_path / "one", ["A/a"])
    assert files(tmp_path / "one") == {"A/a": b"A a"}


@pytest.mark.parametrize("objects", ["moto", pytest.param("ceph", marks=EXTERNAL)], indirect=True)
def test_a_file_and_a_folder_of_one_name_are_two_objects_and_never_half_of_both(
    catalog: CatalogStore, tmp_path: Path
) -> None:
    """One step leaves a file, the next one a folder of its name; a bucket takes both, a folder does not."""
    entries = put(catalog, tmp_path / "work", {"a": b"file", "z": b"z"})
    entries |= put(catalog, tmp_path / "work", {"a/b": b"inside"}, attempt="two")
    for name, content in (("a", b"file"), ("a/b", b"inside")):
        got = tmp_path / name.replace("/", "-")
        catalog.get(entries, got, [name])
        assert files(got) == {name: content}
    with pytest.raises(CatalogError, match=r"a/b|'a'"):
        catalog.get(entries, tmp_path / "both", ["a", "a/b"])
    assert set(files(tmp_path / "both")) <= {"a", "a/b"}
    catalog.settle(RUN, entries.values())
    catalog.get(entries, tmp_path / "again", ["a/b", "z"])
    assert files(tmp_path / "again") == {"a/b": b"inside", "z": b"z"}
