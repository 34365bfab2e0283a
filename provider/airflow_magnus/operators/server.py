"""Answers the calls of a step's children, over a socket that only this user can reach."""

from __future__ import annotations

import json
import shutil
import socket
import socketserver
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_magnus.operators.environment import scratch_folder

if TYPE_CHECKING:
    from airflow_magnus.api import Session

_LONGEST_ADDRESS = 100
"""Bytes of a socket's path that the system allows, less a margin."""


class StepServer:
    """Serves one session from :meth:`start` to :meth:`stop`."""

    def __init__(self, session: Session) -> None:
        parent = scratch_folder()
        self._folder = Path(
            tempfile.mkdtemp(prefix="magnus-", dir=parent if len(parent) < _LONGEST_ADDRESS - 30 else "/tmp")
        )
        self.address = str(self._folder / "step")
        self._server = _Server(self.address, session)
        self._is_stopping = False
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and remove the socket."""
        self._is_stopping = True
        if self._thread.is_alive():
            with suppress(OSError), socket.socket(socket.AF_UNIX) as waker:
                waker.connect(self.address)  # it waits for a call, and for nothing else
            self._thread.join(1)
        self._server.server_close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _serve(self) -> None:
        while not self._is_stopping:
            self._server.handle_request()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: str, session: Session) -> None:
        self.session = session
        super().__init__(address, _Handler)


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        line = self.rfile.readline()
        if line:
            self.wfile.write(json.dumps(self._answer(line)).encode() + b"\n")

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            return {"result": self.server.session.call(request["operation"], request["arguments"])}
        except Exception as error:  # noqa: BLE001 - every error belongs to the caller at the other end
            return {"error": type(error).__name__, "message": str(error)}
