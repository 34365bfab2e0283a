"""Run a shell step's command; show what commands and containers say, and remember the last of it."""

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


class Output:
    """What a command writes: printed line by line; its last lines are remembered.

    It is seen at any level of logging; Airflow puts it into the task's log.
    """

    def __init__(self, encoding: str = "utf-8") -> None:
        self.tail: deque[str] = deque(maxlen=_LAST_LINES)
        self._encoding = encoding
        self._rest = b""

    def write(self, data: bytes) -> None:
        """Take the next bytes; a line that has not ended is kept for later."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._show(line)

    def end(self) -> None:
        """Show what is left."""
        if self._rest:
            self._show(self._rest)
        self._rest = b""

    def _show(self, data: bytes) -> None:
        line = data.decode(self._encoding, errors="backslashreplace").rstrip()
        self.tail.append(_shortened(line))
        print(line, flush=True)  # noqa: T201


class CommandHook(SubprocessHook):
    """Logs a command's output line by line and remembers its last lines.

    Unlike Airflow's own it is done when the command is: a child that outlives the command and holds its output is left
    alone, and what such a child writes later is lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.output = Output()

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
        self.output = Output(output_encoding)
        self._log_output(process)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        return SubprocessResult(exit_code=process.returncode, output="")

    def _log_output(self, process: Popen[bytes]) -> None:
        assert process.stdout is not None
        descriptor = process.stdout.fileno()
        while True:
            has_ended = process.poll() is not None
            if not select.select([descriptor], [], [], 0 if has_ended else _PATIENCE)[0]:
                if has_ended:
                    break
                continue
            data = os.read(descriptor, 65536)
            if not data:
                break
            self.output.write(data)
        self.output.end()


def _shortened(line: str) -> str:
    left_out = len(line) - _LONGEST_SHOWN
    return line if left_out <= 0 else f"{line[:_LONGEST_SHOWN]}… ({left_out} characters more)"
