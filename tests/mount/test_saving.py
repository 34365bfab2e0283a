"""What programs write to the folder of ``out`` is in the store when drain has returned; else it says what is not."""

from __future__ import annotations

import hashlib
import mmap
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from airflow_magnus.errors import ConfigurationError, StoreError
from airflow_magnus.mount.faults import MountError
from airflow_magnus.mount.places import Access
from gateway_stage import client_of
from mount_stage import READ_ONLY, MountStage, within

pytestmark = pytest.mark.external


def test_inputs_are_read_and_outputs_written_by_plain_paths(stage: MountStage, engine: str) -> None:
    with stage.mount(engine) as mount:
        assert (mount.folder_of("lab") / "a.txt").read_bytes() == b"alpha"
        assert sorted(path.name for path in (mount.folder_of("lab") / "dir").iterdir()) == ["b.bin"]
        (stage.out / "sub").mkdir()
        (stage.out / "sub" / "x.txt").write_bytes(b"xx")
        mount.drain()
        assert stage.stored() == {"sub/x.txt": b"xx"}
    assert stage.left() == []


def test_inputs_are_read_only(stage: MountStage, engine: str) -> None:
    with stage.mount(engine) as mount:
        for act in (
            lambda: (mount.folder_of("lab") / "new.txt").write_bytes(b"x"),
            lambda: (mount.folder_of("lab") / "a.txt").unlink(),
            lambda: (mount.folder_of("lab") / "a.txt").rename(mount.folder_of("lab") / "c.txt"),
        ):
            with pytest.raises(OSError, match="Read-only file system"):
                act()


def test_a_thousand_files_are_in_the_store_after_drain(stage: MountStage, engine: str) -> None:
    files = {f"d{number % 10}/{number:04}.txt": f"file {number}".encode() for number in range(1000)}
    with stage.mount(engine) as mount:
        for name, data in files.items():
            path = stage.out / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        mount.drain()
        assert stage.stored() == files


def test_a_block_that_ends_well_is_drained(stage: MountStage, engine: str) -> None:
    with stage.mount(engine):
        (stage.out / "x.txt").write_bytes(b"x" * 100_000)
    assert stage.stored() == {"x.txt": b"x" * 100_000}


def test_what_is_written_behind_a_drain_is_saved_too(stage: MountStage) -> None:
    with stage.mount() as mount:
        (stage.out / "x.txt").write_bytes(b"x")
        mount.drain()
        (stage.out / "y.txt").write_bytes(b"y")
    assert stage.stored() == {"x.txt": b"x", "y.txt": b"y"}


def test_write_close_rename_at_once(stage: MountStage, engine: str) -> None:
    with stage.mount(engine) as mount:
        for number in range(50):
            (stage.out / "file.tmp").write_bytes(b"%d" % number * 1000)
            (stage.out / "file.tmp").rename(stage.out / f"file-{number}")
            (stage.out / "again.tmp").write_bytes(b"%d" % number)
            os.replace(stage.out / "again.tmp", stage.out / "again")
        mount.drain()
        expected = {f"file-{number}": b"%d" % number * 1000 for number in range(50)}
        assert stage.stored() == {**expected, "again": b"49"}


def test_random_writes_as_netcdf_and_hdf5_make_them(stage: MountStage) -> None:
    random.seed(5)
    expected = bytearray(4 << 20)
    with stage.mount() as mount:
        with (stage.out / "data.nc").open("wb+", buffering=0) as file:
            file.write(expected[:8192])
            for _ in range(400):
                data = random.randbytes(random.choice([8, 96, 4096, 30_000]))
                place = random.randrange(len(expected) - len(data))
                file.seek(place)
                file.write(data)
                expected[place : place + len(data)] = data
                if random.random() < 0.2:
                    file.seek(place)
                    assert file.read(len(data)) == data
            file.truncate(len(expected))
        with (stage.out / "data.nc").open(
            "rb+"
        ) as file:  # closed and opened again, as appending along time does
            file.seek(100)
            file.write(b"header")
            expected[100:106] = b"header"
        mount.drain()
        assert hashlib.sha256(stage.stored()["data.nc"]).digest() == hashlib.sha256(expected).digest()


def test_a_shared_mapping_is_saved(stage: MountStage) -> None:
    with stage.mount() as mount:
        with (stage.out / "mapped").open("wb+") as file:
            file.truncate(100_000)
            mapped = mmap.mmap(file.fileno(), 100_000)
        mapped[50_000:50_004] = b"late"  # the file is closed already
        mapped.close()
        mount.drain()
        assert stage.stored()["mapped"][50_000:50_004] == b"late"


