"""What a server can do at most: raw requests over several connections, by a client that does next to nothing."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from bench.client import BUCKET, PREFIX
from bench.servers.ceph import signed_path
from bench.servers.endpoint import Endpoint

_CONNECTIONS = 16
_SECONDS = 1.5
_SMALL, _LARGE = 16 * 1024, 5 * 1024**2


@dataclass(frozen=True)
class Ceiling:
    """How many requests a second, and of the server's own CPU time a request, where it is one process.

    :param name: of the request.
    """

    name: str
    size: int
    rate: float
    cpu: float

    def __str__(self) -> str:
        gibibytes = self.rate * self.size / 1024**3
        text = f"{self.name}: {self.rate:,.0f} requests/s ({gibibytes:.2f} GiB/s)"
        if not self.cpu:
            return text
        return f"{text}, {self.cpu * 1e6:,.0f} µs of the server's CPU each"


def ceilings(endpoint: Endpoint) -> list[Ceiling]:
    """Of PUT and GET of 16 KiB and of 5 MiB."""
    found = []
    for size, name in ((_SMALL, "16 KiB"), (_LARGE, "5 MiB")):
        keys = [f"{PREFIX}/z/{name[:2].strip()}-{number}" for number in range(_CONNECTIONS)]
        body = os.urandom(size)
        if endpoint.data is not None:
            folder = endpoint.data / "z"
            folder.mkdir(exist_ok=True)
            for key in keys:
                (folder / key.rpartition("/")[2]).write_bytes(body)
        head = f"Host: 127.0.0.1:{endpoint.port}\r\n"
        for verb, sent in (("PUT", body), ("GET", b"")):
            paths = [
                signed_path(endpoint, verb, key) if endpoint.config else f"/{BUCKET}/{key}" for key in keys
            ]
            requests = [
                f"{verb} {path} HTTP/1.1\r\n{head}Content-Length: {len(sent)}\r\n\r\n".encode() + sent
                for path in paths
            ]
            rate, cpu = _loop(endpoint, requests)
            found.append(Ceiling(f"{verb} {name}", size, rate, cpu))
    return found


def _loop(endpoint: Endpoint, requests: list[bytes]) -> tuple[float, float]:
    """Every connection has one request under way, all the time; requests a second, and the server's CPU for each."""
    connections = [socket.create_connection(("127.0.0.1", endpoint.port)) for _ in requests]
    buffer = bytearray(1024**2)
    try:
        for connection, request in zip(connections, requests, strict=True):
            connection.sendall(request)  # the first one of each is not counted
            _answer(connection, buffer)
        count, cpu, begun = 0, _cpu(endpoint), time.perf_counter()
        while time.perf_counter() - begun < _SECONDS:
            for connection, request in zip(connections, requests, strict=True):
                connection.sendall(request)
            for connection in connections:
                _answer(connection, buffer)
            count += len(requests)
        return count / (time.perf_counter() - begun), (_cpu(endpoint) - cpu) / count
    finally:
        for connection in connections:
            connection.close()


def _answer(connection: socket.socket, buffer: bytearray) -> None:
    got = connection.recv_into(buffer)
    while (end := buffer.find(b"\r\n\r\n", 0, got)) < 0:
        got += _more(connection.recv_into(memoryview(buffer)[got:]))
    head = bytes(buffer[:end]).lower()
    if not head.startswith((b"http/1.1 200", b"http/1.1 206")):
        raise RuntimeError(f"the server refused a raw request: {head[:200].decode()}")
    left = int(head.partition(b"content-length:")[2].split()[0]) - (got - end - 4)
    while left > 0:
        left -= _more(connection.recv_into(buffer, min(left, len(buffer))))


def _more(count: int) -> int:
    if not count:
        raise RuntimeError("the server closed a connection")
    return count


def _cpu(endpoint: Endpoint) -> float:
    if not endpoint.process:
        return 0
    fields = Path(f"/proc/{endpoint.process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
