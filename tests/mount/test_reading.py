"""Inputs are read as files are: at any place, by mappings, many at a time; and few bytes move for it."""

from __future__ import annotations

import hashlib
import mmap
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from mount_stage import READ_ONLY, MountStage

pytestmark = pytest.mark.external

SIZE = 256 << 20


def _large(stage: MountStage) -> bytes:
    data = random.Random(7).randbytes(1 << 20) * (SIZE >> 20)
    (stage.lab / "large.bin").write_bytes(data)
    return data


def test_random_reads_fetch_less_than_a_fifth(stage: MountStage) -> None:
    data = _large(stage)
    places = random.Random(3)
    with (
        stage.mount(buckets=READ_ONLY) as mount,
        (mount.folder_of("lab") / "large.bin").open("rb", buffering=0) as file,
    ):
        for _ in range(25):
            place = places.randrange(SIZE - 4096)
            file.seek(place)
            assert file.read(4096) == data[place : place + 4096]
    (passed,) = [one for one in stage.gateway.ledger() if one.key == "large.bin"]
    assert passed.ranges
    fetched = sum(last - first + 1 for first, last in passed.ranges)
    print(f"random reads fetched {fetched / SIZE:.1%} of {SIZE >> 20} MiB")
    assert fetched < SIZE / 5


def test_a_whole_file_is_read_once(stage: MountStage, engine: str) -> None:
    data = _large(stage)
    with stage.mount(engine, buckets=READ_ONLY) as mount:
        with (mount.folder_of("lab") / "large.bin").open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    assert digest == hashlib.sha256(data).hexdigest()


def test_a_mapping_is_read(stage: MountStage, engine: str) -> None:
    with stage.mount(engine, buckets=READ_ONLY) as mount:
        with (mount.folder_of("lab") / "dir" / "b.bin").open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        assert mapped[256:512] == bytes(range(256))
        mapped.close()


def test_many_read_at_a_time(stage: MountStage, engine: str) -> None:
    for number in range(200):
        (stage.lab / f"{number}.bin").write_bytes(b"%d" % number * 5000)
    with stage.mount(engine, buckets=READ_ONLY) as mount, ThreadPoolExecutor(16) as pool:
        folder = mount.folder_of("lab")
        read = list(pool.map(lambda number: (folder / f"{number}.bin").read_bytes(), range(200)))
    assert read == [b"%d" % number * 5000 for number in range(200)]
