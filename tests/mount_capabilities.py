"""What each engine can do, found out by trying: the table in the documentation.

``python tests/mount_capabilities.py`` prints it anew.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from airflow_magnus.mount.faults import MountError
from mount_stage import MountStage, mount_stage

DATA = bytes(range(256)) * 400
Act = Callable[[Path], object]


def _saved(stage: MountStage, engine: str, act: Act, expected: dict[str, bytes]) -> str:
    """Whether the store has what is expected, when the act was done and drained."""
    try:
        with stage.mount(engine, patience=5.0) as mount:
            try:
                act(stage.out)
            except OSError as error:
                return f"no ({errno.errorcode[error.errno or 0]})"
            mount.drain()
    except MountError:
        return "no, and the step fails"
    return "yes" if stage.stored() == expected else "**no, silently**"


def _written(name: str, data: bytes, mode: str = "wb") -> Act:
    def act(out: Path) -> None:
        with (out / name).open(mode) as file:
            file.write(data)

    return act


def _then(*acts: Act) -> Act:
    def act(out: Path) -> None:
        for one in acts:
            one(out)

    return act


def append(stage: MountStage, engine: str) -> str:
    """append to a file"""
    act = _then(_written("x", DATA), _written("x", b"more", "ab"))
    return _saved(stage, engine, act, {"x": DATA + b"more"})


def write_inside(stage: MountStage, engine: str) -> str:
    """write inside a file"""

    def act(out: Path) -> None:
        with (out / "x").open("rb+") as file:
            file.seek(5000)
            file.write(b"inside")

    expected = DATA[:5000] + b"inside" + DATA[5006:]
    return _saved(stage, engine, _then(_written("x", DATA), act), {"x": expected})


def truncate_path(stage: MountStage, engine: str) -> str:
    """truncate by path (`truncate`)"""
    act = _then(_written("x", DATA), lambda out: os.truncate(out / "x", 1000))
    return _saved(stage, engine, act, {"x": DATA[:1000]})


def truncate_open(stage: MountStage, engine: str) -> str:
    """truncate an open file (`ftruncate`), shorter and longer, then write"""

    def act(out: Path) -> None:
        with (out / "x").open("wb+") as file:
            file.write(DATA)
            file.flush()
            file.truncate(1000)
            file.truncate(50_000)
            file.seek(40_000)
            file.write(b"end")

    expected = DATA[:1000] + bytes(39_000) + b"end" + bytes(9_997)
    return _saved(stage, engine, act, {"x": expected})


def rename_file(stage: MountStage, engine: str) -> str:
    """rename a file, over another too"""
    act = _then(_written("x", b"x"), _written("y", DATA), lambda out: os.rename(out / "y", out / "x"))
    return _saved(stage, engine, act, {"x": DATA})


def rename_folder(stage: MountStage, engine: str) -> str:
    """rename a folder with files"""
    act = _then(
        lambda out: (out / "a" / "b").mkdir(parents=True),
        _written("a/x", b"x"),
        _written("a/b/y", DATA),
        lambda out: os.rename(out / "a", out / "c"),
    )
    return _saved(stage, engine, act, {"c/x": b"x", "c/b/y": DATA})


def mmap_read(stage: MountStage, engine: str) -> str:
    """`mmap` to read"""

    def act(out: Path) -> None:
        with (
            (out.parent / "lab" / "dir" / "b.bin").open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        ):
            assert mapped[256:512] == bytes(range(256))

    return _saved(stage, engine, act, {})


def mmap_write(stage: MountStage, engine: str) -> str:
    """`mmap` to write (shared)"""

    def act(out: Path) -> None:
        with (out / "x").open("rb+") as file, mmap.mmap(file.fileno(), 0) as mapped:
            mapped[5000:5006] = b"mapped"

    expected = DATA[:5000] + b"mapped" + DATA[5006:]
    return _saved(stage, engine, _then(_written("x", DATA), act), {"x": expected})


def locks(stage: MountStage, engine: str) -> str:
    """locks (`fcntl`, `flock`) between processes of the machine"""
    other = (
        "import fcntl, sys\n"
        "with open(sys.argv[1], 'rb+') as file:\n"
        "    for lock in (fcntl.lockf, fcntl.flock):\n"
        "        try: lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB); print('got')\n"
        "        except BlockingIOError: print('refused')\n"
    )

    def act(out: Path) -> None:
        with (out / "x").open("rb+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            fcntl.flock(file, fcntl.LOCK_EX)
            said = subprocess.run([sys.executable, "-c", other, out / "x"], capture_output=True, text=True)
            if said.stdout.split() != ["refused", "refused"]:
                raise OSError(errno.ENOLCK, said.stdout + said.stderr)

    return _saved(stage, engine, _then(_written("x", DATA), act), {"x": DATA})


def symbolic_links(stage: MountStage, engine: str) -> str:
    """symbolic links"""
    return _saved(stage, engine, lambda out: (out / "x").symlink_to("y"), {})


def hard_links(stage: MountStage, engine: str) -> str:
    """hard links"""
    act = _then(_written("x", DATA), lambda out: os.link(out / "x", out / "y"))
    return _saved(stage, engine, act, {"x": DATA, "y": DATA})


def change_mode(stage: MountStage, engine: str) -> str:
    """`chmod`"""
    modes = []

    def act(out: Path) -> None:
        os.chmod(out / "x", 0o751)
        modes.append((out / "x").stat().st_mode & 0o777)

    said = _saved(stage, engine, _then(_written("x", DATA), act), {"x": DATA})
    return said if said != "yes" or modes == [0o751] else "without effect"


def change_time(stage: MountStage, engine: str) -> str:
    """`utime`"""
    times = []

    def act(out: Path) -> None:
        os.utime(out / "x", (1e9, 1e9))
        times.append((out / "x").stat().st_mtime)

    said = _saved(stage, engine, _then(_written("x", DATA), act), {"x": DATA})
    return said if said != "yes" or times == [1e9] else "without effect"


def unlinked_open(stage: MountStage, engine: str) -> str:
    """use of an open file that was removed"""

    def act(out: Path) -> None:
        with (out / "x").open("wb+", buffering=0) as file:
            file.write(DATA)
            (out / "x").unlink()
            file.write(b"more")
            file.seek(0)
            if file.read() != DATA + b"more":
                raise OSError(errno.EIO, "other bytes")

    return _saved(stage, engine, act, {})


def _durable(stage: MountStage, engine: str, act: Act) -> str:
    with stage.mount(engine):
        act(stage.out)
        if stage.stored() == {"x": DATA}:
            return "yes"
    return "no, at the drain" if stage.stored() == {"x": DATA} else "no"


def durable_at_close(stage: MountStage, engine: str) -> str:
    """in the store at `close`"""
    return _durable(stage, engine, _written("x", DATA))


def durable_at_fsync(stage: MountStage, engine: str) -> str:
    """in the store at `fsync`"""
    kept = []

    def act(out: Path) -> None:
        file = (out / "x").open("wb")
        file.write(DATA)
        file.flush()
        os.fsync(file.fileno())
        kept.append(file)

    try:
        with stage.mount(engine):
            act(stage.out)
            is_there = stage.stored() == {"x": DATA}
            kept[0].close()
    finally:
        with suppress(OSError):
            kept[0].close()
    return "yes" if is_there else "no, at the drain"


def empty_folders(stage: MountStage, engine: str) -> str:
    """empty folders stay"""
    with stage.mount(engine):
        (stage.out / "a").mkdir()
    with stage.mount(engine):
        return "yes" if (stage.out / "a").is_dir() else "no"


_UNPRIVILEGED = """
set -e
mknod {root}/fuse c 10 229
chmod 666 {root}/fuse
mount --bind {root}/fuse /dev/fuse
chown -R 65534:65534 {root}/user
exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search \
  {python} -c "{code}" {root}/user {engine} {shared}
