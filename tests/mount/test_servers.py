"""Mounts over stores that are servers: what is read and written is theirs, with either engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mount.test_exerciser import OPERATIONS, Exerciser, files_of
from mount_stage import LAB, MountStage, server_stage, within
from servers.s3 import S3Server

pytestmark = pytest.mark.external


@pytest.fixture(params=["moto", "ceph"])
def stage(request: pytest.FixtureRequest, moto_server: str, tmp_path: Path) -> Iterator[MountStage]:
    """A gateway over each server; when the test is over there must be nothing of its mounts."""
    moto = S3Server(moto_server, "test-access", "test-secret")
    server = moto if request.param == "moto" else request.getfixturevalue("ceph")
    with server_stage(tmp_path, server) as made:
        yield made
        assert within(6, lambda: not made.left()), made.left()


def test_all_files_are_on_the_server_after_drain(stage: MountStage, engine: str) -> None:
    count = 1000 if engine == "rclone" else 200  # s3fs takes its time
    files = {f"d{number % 10}/{number:04}.txt": f"file {number}".encode() for number in range(count)}
    files["large.bin"] = bytes(range(256)) * (20 << 12)  # in several parts
    with stage.mount(engine) as mount:
        assert {name: (mount.folder_of("lab") / name).read_bytes() for name in LAB} == LAB
        for name, data in files.items():
            path = stage.out / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        mount.drain()
        assert stage.stored() == files


def test_a_mounted_folder_is_as_a_plain_one(stage: MountStage) -> None:
    plain = stage.root / "plain"
    plain.mkdir()
    with stage.mount() as mount:
        Exerciser(stage.out, plain, 5).run(OPERATIONS, pause=0.005)
        mount.drain()
        assert stage.stored() == files_of(plain)
    with stage.mount():
        assert files_of(stage.out) == files_of(plain)
