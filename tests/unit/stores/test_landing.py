"""Files that take their names together, when their bytes are on disk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.errors import CatalogError
from airflow_magnus.stores import landing
from airflow_magnus.stores.globs import PARTIAL
from airflow_magnus.stores.landing import Flushing, Landing, partial_of, remove_left_over


def _write(folder: Path, count: int) -> Iterator[tuple[str, str]]:
    """Files below temporary names, each with the name that it is to have."""
    for number in range(count):
        target = str(folder / f"file-{number}")
        Path(partial := partial_of(target)).write_text(str(number))
        yield partial, target


def _land(folder: Path, count: int, error: Exception | None = None) -> None:
    with Landing() as landing:
        for number, (partial, target) in enumerate(_write(folder, count)):
            landing.add(partial, target, 100, f"what {number}")
        if error is not None:
            raise error


def _names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of the system, in its order."""
    found: list[str] = []
    monkeypatch.setattr(landing, "_sync_all", lambda path: found.append("syncfs"))
    for name in ("fsync", "replace"):
        call: Callable[..., Any] = getattr(os, name)
        monkeypatch.setattr(
            landing.os, name, lambda *a, _name=name, _call=call: found.append(_name) or _call(*a)
        )
    return found


@pytest.mark.parametrize(("count", "batches"), [(3, [3]), (40, [40]), (300, [256, 44])])
def test_small_files_are_on_the_disk_before_they_take_their_names(
    tmp_path: Path, calls: list[str], count: int, batches: list[int]
) -> None:
    _land(tmp_path, count)
    assert [(tmp_path / f"file-{n}").read_text() for n in range(count)] == [str(n) for n in range(count)]
    assert len(_names(tmp_path)) == count
    wanted: list[str] = []
    for batch in batches:
        wanted += ["syncfs"] * (batch > 4) + ["fsync"] * batch + ["replace"] * batch
    assert calls == wanted


def test_large_files_do_not_wait_for_many(tmp_path: Path, calls: list[str]) -> None:
    with Landing() as landing:
        for partial, target in _write(tmp_path, 6):
            landing.add(partial, target, 20 * 1024 * 1024, "it")
    assert calls == (["fsync"] * 2 + ["replace"] * 2) * 3
    assert _names(tmp_path) == [f"file-{n}" for n in range(6)]


def test_a_large_file_is_sent_to_the_disk_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "_FLUSHED", 10)
    sent: list[int] = []
    monkeypatch.setattr(landing.os, "fdatasync", sent.append)
    with Flushing(7) as flushing:
        flushing.written(9)
        flushing.written(10)
    assert sent == [7]


def test_a_disk_that_fails_meanwhile_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(landing, "_FLUSHED", 10)
    monkeypatch.setattr(landing.os, "fdatasync", broken)
    with pytest.raises(OSError, match="No space"), Flushing(7) as flushing:
        flushing.written(10)


def test_all_of_a_file_system_can_be_sent_to_its_disk(tmp_path: Path) -> None:
    """Linux has the call; elsewhere, and where there is no such file, nothing happens."""
    (tmp_path / "file").write_text("x")
    landing._sync_all(str(tmp_path / "file"))
    landing._sync_all(str(tmp_path / "not there"))


def test_an_error_of_another_file_leaves_no_halves(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="another"):
        _land(tmp_path, 3, RuntimeError("of another file"))
    assert _names(tmp_path) == []


@pytest.mark.parametrize("count", [3, 300])
def test_a_file_that_cannot_take_its_name_is_told_and_no_halves_stay(tmp_path: Path, count: int) -> None:
    (tmp_path / "file-1").mkdir()
    with pytest.raises(CatalogError, match=r"what 1 cannot be written: .*file-1 is a folder"):
        _land(tmp_path, count)
    assert not [name for name in _names(tmp_path)[:3] if name.startswith(PARTIAL)]


def test_a_disk_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(file: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(landing.os, "fsync", broken)
    with pytest.raises(CatalogError, match=r"what 0 cannot be written to .*file-0: Input/output error"):
        _land(tmp_path, 1)
    assert _names(tmp_path) == []


_KILLED = """
import os, sys
from pathlib import Path
from airflow_magnus.stores.landing import partial_of
Path(partial_of(sys.argv[1] + "/file")).write_text("half")
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_get(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], check=False)
    assert len(_names(tmp_path)) == 1
    (tmp_path / "mine").write_text("mine")
    mine = Path(partial_of(str(tmp_path / "mine")))
    mine.write_text("going on")
    of_another = tmp_path / f"{PARTIAL}ffffffff-1-90"
    of_another.write_text("of another machine")
    remove_left_over([tmp_path, tmp_path / "not there"])
    assert _names(tmp_path) == sorted([of_another.name, mine.name, "mine"])


def test_processes_of_containers_with_one_number_and_host_do_not_share_names(tmp_path: Path) -> None:
    target = str(tmp_path / "file")
    mine = {partial_of(target), partial_of(target)}
    landing._token.cache_clear()  # as in a process that has begun anew
    landing._numbers = count()
    assert len(mine | {partial_of(target), partial_of(target)}) == 4
