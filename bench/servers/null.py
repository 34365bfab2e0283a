"""The null server: it drops what is put, serves files of a folder, and costs next to nothing."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.servers.endpoint import Endpoint

_SOURCE = Path(__file__).with_name("nulls3.c")


def build(folder: Path) -> Path:
    """Compile the server.

    :raises RuntimeError: when there is no C compiler, or it fails.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RuntimeError(
            "the null server is compiled from C, and there is no gcc: on Debian, apt-get install gcc libc6-dev"
        )
    program = folder / "nulls3"
    done = subprocess.run(
        [compiler, "-O2", "-w", "-o", str(program), str(_SOURCE)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{_SOURCE} does not compile:\n{done.stderr}")
    return program


@contextmanager
def null_server(program: Path, data: Path, delay: int = 0) -> Iterator[Endpoint]:
    """The server while the block goes on.

    :param data: folders of one letter, each with the files that a prefix of this last letter has.
    :param delay: milliseconds before each answer.
    """
    port = free_port()
    process = subprocess.Popen(
        [str(program), str(port), str(data), str(delay)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait(port, process)
        name = "null server" + (f", {delay} ms a request" if delay else "")
        yield Endpoint(name, f"http://127.0.0.1:{port}", delay, data, process.pid)
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port of the loopback device that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise RuntimeError("the null server did not start")
