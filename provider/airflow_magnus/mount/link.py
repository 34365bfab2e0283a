"""The task's side of the channel to its supervisor."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

from airflow_magnus.gateway.channel import Message, receive, send
from airflow_magnus.mount.faults import MountError

_KEPT = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")


class SupervisorLink:
    """A supervisor that was started, until it has ended.

    :param configuration: of :class:`airflow_magnus.mount.supervisor.Supervisor`; with the token, so it goes over the
        channel alone.
    """

    def __init__(self, configuration: Message) -> None:
        self._lock = threading.Lock()
        self.end = ""
        """Why an engine or the supervisor has ended, if one has."""
        self._channel, theirs = socket.socketpair()
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        path = os.pathsep.join(path for path in sys.path if path)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "airflow_magnus.mount"], stdin=theirs.fileno(), stdout=subprocess.DEVNULL,
                cwd="/", env={**environment, "PYTHONPATH": path}, start_new_session=True,
            )  # fmt: skip
        send(self._channel, configuration)

    @property
    def pid(self) -> int:
        """Number of the supervisor's process."""
        return self._process.pid

    def look(self) -> None:
        """Take what it says without being asked."""
        with self._lock:
            while not self.end and self._is_readable(0.0):
                self._take(receive(self._channel))

    def ask(self, seconds: float, **message: object) -> Message:
        """Send a message and wait for the answer.

        :raises MountError: when there is none within the time.
        """
        with self._lock, suppress(OSError):
            send(self._channel, dict(message))
        return self.answer(seconds)

    def answer(self, seconds: float) -> Message:
        """Wait for what it says next, beside how engines end.

        :raises MountError: when it has ended, or says nothing within the time.
        """
        until = time.monotonic() + seconds
        with self._lock:
            while self._is_readable(max(0.0, until - time.monotonic())):
                message = receive(self._channel)
                if message is not None and message["kind"] != "ended":
                    return message
                self._take(message)
                if message is None:
                    raise MountError(self.end)
        raise MountError(
            f"the supervisor of the mounts (process {self.pid}) has not answered within {seconds:.0f} s"
        )

    def close(self) -> None:
        """Be done with it: it ends its mounts, if it has not yet, and itself. One that hangs is killed."""
        self._channel.close()
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _take(self, message: Message | None) -> None:
        if message is None:
            self.end = self.end or f"the supervisor of the mounts (process {self.pid}) has ended by itself"
        elif message["kind"] == "ended" and not self.end:
            words = message["words"] or "it has said nothing"
            self.end = (
                f"the mount of bucket {message['bucket']!r} has ended by itself, {message['how']}: {words}"
            )

    def _is_readable(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        return bool(poll.poll(seconds * 1_000))
