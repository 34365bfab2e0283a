"""``magnus`` commands, each in a process group of its own that may be killed: Airflow is imported once for all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Runner:
    """Runs commands in forks of one process."""

    def __init__(self, process: subprocess.Popen[str], pgid_file: Path) -> None:
        self._process = process
        self._pgid_file = pgid_file

    def run(self, folder: Path, *arguments: str) -> tuple[int, str, str]:
        """Run a command in a folder: its exit status, negative when a signal ended it, and what it printed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"folder": str(folder), "arguments": arguments, "pgid": str(self._pgid_file)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return code, (folder / "out").read_text(), (folder / "err").read_text()


@contextmanager
def command_runner(home: Path, pgid_file: Path, environ: Mapping[str, str]) -> Iterator[Runner]:
    """The process, with Airflow in ``home``.

    :param pgid_file: is given the process group of each command before it begins.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", __file__, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**environ, "PYTHONUNBUFFERED": "1"}, start_new_session=True,
    )  # fmt: skip
    try:
        yield Runner(process, pgid_file)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def _serve(home: Path) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Airflow prints is no answer
    from airflow_magnus.dags import embedded

    embedded.set_environment(home)
    embedded.make_home(home)
    import airflow_magnus.cli
    import airflow_magnus.cli_execute
    import airflow_magnus.dags.builder
    import airflow_magnus.operators.commands  # noqa: F401

    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(order)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)


def _run(order: Mapping[str, Any]) -> None:
    code = 70
    try:
        os.setsid()
        Path(order["pgid"]).write_text(str(os.getpid()))
        os.chdir(order["folder"])
        for number, name in ((0, os.devnull), (1, "out"), (2, "err")):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(name, flags, 0o644), number)
        from airflow_magnus import cli

        code = cli.main(list(order["arguments"]))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
