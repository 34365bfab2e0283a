"""Files of a bucket by way of a mount, against the same bucket mounted by the engines alone and read by boto3."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from airflow_magnus.gateway.process import Gateway
from airflow_magnus.gateway.views import Origin, Prefix
from airflow_magnus.mount.engine import program
from airflow_magnus.mount.engines import preflight
from airflow_magnus.mount.mount import Mount
from airflow_magnus.mount.mountpoints import source_at, unmount
from airflow_magnus.mount.places import Access
from airflow_magnus.stores.aws import AwsOptions
from bench.client import BUCKET, PREFIX
from bench.measure import table
from bench.servers.counting import counted
from bench.servers.endpoint import Endpoint
from bench.servers.together import CEPH, Servers

_LARGE, _QUICK_LARGE = 512 * 1024**2, 128 * 1024**2
_RANDOM, _PIECE = 150, 4 * 1024
_FILES, _QUICK_FILES = 1000, 200
_BLOCK = 1024**2
_ROOT = f"{PREFIX}/mount"
_FILE = "large.bin"
_ABOUT = """\
## Mounts

A file of {size} MiB on Ceph RGW read through a mount: {random} times 4 KiB at random places, and from its beginning to its end;
then {files:,} files of 4 KiB written one after the other, until they are saved and nothing is mounted any more. *Fetched*: bytes
that came from the server, of those of the file. *Read*: the rate, a stream by boto3 (get_object, 1 MiB at a time) straight from
the server = 1, {rate:.0f} MB/s. Each reading has a new mount. Program, engine, endpoint and server share the CPUs of this machine.
Aimed at: at most 0.20 fetched, read at least 0.60.
"""

Folders = AbstractContextManager[tuple[Path, Path]]
Way = Callable[[Endpoint, Path, str], Folders]
"""Mounts: the server, a folder for all that is needed, a name for what is written → the folders to read from and to write to."""


def report(servers: Servers, repetitions: int, *, is_quick: bool = False) -> str:
    """Measure and give the table as Markdown."""
    missing = servers.missing(CEPH) and f"Ceph is {servers.missing(CEPH)}"
    missing = missing or "; ".join([*preflight("rclone"), *preflight("s3fs")])
    if missing:
        return f"## Mounts\n\nNot measured: {missing}.\n"
    endpoint, size = servers.get(CEPH), _QUICK_LARGE if is_quick else _LARGE
    files = _QUICK_FILES if is_quick else _FILES
    client = _client(endpoint)
    client.put_object(Bucket=BUCKET, Key=f"{_ROOT}/lab/{_FILE}", Body=os.urandom(size))
    straight = median(_stream(client, size) for _ in range(repetitions + 1))
    rows = []
    for name, way in WAYS.items():
        measured = _Measured(
            name, way, endpoint, servers.work("mount", name.replace(" ", "-").replace(",", ""))
        )
        rows.append(measured.row(size, files, straight, repetitions))
    about = _ABOUT.format(size=size // 1024**2, random=_RANDOM, files=files, rate=straight / 1e6)
    head = (
        "mounted by",
        "fetched",
        "random reads, s",
        "read",
        "read, MB/s",
        "files written, s",
        "in the store",
    )
    return "\n".join([about, table(head, rows)])


class _Measured:
    """One way to mount."""

    def __init__(self, name: str, way: Way, endpoint: Endpoint, folder: Path) -> None:
        self._name, self._way, self._endpoint, self._folder = name, way, endpoint, folder
        self._number = 0

    def row(self, size: int, files: int, straight: float, repetitions: int) -> list[str]:
        fetched, jumped = self._at_random(size)
        rate = median(self._in_order(size) for _ in range(repetitions))
        written, stored = zip(*(self._write(files) for _ in range(repetitions)), strict=True)
        return [
            self._name,
            f"{fetched / size:.2f}",
            f"{jumped:.1f}",
            f"{rate / straight:.2f}",
            f"{rate / 1e6:.0f}",
            f"{median(written):.1f}",
            f"{min(stored):,}",
        ]

    @contextmanager
    def _mounted(self, endpoint: Endpoint) -> Iterator[tuple[Path, Path]]:
        self._number += 1
        folder = self._folder / str(self._number)
        folder.mkdir()
        try:
            with self._way(endpoint, folder, self._out) as folders:
                yield folders
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def _out(self) -> str:
        return f"out-{self._folder.name}-{self._number}"

    def _at_random(self, size: int) -> tuple[int, float]:
        places = random.Random(1)
        with counted(self._endpoint) as (endpoint, counts), self._mounted(endpoint) as (lab, _):
            begun, before = time.perf_counter(), counts.received
            with (lab / _FILE).open("rb", buffering=0) as file:
                for _ in range(_RANDOM):
                    file.seek(places.randrange(size - _PIECE))
                    assert len(file.read(_PIECE)) == _PIECE
            return counts.received - before, time.perf_counter() - begun

    def _in_order(self, size: int) -> float:
        with self._mounted(self._endpoint) as (lab, _):
            begun, got = time.perf_counter(), 0
            with (lab / _FILE).open("rb", buffering=0) as file:
                while block := file.read(_BLOCK):
                    got += len(block)
            assert got == size, got
            return size / (time.perf_counter() - begun)

    def _write(self, files: int) -> tuple[float, int]:
        data = os.urandom(_PIECE)
        begun = time.perf_counter()
        with self._mounted(self._endpoint) as (_, out):
            begun = time.perf_counter()
            for number in range(files):
                (out / f"{number}.bin").write_bytes(data)
        taken = time.perf_counter() - begun
        pages = _client(self._endpoint).get_paginator("list_objects_v2")
        prefix = f"{_ROOT}/{self._out}/"
        found = [
            item for page in pages.paginate(Bucket=BUCKET, Prefix=prefix) for item in page.get("Contents", [])
        ]
        return taken, sum(item["Size"] == _PIECE for item in found)


def _ours(engine: str) -> Way:
    @contextmanager
    def mounted(endpoint: Endpoint, folder: Path, out: str) -> Iterator[tuple[Path, Path]]:
        options = AwsOptions(
            access_key=endpoint.key, secret_key=endpoint.secret, endpoint_url=endpoint.url, region="us-east-1"
        )
        origin = Origin.of(BUCKET, options)
        lab = Prefix(origin, f"{_ROOT}/lab/", {_FILE: _FILE}, {_FILE: "0" * 64})  # as a file of the catalog
        buckets = {"lab": Access.READ_ONLY, "out": Access.WRITABLE}
        with (
            Gateway({"lab": lab}, Prefix(origin, f"{_ROOT}/{out}/")) as gateway,
            Mount(gateway, folder / "mnt", buckets, engine, scratch=folder, notes=folder / "notes") as mount,
        ):
            yield mount.folder_of("lab"), mount.folder_of("out")

    return mounted


@contextmanager
def _rclone(endpoint: Endpoint, folder: Path, out: str) -> Iterator[tuple[Path, Path]]:
    command = [str(program("rclone")), "mount", f"x:{BUCKET}/{_ROOT}", str(folder / "mnt"),
               "--cache-dir", str(folder / "cache")]  # fmt: skip
    remote = {
        "TYPE": "s3", "PROVIDER": "Ceph", "ENDPOINT": endpoint.url, "ACCESS_KEY_ID": endpoint.key,
        "SECRET_ACCESS_KEY": endpoint.secret, "NO_CHECK_BUCKET": "true",
    }  # fmt: skip
    environment = {f"RCLONE_CONFIG_X_{name}": value for name, value in remote.items()}
    with _engine(command, {**environment, "RCLONE_CONFIG": "/dev/null"}, folder / "mnt", out) as folders:
        yield folders


@contextmanager
def _s3fs(endpoint: Endpoint, folder: Path, out: str) -> Iterator[tuple[Path, Path]]:
    command = [str(program("s3fs")), f"{BUCKET}:/{_ROOT}", str(folder / "mnt"), "-f", "-o",
               f"url={endpoint.url},use_path_request_style,endpoint=us-east-1,complement_stat"]  # fmt: skip
    keys = {"AWSACCESSKEYID": endpoint.key, "AWSSECRETACCESSKEY": endpoint.secret}
    with _engine(command, keys, folder / "mnt", out) as folders:
        yield folders


@contextmanager
def _engine(
    command: list[str], environment: dict[str, str], folder: Path, out: str
) -> Iterator[tuple[Path, Path]]:
    """An engine with its defaults; its end is waited for, as nothing else tells that all is saved."""
    folder.mkdir()
    with ExitStack() as stack:
        log = stack.enter_context((folder.parent / "log").open("wb"))
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
        stack.callback(process.wait)
        stack.callback(unmount, folder, 60.0)
        while not source_at(folder):
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]}: {(folder.parent / 'log').read_text()[-500:]}")
            time.sleep(0.01)
        (folder / out).mkdir()
        yield folder / "lab", folder / out


WAYS: dict[str, Way] = {
    "ours, rclone": _ours("rclone"),
    "ours, s3fs": _ours("s3fs"),
    "rclone mount alone": _rclone,
    "s3fs alone": _s3fs,
}


def _client(endpoint: Endpoint) -> Any:
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=endpoint.url,
        region_name="us-east-1",
        aws_access_key_id=endpoint.key,
        aws_secret_access_key=endpoint.secret,
    )


def _stream(client: Any, size: int) -> float:
    begun = time.perf_counter()
    body = client.get_object(Bucket=BUCKET, Key=f"{_ROOT}/lab/{_FILE}")["Body"]
    assert sum(len(block) for block in body.iter_chunks(_BLOCK)) == size
    return size / (time.perf_counter() - begun)
