"""One file of the catalog as people look at it: the bytes that its record means, in parts, checked where all are asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_magnus.errors import CatalogEntryNotFoundError, CatalogError, DigestMismatchError
from airflow_magnus.stores import reading
from airflow_magnus.stores.catalog import CatalogStore
from airflow_magnus.stores.do_nothing import DoNothingCatalog
from airflow_magnus.stores.reading import StoredFile, stored_file, unreadable
from stored_files import catalog_of, entry_of

LARGE = bytes(range(256)) * 4096  # 1 MiB


def found(data: bytes, now: bytes | None = None) -> StoredFile:
    return stored_file(catalog_of({"a": data if now is None else now}), entry_of("a", data))


def test_parts_and_all_of_a_file() -> None:
    file = found(LARGE)
    assert (file.size, file.has_recorded_size) == (len(LARGE), True)
    assert file.head(5) == LARGE[:5]
    assert file.part(1000, 1010) == LARGE[1000:1010]
    assert file.part(10, 10) == b""
    assert b"".join(file.chunks()) == LARGE
    assert b"".join(file.chunks(7, 300_000)) == LARGE[7:300_000]
    reader = file.reader()
    reader.seek(-3, os.SEEK_END)
    assert reader.read() == LARGE[-3:]


def test_empty_file() -> None:
    file = found(b"")
    assert (file.head(10), b"".join(file.chunks())) == (b"", b"")


def test_part_is_given_by_a_server_that_knows_no_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    from obstore.exceptions import GenericError

    def refuse(*_: object) -> None:
        raise GenericError("received non-partial response when range requested")

    monkeypatch.setattr(reading, "_range", refuse)
    assert found(LARGE).part(300_000, 300_010) == LARGE[300_000:300_010]


def test_bytes_that_were_changed_are_not_given_whole() -> None:
    file = found(LARGE, LARGE[:-1] + b"!")
    given = bytearray()
    with pytest.raises(DigestMismatchError, match="other bytes now than were recorded"):
        given.extend(byte for chunk in file.chunks() for byte in chunk)
    assert len(given) < len(LARGE)
    assert not found(LARGE, LARGE + b"!").has_recorded_size


def test_first_bytes_of_a_plain_key_are_found_where_the_end_of_the_run_has_kept_them() -> None:
    """A later step has put the name again, and the run has settled."""
    catalog = catalog_of({"a": b"later", ".versions/first/a": b"first"})
    assert b"".join(stored_file(catalog, entry_of("a", b"first")).chunks()) == b"first"
    version = entry_of("a", b"later", catalog_relative_path="run/a")
    assert stored_file(catalog, version).key == "run/.versions/first/a"


def test_file_that_is_gone_or_elsewhere_is_refused() -> None:
    with pytest.raises(CatalogEntryNotFoundError, match="somebody has removed them outside"):
        stored_file(catalog_of({}), entry_of("a", b"x"))
    with pytest.raises(
        CatalogError, match="kept in the catalog s3://other, and this pipeline uses memory now"
    ):
        stored_file(catalog_of({"a": b"x"}), entry_of("a", b"x", catalog_handler_location="s3://other"))
    with pytest.raises(CatalogError, match="do-nothing"):
        stored_file(DoNothingCatalog(), entry_of("a", b"x"))


@pytest.mark.parametrize("key", ["../../etc/passwd", "run/../../x", "run//x"])
def test_key_of_a_record_leads_nowhere_outside(key: str, tmp_path: Path) -> None:
    from obstore.store import LocalStore

    (tmp_path / "x").write_text("outside")
    catalog = CatalogStore(LocalStore(tmp_path / "inside", mkdir=True), "memory")
    with pytest.raises(CatalogError):
        stored_file(catalog, entry_of("a", b"x", catalog_relative_path=key))


@pytest.mark.parametrize(
    "text",
    [
        "The object was stored using a form of Server Side Encryption. The correct parameters must be provided",
        "AccessDenied: not authorized to perform: kms:Decrypt on the resource (KMS)",
    ],
)
def test_file_that_is_encrypted_with_a_key_of_its_own_is_said_to_be(text: str) -> None:
    assert "is encrypted with a key that this server may not use" in str(
        unreadable(entry_of("a", b""), OSError(text))
    )
    assert "encrypted" not in str(unreadable(entry_of("a", b""), OSError("AccessDenied")))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    from obstore.store import LocalStore

    size = 120 * 1024 * 1024
    folder = tmp_path / "run"
    folder.mkdir()
    with (folder / "a").open("wb") as written:
        written.truncate(size)
    entry = entry_of("a", b"", data_hash="", size=size)
    file = stored_file(CatalogStore(LocalStore(tmp_path), "memory"), entry)
    file.head(10)
    before = _resident()
    largest = given = 0
    for number, chunk in enumerate(file.chunks()):
        given += len(chunk)
        if number % 100 == 0:
            largest = max(largest, _resident() - before)
    assert given == size
    assert largest < 30 * 1024 * 1024


def _resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
