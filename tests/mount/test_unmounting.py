"""Mounts come to their end: while they are busy, when their task is killed, and when nobody is left to end them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_magnus.gateway.process import Gateway
from airflow_magnus.mount.janitor import clear_stale
from airflow_magnus.mount.processes import ProcessMark
from airflow_magnus.mount.state import noted
from mount_stage import MountStage, within

pytestmark = pytest.mark.external

TASK = """
import sys, time, json
from pathlib import Path
from mount_stage import mount_stage
with mount_stage(Path(sys.argv[1])) as stage, stage.mount(sys.argv[2]) as mount:
    print(json.dumps([mount._link.pid, stage.gateway._process.pid]), flush=True)
    exec(sys.argv[3])
"""
HOLDER = "import sys, time; file = open(sys.argv[1]); print(flush=True); time.sleep(float(sys.argv[2]))"


def _task(root: Path, engine: str, then: str = "time.sleep(600)") -> tuple[subprocess.Popen[str], list[int]]:
    """A process with mounts, and the numbers of its supervisor and its gateway."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", TASK, str(root), engine, then],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def _kill_all(*pids: int) -> None:
    """Kill processes, and wait until they have ended."""
    marks = [ProcessMark.of(pid) for pid in pids]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert within(5, lambda: not any(mark.is_alive() for mark in marks))


def _holder(path: Path, seconds: float) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-c", HOLDER, path, str(seconds)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    return child


def test_a_busy_folder_is_unmounted_when_its_last_file_is_closed(stage: MountStage, engine: str) -> None:
    with stage.mount(engine) as mount:
        child = _holder(mount.folder_of("lab") / "a.txt", 4)
        began = time.monotonic()
    took = time.monotonic() - began
    assert child.wait() == 0
    child.stdout.close()  # type: ignore[union-attr]
    assert 3 < took < 8
    assert mount.warnings == []


def test_who_holds_a_folder_is_named_and_it_is_unmounted_lazily(stage: MountStage, engine: str) -> None:
    with stage.mount(engine, patience=1.0) as mount:
        child = _holder(mount.folder_of("lab") / "a.txt", 600)
    assert any(f"process {child.pid} (python" in text and "a.txt open" in text for text in mount.warnings)
    child.kill()
    child.communicate()
    assert stage.left() == []


