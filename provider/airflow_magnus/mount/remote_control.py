"""Questions to a running rclone, over a socket in a folder that only this user can enter."""

from __future__ import annotations

import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any

from airflow_magnus.mount.faults import MountError

_ANSWER = 60.0


class _Connection(http.client.HTTPConnection):
    """To a socket whose path may be longer than the 107 bytes that an address has."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_ANSWER)
        self._path = path

    def connect(self) -> None:
        """Connect by way of the open folder: that name is short."""
        folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(_ANSWER)
            self.sock.connect(f"/proc/self/fd/{folder}/{self._path.name}")
        except BaseException:
            self.sock.close()
            raise
        finally:
            os.close(folder)


class RemoteControl:
    """One conversation; use it in a ``with`` block.

    :param path: the socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = _Connection(path)

    def __enter__(self) -> RemoteControl:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def ask(self, command: str, unless: str = "", **arguments: Any) -> dict[str, Any]:
        """The answer to a command such as ``vfs/queue``.

        :param unless: a refusal in which this stands is an answer too.
        :raises MountError: when there is none, or a refusal.
        """
        body = json.dumps(arguments)
        try:
            self._connection.request("POST", f"/{command}", body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            raise MountError(
                f"rclone does not answer at {self._path}: {error or type(error).__name__}"
            ) from None
        said = str(answer.get("error", response.status))
        if response.status != http.client.OK and not (unless and unless in said):
            raise MountError(f"rclone refuses {command}: {said}")
        return answer
