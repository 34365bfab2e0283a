"""A gateway over folders or a server with its buckets mounted, and what is left of that when it has ended."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_magnus.gateway.process import Gateway
from airflow_magnus.gateway.views import Folder, Origin, Overlay, Prefix
from airflow_magnus.mount.mount import Mount
from airflow_magnus.mount.places import Access
from gateway_stage import client_of
from servers.s3 import S3Server

READ_ONLY = {"lab": Access.READ_ONLY}
BOTH = {"lab": Access.READ_ONLY, "out": Access.WRITABLE}


@dataclass
class MountStage:
    """Where everything of one test is.

    :param root: the only folder that anything is written to.
    :param store: gives what the store has in ``out``, by key; None: it is the folder ``staging``.
    """

    gateway: Gateway
    root: Path
    store: Callable[[Gateway], dict[str, bytes]] | None = None

    @property
    def lab(self) -> Path:
        """The files of the bucket ``lab``, as they are."""
        return self.root / "lab"

    @property
    def folder(self) -> Path:
        """Where the buckets are mounted."""
        return self.root / "work" / "mnt"

    @property
    def out(self) -> Path:
        """The bucket ``out`` as a folder."""
        return self.folder / "out"

    @property
    def notes(self) -> Path:
        """Where mounts are noted."""
        return self.root / "notes"

    @property
    def scratch(self) -> Path:
        """Where caches go."""
        return self.root / "scratch"

    def mount(self, engine: str = "rclone", **options: Any) -> Mount:
        """Not entered yet."""
        buckets = options.pop("buckets", BOTH)
        return Mount(
            self.gateway, self.folder, buckets, engine, scratch=self.scratch, notes=self.notes, **options
        )

    def stored(self) -> dict[str, bytes]:
        """What the store has in ``out``, by key."""
        if self.store is not None:
            return self.store(self.gateway)
        return {one.name: (self.root / "staging" / one.below).read_bytes() for one in self.gateway.outputs()}

    def left(self) -> list[str]:
        """What there is still of mounts: entries of the kernel's table, processes, files."""
        table = Path("/proc/self/mountinfo").read_text().splitlines()
        found = [line for line in table if str(self.root) in line]
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
                if str(self.root) in command and int(pid) != os.getpid():
                    found.append(f"process {pid}: {command}")
            except OSError:
                pass
        if found:
            return found  # whoever looks into a mounted folder holds it
        for folder in (self.scratch, self.notes, self.folder):
            for above, folders, names in os.walk(folder):  # passes over what goes away meanwhile
                found += [f"{above}/{name}" for name in (*folders, *names) if name != ".lock"]
        return found


LAB = {"a.txt": b"alpha", "dir/b.bin": bytes(range(256)) * 64}


@contextmanager
def mount_stage(root: Path) -> Iterator[MountStage]:
    """A stage whose bucket ``lab`` has a few files, in folders."""
    (root / "lab" / "dir").mkdir(parents=True)
    for name, data in LAB.items():
        (root / "lab" / name).write_bytes(data)
    with Gateway({"lab": Folder(root / "lab")}, Folder(root / "staging")) as gateway:
        yield MountStage(gateway, root)


@contextmanager
def server_stage(root: Path, server: S3Server) -> Iterator[MountStage]:
    """The same on a server."""
    bucket, client = server.make_bucket(), server.client()
    origin = Origin.of(bucket, server.options)
    for name, data in LAB.items():
        client.put_object(Bucket=bucket, Key=f"cat/lab/{name}", Body=data)

    def stored(_: Gateway) -> dict[str, bytes]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="cat/out/")
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return {
            key.removeprefix("cat/out/"): client.get_object(Bucket=bucket, Key=key)["Body"].read()
            for key in keys
        }

    with Gateway({"lab": Prefix(origin, "cat/lab/")}, Prefix(origin, "cat/out/")) as gateway:
        yield MountStage(gateway, root, stored)


@contextmanager
def overlay_stage(root: Path, below: Mapping[str, bytes]) -> Iterator[MountStage]:
    """A stage whose bucket ``out`` lies over files; what is stored is what a reader sees."""
    for name, data in below.items():
        (root / "below" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "below" / name).write_bytes(data)

    def stored(gateway: Gateway) -> dict[str, bytes]:
        client = client_of(gateway)
        return {
            one.name: client.get_object(Bucket="out", Key=one.name)["Body"].read() for one in gateway.shown()
        }

    lower = Folder(root / "below", {name: name for name in below})
    with Gateway({}, Overlay(Folder(root / "staging"), lower, has_copies=False)) as gateway:
        yield MountStage(gateway, root, stored)


def within(seconds: float, claim: Callable[[], bool]) -> bool:
    """Whether a claim comes true in time."""
    until = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
