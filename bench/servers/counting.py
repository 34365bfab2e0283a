"""Count the requests that a client sends, the bytes of their bodies and of the answers, between it and a server."""

from __future__ import annotations

import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from bench.servers.endpoint import Endpoint

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNK = 1024**2


@dataclass
class Counts:
    """What was sent so far.

    :param requests: by verb; a listing is a ``LIST``.
    :param sent: bytes of the bodies.
    :param received: bytes of all answers.
    """

    requests: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    received: int = 0

    def __str__(self) -> str:
        total = self.requests.total()
        verbs = ", ".join(f"{count:,} {verb}" for verb, count in sorted(self.requests.items()))
        return f"{total:,} ({verbs})" if total else "0"


@contextmanager
def counted(endpoint: Endpoint) -> Iterator[tuple[Endpoint, Counts]]:
    """The same server behind a port that counts, for as long as the block goes on. It is slow: no time is measured."""
    counts, lock = Counts(), threading.Lock()
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        threading.Thread(target=_serve, args=(door, endpoint.port, counts, lock), daemon=True).start()
        try:
            yield replace(endpoint, url=f"http://127.0.0.1:{port}"), counts
        finally:
            door.shutdown(socket.SHUT_RDWR)


def _serve(door: socket.socket, port: int, counts: Counts, lock: threading.Lock) -> None:
    with suppress(OSError):
        while True:
            client, _ = door.accept()
            server = socket.create_connection(("127.0.0.1", port))
            for work, ends in (
                (_requests, (client, server, counts, lock)),
                (_answers, (server, client, counts, lock)),
            ):
                threading.Thread(target=work, args=ends, daemon=True).start()


def _requests(client: socket.socket, server: socket.socket, counts: Counts, lock: threading.Lock) -> None:
    """Pass on what a client sends; its bodies have a length, as all clients of S3 that are measured give one."""
    rest = b""
    with suppress(OSError):
        while True:
            while (end := rest.find(b"\r\n\r\n")) < 0:
                more = client.recv(_CHUNK)
                if not more:
                    server.shutdown(socket.SHUT_WR)
                    return
                rest += more
            head, rest = rest[: end + 4], rest[end + 4 :]
            found = _LENGTH.search(head)
            left = int(found[1]) if found else 0
            with lock:
                counts.requests[_verb(head)] += 1
                counts.sent += left
            server.sendall(head)
            while left > 0:
                if not rest:
                    rest = client.recv(min(left, _CHUNK))
                    if not rest:
                        return
                server.sendall(rest[:left])
                passed = min(left, len(rest))
                left, rest = left - passed, rest[passed:]


def _answers(server: socket.socket, client: socket.socket, counts: Counts, lock: threading.Lock) -> None:
    with suppress(OSError):
        while data := server.recv(_CHUNK):
            with lock:
                counts.received += len(data)
            client.sendall(data)
        client.shutdown(socket.SHUT_WR)


def _verb(head: bytes) -> str:
    verb, path = head.split(b" ", 2)[:2]
    is_list = verb == b"GET" and (b"list-type=" in path or b"prefix=" in path)
    return "LIST" if is_list else verb.decode()
