"""Random operations on a mounted folder and on a plain one: both are the same at every step, and so is the store."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_magnus.mount.places import Access
from mount_stage import MountStage, overlay_stage

pytestmark = pytest.mark.external

OPERATIONS = 2_000


class Exerciser:
    """Does the same in both folders, and compares what comes of it.

    :param without: names of operations that are left out.
    """

    def __init__(self, mounted: Path, plain: Path, seed: int, without: frozenset[str] = frozenset()) -> None:
        self.both = (mounted, plain)
        self.random = random.Random(seed)
        self.operations: list[tuple[Callable[[], None], int]] = [
            (self.write, 14), (self.append, 8), (self.overwrite, 10), (self.truncate, 6), (self.rename, 8),
            (self.rename_folder, 2), (self.unlink, 8), (self.make_folder, 4), (self.remove_folder, 2), (self.read, 20),
            (self.replace, 6), (self.list, 4), (self.status, 6), (self.read_and_write, 4), (self.sync, 2),
        ]  # fmt: skip
        self.operations = [pair for pair in self.operations if pair[0].__name__ not in without]
        self.done = 0

    def run(self, count: int, pause: float = 0.0) -> None:
        """Do so many operations, with so many seconds between them."""
        acts, weights = zip(*self.operations, strict=True)
        for act in self.random.choices(acts, weights, k=count):
            try:
                act()
            except BaseException as error:
                error.add_note(f"at operation {self.done}: {act.__name__}")
                raise
            self.done += 1
            time.sleep(pause)

    def _same(self, act: Callable[[Path], object]) -> None:
        results = []
        for root in self.both:
            try:
                results.append(act(root))
            except OSError as error:
                results.append(f"errno {error.errno}")
        assert results[0] == results[1]

    def _name(self) -> str:
        folder = self.random.choice(["", "", "", "a/", "b/", "a/c/"])
        return folder + f"f{self.random.randrange(25)}"

    def _file(self) -> str:
        files = [path for path in sorted(self.both[1].rglob("*")) if path.is_file()]
        return str(self.random.choice(files).relative_to(self.both[1])) if files else self._name()

    def _data(self) -> bytes:
        return self.random.randbytes(self.random.choice([0, 1, 100, 4096, 5000, 70_000, 300_000]))

    def write(self) -> None:
        """Write a whole file, new or not."""
        name, data = self._name(), self._data()
        self._same(lambda root: (root / name).write_bytes(data))

    def append(self) -> None:
        """Write at the end."""
        name, data = self._file(), self._data()

        def act(root: Path) -> int:
            with (root / name).open("ab") as file:
                file.write(data)
                return file.tell()

        self._same(act)

    def overwrite(self) -> None:
        """Write somewhere inside, or behind the end."""
        name, data, place = self._file(), self._data(), self.random.randrange(100_000)

        def act(root: Path) -> int:
            with (root / name).open("rb+") as file:
                file.seek(place)
                return file.write(data)

        self._same(act)

    def read_and_write(self) -> None:
        """Read, write and truncate with one handle."""
        name, data, place = self._file(), self._data(), self.random.randrange(50_000)

        def act(root: Path) -> tuple[bytes, bytes]:
            with (root / name).open("rb+", buffering=0) as file:
                before = file.read(1000)
                file.seek(place)
                file.write(data)
                file.truncate(place + len(data) // 2)
                file.seek(max(0, place - 100))
                return before, file.read(200)

        self._same(act)

    def truncate(self) -> None:
        """Make a file shorter or longer. By an open file: what a path does is in the table of the documentation."""
        name, size = self._file(), self.random.choice([0, 1, 50, 4096, 5000, 100_000])

        def act(root: Path) -> int:
            with (root / name).open("rb+") as file:
                return file.truncate(size)

        self._same(act)

    def rename(self) -> None:
        """Rename a file, perhaps over another."""
        name, new = self._file(), self._name()
        self._same(lambda root: os.rename(root / name, root / new))

    def replace(self) -> None:
        """Write beside, close, rename over."""
        name, data = self._name(), self._data()

        def act(root: Path) -> None:
            (root / f"{name}.tmp").write_bytes(data)
            os.replace(root / f"{name}.tmp", root / name)

        self._same(act)

    def rename_folder(self) -> None:
        """Rename a folder with all that is in it, and back."""
        name = self.random.choice(["a", "b", "a/c"])

        def act(root: Path) -> list[str]:
            (root / name).rename(root / "moved")
            found = sorted(path.name for path in (root / "moved").iterdir())
            (root / "moved").rename(root / name)
            return found

        if (self.both[1] / name).is_dir():
            self._same(act)

    def unlink(self) -> None:
        """Remove a file."""
        name = self._file()
        self._same(lambda root: (root / name).unlink())

    def make_folder(self) -> None:
        """Make a folder."""
        name = self.random.choice(["a", "b", "a/c"])
        self._same(lambda root: (root / name).mkdir(parents=True, exist_ok=True))

    def remove_folder(self) -> None:
        """Remove a folder, which may not be empty."""
        name = self.random.choice(["a", "b", "a/c"])
        self._same(lambda root: (root / name).rmdir())

    def read(self) -> None:
        """Read a whole file."""
        name = self._file()
        self._same(lambda root: (root / name).read_bytes())

    def list(self) -> None:
        """List a folder."""
        name = self.random.choice(["", "a", "b", "a/c"])
        self._same(lambda root: sorted(os.listdir(root / name)))

    def status(self) -> None:
        """Ask for kind and size."""
        name = self._file()

        def act(root: Path) -> tuple[int, bool]:
            return (root / name).stat().st_size, (root / name).is_dir()

        self._same(act)

    def sync(self) -> None:
        """Write and sync."""
        name, data = self._file(), self._data()

        def act(root: Path) -> None:
            with (root / name).open("ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())

        self._same(act)


def files_of(folder: Path) -> dict[str, bytes]:
    """All files of a folder with what is in them."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("seed", range(5))