def test_a_large_file_is_saved_with_its_digest(stage: MountStage, engine: str) -> None:
    block = random.Random(1).randbytes(1 << 20)
    digest = hashlib.sha256()
    with stage.mount(engine) as mount:
        with (stage.out / "large").open("wb") as file:
            for number in range(300):
                data = number.to_bytes(4, "big") + block[4:]
                digest.update(data)
                file.write(data)
        mount.drain()
        assert stage.gateway.outputs()[0].sha256 == digest.hexdigest()


def test_files_are_sent_early_where_that_is_asked_for(stage: MountStage) -> None:
    with stage.mount(write_back=1.0) as mount:
        (stage.out / "x.txt").write_bytes(b"x")
        assert within(5, lambda: stage.stored() == {"x.txt": b"x"})
        (stage.out / "y.tmp").write_bytes(b"y")
        (stage.out / "y.tmp").rename(stage.out / "y.txt")
        mount.drain()
        assert stage.stored() == {"x.txt": b"x", "y.txt": b"y"}


def test_what_was_removed_and_is_still_in_the_store_fails_the_drain(stage: MountStage) -> None:
    with pytest.raises(MountError, match=r"'x' \(in the store, and not in the folder"):
        with stage.mount(write_back=1.0) as mount:
            (stage.out / "x").write_bytes(b"old")
            assert within(5, lambda: stage.stored() == {"x": b"old"})
            (stage.out / "y").write_bytes(b"new")
            (stage.out / "y").rename(stage.out / "x")
            (stage.out / "x").unlink()  # rclone removes what it has not sent, and not what the store has
            mount.drain()


def test_what_others_write_to_the_bucket_is_no_fault(stage: MountStage) -> None:
    with stage.mount() as mount:
        (stage.out / "x.txt").write_bytes(b"x")
        client_of(stage.gateway).put_object(Bucket="out", Key="d/y.txt", Body=b"y")
        mount.drain()
        assert stage.stored() == {"x.txt": b"x", "d/y.txt": b"y"}


