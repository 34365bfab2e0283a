"""Objects that are fetched in pieces, damaged on the way, or left half by a process that was killed."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.errors import CatalogError, DigestMismatchError
from airflow_magnus.stores import downloads
from airflow_magnus.stores.client import ObjectClient
from airflow_magnus.stores.landing import Landing
from airflow_magnus.stores.objects import open_object_store

SIZES = [0, 1, 5_000, 10_000, 30_000, 30_001, 100_003]
"""Held whole, streamed, and in one to four ranges, when the limits are as small as in these tests."""


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectClient:
    monkeypatch.setattr(downloads, "_WHOLE", 5_000)
    monkeypatch.setattr(downloads, "_RANGED", 30_000)
    monkeypatch.setattr(downloads, "_RANGE", 33_000)
    return ObjectClient(open_object_store(str(tmp_path / "store")))


def _download(client: ObjectClient, target: Path, digest: str, size: int | None) -> int:
    with Landing() as landing:
        return downloads.download(client, "key", str(target), digest, size, what="it", landing=landing)


def _put(client: ObjectClient, size: int) -> tuple[bytes, str]:
    data = os.urandom(size)
    client.store.put("key", data)
    return data, hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("is_known", [True, False])
def test_every_way_of_fetching_gives_the_same_bytes(
    client: ObjectClient, tmp_path: Path, size: int, is_known: bool
) -> None:
    data, digest = _put(client, size)
    target = tmp_path / "file"
    assert _download(client, target, digest, size if is_known else None) == size
    assert target.read_bytes() == data
    assert os.listdir(tmp_path) == ["store", "file"] or sorted(os.listdir(tmp_path)) == ["file", "store"]


@pytest.mark.parametrize("size", [100, 20_000, 100_000])
@pytest.mark.parametrize("times", [2, 3])
def test_bytes_that_are_damaged_on_the_way_are_fetched_again(
    client: ObjectClient, tmp_path: Path, size: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, digest = _put(client, size)
    target = tmp_path / "file"
    target.write_text("mine")
    tries = 0
    write = downloads._write

    def damaging(file: int, piece: memoryview, offset: int) -> None:
        write(file, piece, offset)

    fetch = downloads._fetch

    def fetching(*args: Any) -> tuple[int, str]:
        nonlocal tries
        tries += 1
        found = fetch(*args)
        return (found[0], "0" * 64) if tries <= times else found

    monkeypatch.setattr(downloads, "_write", damaging)
    monkeypatch.setattr(downloads, "_fetch", fetching)
    if times < 3:
        _download(client, target, digest, size)
        assert target.read_bytes() == data
    else:
        with pytest.raises(DigestMismatchError):
            _download(client, target, digest, size)
        assert target.read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["file", "store"]


def test_an_object_that_was_cut_is_named(client: ObjectClient, tmp_path: Path) -> None:
    _, digest = _put(client, 20_000)
    with pytest.raises(CatalogError, match="it cannot be read"):
        _download(client, tmp_path / "file", digest, 1_000_000)
    assert not (tmp_path / "file").exists()


def test_a_disk_without_room_says_so_at_once(
    client: ObjectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, digest = _put(client, 100_000)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(downloads.os, "posix_fallocate", full)
    with pytest.raises(CatalogError, match="it has 100,000 bytes, and the disk has no room"):
        _download(client, tmp_path / "file", digest, 100_000)
    monkeypatch.undo()
    monkeypatch.setattr(downloads, "_write", full)
    with pytest.raises(CatalogError, match="No space left on device"):
        _download(client, tmp_path / "file", digest, 100)
    assert sorted(os.listdir(tmp_path)) == ["store"]