def test_a_mounted_folder_is_as_a_plain_one(stage: MountStage, seed: int) -> None:
    plain = stage.root / "plain"
    plain.mkdir()
    with stage.mount() as mount:
        Exerciser(stage.out, plain, seed).run(
            OPERATIONS, pause=0.005
        )  # longer than the store's lists are remembered
        mount.drain()
        assert files_of(stage.out) == files_of(plain)
        assert stage.stored() == files_of(plain)
    with stage.mount():
        assert files_of(stage.out) == files_of(plain)
    assert stage.stored() == files_of(plain)


@pytest.mark.parametrize("seed", range(2))
def test_s3fs_is_so_too_but_for_truncation(stage: MountStage, seed: int) -> None:
    plain = stage.root / "plain"
    plain.mkdir()
    without = frozenset({"truncate", "read_and_write"})
    with stage.mount("s3fs") as mount:
        Exerciser(stage.out, plain, seed, without).run(500)
        mount.drain()
        assert stage.stored() == files_of(plain)


BELOW = {f"{folder}f{number}": b"%d below" % number for folder in ("", "a/", "a/c/") for number in range(12)}


class OverCatalog(Exerciser):
    """Renames no file of the catalog, but others over them."""

    def _file(self, *, is_own: bool = False) -> str:
        files = [path for path in sorted(self.both[1].rglob("*")) if path.is_file()]
        names = [str(path.relative_to(self.both[1])) for path in files]
        chosen = [name for name in names if not (is_own and name in BELOW)]
        return self.random.choice(chosen) if chosen else "none"

    def rename(self) -> None:
        """Rename a file, perhaps over another."""
        name, new = self._file(is_own=True), self._name()
        self._same(lambda root: os.rename(root / name, root / new))


@pytest.mark.parametrize("seed", range(3))
def test_a_folder_over_files_of_the_catalog_is_so_too_but_for_renaming_them(
    tmp_path: Path, seed: int
) -> None:
    plain = tmp_path / "plain"
    for name, data in BELOW.items():
        (plain / name).parent.mkdir(parents=True, exist_ok=True)
        (plain / name).write_bytes(data)
    with overlay_stage(tmp_path, BELOW) as stage:
        with stage.mount(buckets={"out": Access.WRITABLE}, over={"out": stage.out}) as mount:
            OverCatalog(stage.out, plain, seed, frozenset({"rename_folder"})).run(OPERATIONS, pause=0.001)
            mount.drain()
            assert files_of(stage.out) == files_of(plain)
        assert stage.stored() == files_of(plain)
    assert files_of(tmp_path / "below") == BELOW