"""
_AS_USER = """
import sys
from pathlib import Path
from mount_stage import mount_stage
with mount_stage(Path(sys.argv[1])) as stage:
    with stage.mount(sys.argv[2], is_shared=bool(sys.argv[3:])) as mount:
        assert (mount.folder_of('lab') / 'a.txt').read_bytes() == b'alpha'
        (stage.out / 'x').write_bytes(b'x')
        mount.drain()
    assert stage.stored() == {'x': b'x'}, stage.stored()
"""


def _as_user(stage: MountStage, engine: str, shared: str) -> str:
    """In a namespace of mounts of its own, where /dev/fuse may be opened by everybody.

    The user may read what it needs of an environment in root's home, and no more.
    """
    root = Path(tempfile.mkdtemp(prefix="mount-user-"))
    (root / "user").mkdir()
    root.chmod(0o755)
    script = _UNPRIVILEGED.format(
        root=root, python=sys.executable, code=_AS_USER, engine=engine, shared=shared
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(root / "user")}
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
        env=environment, capture_output=True, text=True, cwd="/",
    )  # fmt: skip
    subprocess.run(["rm", "-rf", root], check=True)
    if done.returncode == 0:
        return "yes"
    return (
        "with `user_allow_other` in `/etc/fuse.conf`"
        if "user_allow_other" in done.stderr
        else f"no ({done.stderr.splitlines()[-1][-300:]})"
    )


def unprivileged(stage: MountStage, engine: str) -> str:
    """use without root"""
    return _as_user(stage, engine, "")


def allow_other_as_root(stage: MountStage, engine: str) -> str:
    """`is_shared`: other users see the folder"""
    look = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat"]
    with tempfile.TemporaryDirectory(prefix="mount-shared-") as name:
        os.chmod(name, 0o755)
        with mount_stage(Path(name)) as open_stage, open_stage.mount(engine, is_shared=True) as mount:
            seen = subprocess.run([*look, mount.folder_of("lab") / "a.txt"], capture_output=True)
        with mount_stage(Path(name, "closed")) as closed_stage, closed_stage.mount(engine) as mount:
            hidden = subprocess.run([*look, mount.folder_of("lab") / "a.txt"], capture_output=True)
    return "yes" if seen.stdout == b"alpha" and hidden.returncode else f"no ({seen.stderr!r})"


def allow_other_as_user(stage: MountStage, engine: str) -> str:
    """`is_shared` without root"""
    return _as_user(stage, engine, "shared")


PROBES = [
    append, write_inside, truncate_open, truncate_path, rename_file, rename_folder, mmap_read,
    mmap_write, locks, symbolic_links, hard_links, change_mode, change_time, unlinked_open, empty_folders,
    durable_at_close, durable_at_fsync, unprivileged, allow_other_as_root, allow_other_as_user,
]  # fmt: skip


def main() -> None:
    """Print the table."""
    print("| | `rclone` | `s3fs` |\n|---|---|---|")
    for probe in PROBES:
        cells = []
        for engine in ("rclone", "s3fs"):
            with tempfile.TemporaryDirectory() as folder, mount_stage(Path(folder)) as stage:
                cells.append(probe(stage, engine))
        print(f"| {probe.__doc__} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