def test_an_open_file_fails_the_drain_by_name_and_holder(stage: MountStage) -> None:
    writer = "import sys, time\nfile = open(sys.argv[1], 'wb', 0)\nfile.write(b'x')\nprint(flush=True)\ntime.sleep(600)"
    with stage.mount(patience=1.0) as mount:
        child = subprocess.Popen(
            [sys.executable, "-c", writer, stage.out / "held.bin"], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(MountError, match=rf"'held.bin', by process {child.pid} \(python.*held.bin open"):
            mount.drain()
        child.kill()
        child.communicate()
    assert stage.stored() == {"held.bin": b"x"}


def test_a_file_that_is_closed_late_is_waited_for(stage: MountStage) -> None:
    writer = "import sys, time\nfile = open(sys.argv[1], 'wb', 0)\nfile.write(b'x')\nprint(flush=True)\ntime.sleep(2)\nfile.write(b'y')"
    with stage.mount() as mount:
        child = subprocess.Popen(
            [sys.executable, "-c", writer, stage.out / "held.bin"], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        child.stdout.readline()
        mount.drain()
        assert stage.stored() == {"held.bin": b"xy"}
        child.communicate()


def test_a_dead_gateway_fails_the_drain_by_name(stage: MountStage) -> None:
    with pytest.raises(MountError, match=r"'lost.txt'"), stage.mount() as mount:
        (stage.out / "lost.txt").write_bytes(b"lost")
        assert stage.gateway._process is not None
        stage.gateway._process.kill()
        assert within(5, lambda: stage.gateway._end is not None)
        began = time.monotonic()
        try:
            mount.drain()
        finally:
            assert time.monotonic() - began < 5


def test_a_gateway_that_dies_while_it_drains_fails_it(stage: MountStage) -> None:
    with pytest.raises(MountError, match="not in the store"), stage.mount() as mount:
        for number in range(500):
            (stage.out / f"{number}.bin").write_bytes(os.urandom(50_000))
        assert stage.gateway._process is not None
        killer = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -9 {stage.gateway._process.pid}"])
        try:
            mount.drain()
        finally:
            killer.wait()


def test_a_dead_engine_is_told_of(stage: MountStage, engine: str) -> None:
    with (
        pytest.raises(MountError, match=r"bucket 'out' has ended by itself, signal 9"),
        stage.mount(engine) as mount,
    ):
        mount.check()
        (stage.out / "lost.txt").write_bytes(b"lost")
        os.kill(_engine_of(stage, "out"), 9)
        assert within(5, lambda: _raises(mount.check))
        with pytest.raises(OSError, match=r"not connected|Input/output"):
            (stage.out / "more.txt").write_bytes(b"more")
        mount.drain()


def test_a_dead_engine_s_files_are_named(stage: MountStage) -> None:
    with pytest.raises(MountError, match=r"not in the store: 'lost\.txt'"), stage.mount() as mount:
        (stage.out / "lost.txt").write_bytes(b"lost")
        os.kill(_engine_of(stage, "out"), 9)
        mount.drain()


def test_a_dead_supervisor_is_told_of_and_nothing_is_left(stage: MountStage, engine: str) -> None:
    with pytest.raises(MountError, match="supervisor"), stage.mount(engine) as mount:
        assert mount._link is not None
        os.kill(mount._link.pid, 9)
        assert within(5, lambda: _raises(mount.check))
        mount.check()


def test_an_unmount_by_somebody_else_is_told_of(stage: MountStage) -> None:
    with pytest.raises(MountError, match=r"unmounted|ended"), stage.mount() as mount:
        subprocess.run(["fusermount3", "-u", mount.folder_of("lab")], check=True)
        mount.check()


def test_a_key_that_the_store_refuses_fails_the_drain_by_name(stage: MountStage) -> None:
    with pytest.raises(MountError, match="3 times in vain"), stage.mount() as mount:
        name = "/".join("d" * 200 for _ in range(6))  # a key has at most 1,024 bytes
        (stage.out / name).parent.mkdir(parents=True)
        (stage.out / name).write_bytes(b"x")
        mount.drain()


def test_a_block_that_raises_leaves_nothing(stage: MountStage, engine: str) -> None:
    with pytest.raises(ZeroDivisionError), stage.mount(engine):
        (stage.out / "x.txt").write_bytes(b"x")
        raise ZeroDivisionError
    assert stage.left() == []


def test_a_folder_that_is_not_empty_is_refused(stage: MountStage) -> None:
    (stage.folder / "out").mkdir(parents=True)
    (stage.folder / "out" / "x").write_bytes(b"")
    with pytest.raises(MountError, match="is not empty"), stage.mount():
        pass
    (stage.folder / "out" / "x").unlink()
    with stage.mount(), pytest.raises(MountError, match="mounted already"), stage.mount():
        pass
    (stage.folder / "out").rmdir()


def test_only_out_can_be_writable(stage: MountStage) -> None:
    with pytest.raises(ConfigurationError, match="'lab' is read-only"):
        stage.mount(buckets={"lab": Access.WRITABLE})
    with pytest.raises(ConfigurationError, match="'rclone' or 's3fs'"):
        stage.mount("davfs")


def test_a_bucket_that_is_not_there_is_told_of(stage: MountStage) -> None:
    (stage.lab / "a.txt").unlink()
    with pytest.raises(StoreError), stage.mount(buckets={"other": Access.READ_ONLY}) as mount:
        list(mount.folder_of("other").iterdir())
        raise StoreError("listed")


def test_the_token_is_nowhere_but_in_the_environment(stage: MountStage, engine: str) -> None:
    token = stage.gateway.token.encode()
    with stage.mount(engine) as mount:
        (stage.out / "x.txt").write_bytes(b"x")
        mount.drain()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                assert token not in Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
        for folder in (stage.scratch, stage.notes):
            for path in folder.rglob("*"):
                assert not path.is_file() or token not in path.read_bytes()
        assert token not in Path(f"/proc/{mount._link.pid}/environ").read_bytes()  # type: ignore[union-attr]


def test_private_folders_are_private(stage: MountStage, engine: str) -> None:
    with stage.mount(engine, buckets=READ_ONLY):
        for folder in (*stage.scratch.iterdir(), *stage.scratch.glob("*/*"), stage.notes):
            assert folder.stat().st_mode & 0o077 == 0


def test_paths_longer_than_an_address_work(stage: MountStage, tmp_path: Path) -> None:
    from airflow_magnus.mount.mount import Mount
    from mount_stage import BOTH

    long = tmp_path / "scratch" / ("long " * 20) / ("longer" * 20)
    with Mount(stage.gateway, stage.folder, BOTH, scratch=long, notes=stage.notes) as mount:
        (stage.out / "x.txt").write_bytes(b"x")
        mount.drain()
    long.rmdir()
    long.parent.rmdir()


def _engine_of(stage: MountStage, bucket: str) -> int:
    from airflow_magnus.mount.state import noted

    return next(noted(stage.notes)).engines[bucket].pid


def _raises(act: object) -> bool:
    try:
        act()  # type: ignore[operator]
    except MountError:
        return True
    return False
