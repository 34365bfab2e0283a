"""Start programs that serve, find out when they do, and end them by the ids that they were given."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


class ServerMissingError(RuntimeError):
    """A program that a test needs is not installed."""


class ServerFailedError(RuntimeError):
    """A server did not start; the message ends in what its logs say."""


def program(name: str, *folders: Path) -> str:
    """The path of a program, looked for in ``folders`` first.

    :raises ServerMissingError: when it is not there. A test marked ``external`` fails then; it is never skipped.
    """
    for folder in folders:
        if (folder / name).is_file():
            return str(folder / name)
    found = shutil.which(name)
    if found is None:
        raise ServerMissingError(
            f"this test is marked `external` and needs {name!r}, which is not installed: "
            "`make test-all` installs what the external tests need and runs them"
        )
    return found


def free_port() -> int:
    """A port of the loopback device that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Whether something accepts connections at a port of this machine."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Programs:
    """The programs of one server, each with a log in ``folder``; all of them end together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[tuple[subprocess.Popen[bytes], signal.Signals]] = []
        self._users: dict[int, str | None] = {}

    def start(
        self,
        arguments: Sequence[str],
        *,
        user: str | None = None,
        end_by: signal.Signals = signal.SIGKILL,
    ) -> None:
        """Start a program that stays in the foreground.

        :param user: whom it runs as; None: as this process.
        :param end_by: the signal that ends it; nothing that the servers of tests keep is needed later.
        """
        with self._log(arguments).open("ab") as out:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
                start_new_session=True,  # a Ctrl-C at pytest must not end servers before their tests
            )
        self._running.append((process, end_by))
        self._users[process.pid] = user

    def restart(self, word: str, *, is_crash: bool = True, seconds_between: float = 0) -> None:
        """End the program that has ``word`` among its arguments, and start it again.

        :param is_crash: kill it with its children; else it is ended as it wants to be.
        """
        process, end_by = next(entry for entry in self._running if word in list(entry[0].args))  # type: ignore[arg-type]
        if is_crash:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.send_signal(end_by)
        process.wait(60)
        time.sleep(seconds_between)
        self._running.remove((process, end_by))
        self.start(list(process.args), user=self._users.pop(process.pid), end_by=end_by)  # type: ignore[arg-type]

    def run(self, *arguments: str, user: str | None = None, seconds: float = 60) -> str:
        """Run a program to its end and give what it printed.

        :raises ServerFailedError: when it fails or takes too long.
        """
        try:
            done = subprocess.run(
                arguments,
                capture_output=True,
                text=True,
                timeout=seconds,
                cwd=self.folder,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
                check=True,
            )
        except subprocess.CalledProcessError as error:
            raise ServerFailedError(
                f"{' '.join(arguments)} failed:\n{error.stdout}{error.stderr}\n{self.logs()}"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise ServerFailedError(f"{' '.join(arguments)} took too long\n{self.logs()}") from error
        return done.stdout

    def wait_until(self, is_ready: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Wait for a server.

        :raises ServerFailedError: when it ended or the time is over.
        """
        end = time.monotonic() + seconds
        while not is_ready():
            dead = [process.args for process, _ in self._running if process.poll() is not None]
            if dead or time.monotonic() > end:
                why = f"{dead} ended" if dead else f"not within {seconds:.0f} s"
                raise ServerFailedError(f"{what} did not start: {why}\n{self.logs()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End the programs, the last one first."""
        for process, end_by in reversed(self._running):
            process.send_signal(end_by)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        self._running.clear()

    def logs(self) -> str:
        """The last lines of every log."""
        texts = [
            f"--- {path}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-25:])
            for path in sorted(self.folder.glob("**/*.log"))
        ]
        return "\n".join(texts)

    def _log(self, arguments: Sequence[str]) -> Path:
        return self.folder / f"{Path(arguments[0]).name}.{len(self._running)}.out.log"


@contextmanager
def ended_together(folder: Path) -> Iterator[Programs]:
    """Programs that have all ended when the block is left, whatever happens in it."""
    programs = Programs(folder)
    try:
        yield programs
    finally:
        programs.stop()