@pytest.mark.parametrize("how", ["cwd", "map"])
def test_working_folders_and_mappings_are_found(stage: MountStage, how: str) -> None:
    code = {
        "cwd": "import os, sys, time; os.chdir(sys.argv[1]); print(flush=True); time.sleep(600)",
        "map": "import mmap, sys, time\nwith open(sys.argv[1] + '/a.txt', 'rb') as f: m = mmap.mmap(f.fileno(), 0, access=1)\nimport os; os.closerange(3, 50); print(flush=True); time.sleep(600)",
    }[how]
    with stage.mount(patience=0.5) as mount:
        child = subprocess.Popen([sys.executable, "-c", code, mount.folder_of("lab")], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
    word = {"cwd": "as its working folder", "map": "mapped"}[how]
    assert any(f"process {child.pid} " in text and word in text for text in mount.warnings)
    child.kill()
    child.communicate()


@pytest.mark.parametrize("number", range(8))
def test_nothing_is_left_behind_a_killed_task(tmp_path: Path, engine: str, number: int) -> None:
    writes = (
        "(stage.out / 'x.txt').write_bytes(b'x' * 1000)\nmount.drain()\nprint(flush=True)\ntime.sleep(600)"
    )
    then = ["time.sleep(600)", writes][number % 2] if engine == "rclone" else "time.sleep(600)"
    task, pids = _task(tmp_path, engine, then)
    left = _left(tmp_path, *pids)
    if then == writes:
        assert task.stdout is not None
        task.stdout.readline()
    time.sleep(random.random() * number / 8)
    _kill(task)
    assert within(5, lambda: not left()), left()


@pytest.mark.parametrize("delay", [0.3, 0.45, 0.6, 0.75, 0.9, 1.1])
def test_nothing_is_left_behind_a_task_that_is_killed_while_it_mounts(tmp_path: Path, delay: float) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    task = subprocess.Popen(
        [sys.executable, "-c", TASK, str(tmp_path), "rclone", "time.sleep(600)"],
        stdout=subprocess.DEVNULL, env=environment,
    )  # fmt: skip
    time.sleep(delay)
    task.kill()
    task.wait()
    left = _left(tmp_path)
    assert within(6, lambda: not left()), left()


def test_what_a_killed_task_has_not_saved_is_kept_and_told_of(tmp_path: Path) -> None:
    then = "(stage.out / 'd').mkdir(); (stage.out / 'd' / 'x.bin').write_bytes(b'x' * 5000); print(flush=True); time.sleep(600)"
    task, pids = _task(tmp_path, "rclone", then)
    left = _left(tmp_path, *pids)
    assert task.stdout is not None
    task.stdout.readline()
    _kill(task)
    notes = tmp_path / "notes"
    assert within(5, lambda: all("process" not in text and " fuse" not in text for text in left()))
    assert next(noted(notes)).is_gateway_gone
    (leftover,) = clear_stale(notes)
    assert [(file.name, file.size, file.is_whole) for file in leftover.files] == [("d/x.bin", 5000, True)]
    assert (leftover.folder / "d" / "x.bin").read_bytes() == b"x" * 5000
    assert leftover.folder.is_relative_to(notes / "kept")
    assert "'d/x.bin' (5000 bytes)" in str(leftover)
    assert clear_stale(notes) == []
    assert all("/kept" in text for text in left())


def test_what_is_left_when_task_supervisor_and_engines_are_killed_is_cleared(
    tmp_path: Path, engine: str
) -> None:
    task, (supervisor, _) = _task(tmp_path, engine)
    engines = [mark.pid for mark in next(noted(tmp_path / "notes")).engines.values()]
    _kill_all(supervisor, *engines)
    _kill(task)
    with pytest.raises(OSError, match="not connected"):
        list((tmp_path / "work" / "mnt" / "lab").iterdir())
    assert clear_stale(tmp_path / "notes") == []
    assert within(1, lambda: not _left(tmp_path)()), _left(tmp_path)()


def test_orphaned_engines_are_ended(tmp_path: Path, engine: str) -> None:
    task, (supervisor, _) = _task(tmp_path, engine)
    _kill_all(supervisor)
    _kill(task)
    clear_stale(tmp_path / "notes")
    assert within(1, lambda: not _left(tmp_path)()), _left(tmp_path)()


def test_mounts_of_tasks_that_go_on_are_left_alone(stage: MountStage) -> None:
    with stage.mount() as mount:
        assert clear_stale(stage.notes) == []
        mount.check()
        assert (mount.folder_of("lab") / "a.txt").read_bytes() == b"alpha"


def test_the_same_folder_can_be_mounted_again_after_a_kill(tmp_path: Path) -> None:
    for _ in range(3):
        task, (supervisor, _) = _task(tmp_path, "rclone")
        _kill_all(supervisor)
        _kill(task)
        clear_stale(tmp_path / "notes")
        (tmp_path / "lab" / "a.txt").unlink()
        (tmp_path / "lab" / "dir" / "b.bin").unlink()
        (tmp_path / "lab" / "dir").rmdir()
        (tmp_path / "lab").rmdir()


def test_a_stopped_engine_does_not_stop_the_end(stage: MountStage, engine: str) -> None:
    with pytest.raises(ZeroDivisionError), stage.mount(engine, patience=2.0):
        for mark in next(noted(stage.notes)).engines.values():
            os.kill(mark.pid, signal.SIGSTOP)
        raise ZeroDivisionError
    assert stage.left() == []


def test_a_child_of_a_killed_task_does_not_keep_its_mounts(tmp_path: Path) -> None:
    child = "import os\npid = os.fork()\nif pid == 0: time.sleep(60)\nprint(pid, flush=True)\ntime.sleep(60)"
    task, pids = _task(tmp_path, "rclone", child)
    assert task.stdout is not None
    orphan = int(task.stdout.readline())
    try:
        left = _left(tmp_path, *pids, but=orphan)
        _kill(task)
        assert within(5, lambda: not left()), left()
    finally:
        os.kill(orphan, signal.SIGKILL)


def _left(root: Path, *pids: int, but: int = 0) -> Callable[[], list[str]]:
    """What asks what there is still, of the processes ``pids`` too."""
    stage, marks = MountStage(Gateway({}), root), [ProcessMark.of(pid) for pid in pids]

    def left() -> list[str]:
        alive = [f"process {mark.pid}" for mark in marks if mark.is_alive()]
        return alive + [text for text in stage.left() if not text.startswith(f"process {but}:")]

    return left
