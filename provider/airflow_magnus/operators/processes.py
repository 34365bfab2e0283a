"""Run a shell step's command, and remember what it said last."""

from __future__ import annotations

import os
import select
from collections import deque
from subprocess import PIPE, STDOUT, Popen

from airflow.providers.standard.hooks.subprocess import SubprocessHook, SubprocessResult

_LAST_LINES = 20
_LONGEST_SHOWN = 1000
"""Characters of one line that are remembered."""
_LONGEST_LINE = 1024 * 1024
"""Bytes after which a line without an end is logged in pieces."""
_PATIENCE = 0.2
"""Seconds between two looks whether the command has ended."""


class CommandHook(SubprocessHook):
    """Logs a command's output line by line and remembers its last lines.

    Unlike Airflow's own it is done when the command is: a child that outlives the command and holds its output is left
    alone, and what such a child writes later is lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tail: deque[str] = deque(maxlen=_LAST_LINES)

    def run_command(
        self,
        command: list[str],
        env: dict[str, str] | None = None,
        output_encoding: str = "utf-8",
        cwd: str | None = None,
    ) -> SubprocessResult:
        """Run a command to its end; arguments as of Airflow's hook, without a working folder the current one."""
        process = self.sub_process = Popen(
            command, stdout=PIPE, stderr=STDOUT, cwd=cwd, env=env, start_new_session=True
        )
        # The pipe is not closed when an exception passes: the command may write while on_kill ends it.
        self._log_output(process, output_encoding)
        process.wait()
        self._close_stdout()
        return SubprocessResult(exit_code=process.returncode, output="")

    def _log_output(self, process: Popen[bytes], encoding: str) -> None:
        assert process.stdout is not None
        descriptor = process.stdout.fileno()
        rest = b""
        while True:
            has_ended = process.poll() is not None
            if not select.select([descriptor], [], [], 0 if has_ended else _PATIENCE)[0]:
                if has_ended:
                    break
                continue
            data = os.read(descriptor, 65536)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > _LONGEST_LINE:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._log_line(line, encoding)
        if rest:
            self._log_line(rest, encoding)

    def _log_line(self, data: bytes, encoding: str) -> None:
        line = data.decode(encoding, errors="backslashreplace").rstrip()
        self.tail.append(_shortened(line))
        print(line, flush=True)  # noqa: T201 - seen at any level of logging; Airflow puts it into the task's log


def _shortened(line: str) -> str:
    left_out = len(line) - _LONGEST_SHOWN
    return line if left_out <= 0 else f"{line[:_LONGEST_SHOWN]}… ({left_out} characters more)"
