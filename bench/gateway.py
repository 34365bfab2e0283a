"""Requests by way of a step's S3 endpoint, against the same requests straight to the store."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from airflow_magnus.gateway.process import Gateway
from airflow_magnus.gateway.views import Origin, Prefix
from airflow_magnus.stores.aws import AwsOptions
from bench.client import BUCKET, PREFIX
from bench.measure import table
from bench.servers.endpoint import Endpoint
from bench.servers.together import CEPH, NULL, SLOW, Servers

_LARGE, _CEPH_LARGE, _QUICK_LARGE = 1024**3, 256 * 1024**2, 64 * 1024**2
_SMALL, _SMALL_COUNT, _THREADS = 4 * 1024, 2000, 8
_RANGES = 400
_UPLOADS, _UPLOAD_SIZE = 40, 8 * 1024**2
_ABOUT = """\
## S3 endpoint

The same client (obstore, one process) against the store itself and by way of the endpoint, turn about. Rates and times: the
store itself = 1. *Known* objects are files of the catalog, whose digest is recorded; of others the endpoint computes the sha256
while they pass. Start: until the first answer. Memory: the most that the endpoint's process has had, 40 uploads of 8 MiB at a time
among it. Client, endpoint and server share the CPUs of this machine.
Aimed at: GET at least 0.8, PUT at least 0.9 of the rate, a range at most 3 times the time, start at most 1 s, at most 80 MB.
"""


def report(servers: Servers, repetitions: int, *, is_quick: bool = False) -> str:
    """Measure and give the table as Markdown."""
    rows, missing = [], []
    for name in (NULL, SLOW, CEPH):
        if why := servers.missing(name):
            missing.append(f"Not measured on {name}, as it is {why}.\n")
            continue
        size = _QUICK_LARGE if is_quick else _CEPH_LARGE if name == CEPH else _LARGE
        rows.append(_Measured(servers.get(name), servers, size).row(repetitions))
    head = ("server", "GET", "GET of known", "PUT of 4 KiB", "range, p50", "ms", "start, s", "memory, MB")
    return "\n".join([_ABOUT, table(head, rows) if rows else "", *missing])


class _Measured:
    """One server, and a gateway before it."""

    def __init__(self, endpoint: Endpoint, servers: Servers, size: int) -> None:
        self._endpoint = endpoint
        self._size = size
        key = f"{PREFIX}/g/large-{size}"
        if endpoint.data is not None:
            _write(servers.data / "g" / f"large-{size}", size)
        else:
            self._store(endpoint.url, BUCKET, endpoint.key, endpoint.secret).put(key, os.urandom(size))
        options = AwsOptions(
            access_key=endpoint.key, secret_key=endpoint.secret, endpoint_url=endpoint.url, region="us-east-1"
        )
        origin = Origin.of(BUCKET, options)
        name = f"large-{size}"
        self._inputs = {
            "lab": Prefix(origin, f"{PREFIX}/g/"),
            "known": Prefix(origin, f"{PREFIX}/g/", {name: name}, {name: "0" * 64}),
        }
        self._out = Prefix(origin, f"{PREFIX}/gateway-out/")
        self._direct_key, self._key = key, name

    def row(self, repetitions: int) -> list[str]:
        starts = []
        for _ in range(repetitions):
            begun = time.perf_counter()
            with Gateway(self._inputs, self._out):
                starts.append(time.perf_counter() - begun)
        with Gateway(self._inputs, self._out) as gateway:
            token = gateway.token
            direct = self._store(self._endpoint.url, BUCKET, self._endpoint.key, self._endpoint.secret)
            lab, known, out = (
                self._store(gateway.endpoint, name, token, token) for name in ("lab", "known", "out")
            )
            large = _in_turn(
                {
                    "direct": lambda: self._get(direct, self._direct_key),
                    "lab": lambda: self._get(lab, self._key),
                    "known": lambda: self._get(known, self._key),
                },
                repetitions,
            )
            small = _in_turn(
                {
                    "direct": lambda: _put_small(direct, f"{PREFIX}/gateway-direct/"),
                    "out": lambda: _put_small(out, ""),
                },
                repetitions,
            )
            ranges = _in_turn(
                {
                    "direct": lambda: self._ranges(direct, self._direct_key),
                    "known": lambda: self._ranges(known, self._key),
                },
                repetitions,
            )
            with ThreadPoolExecutor(_UPLOADS) as threads:
                list(threads.map(lambda n: out.put(f"upload-{n}", bytes(_UPLOAD_SIZE)), range(_UPLOADS)))
            memory = _most_memory(gateway)
        return [
            self._endpoint.name,
            f"{large['direct'] / large['lab']:.2f}",
            f"{large['direct'] / large['known']:.2f}",
            f"{small['direct'] / small['out']:.2f}",
            f"{ranges['known'] / ranges['direct']:.2f}",
            f"{ranges['direct'] * 1000:.2f} → {ranges['known'] * 1000:.2f}",
            f"{median(starts):.2f}",
            f"{memory / 1e6:.0f}",
        ]

    def _store(self, url: str, bucket: str, key: str, secret: str) -> Any:
        from obstore.store import S3Store

        return S3Store(
            bucket,
            endpoint=url,
            access_key_id=key,
            secret_access_key=secret,
            region="us-east-1",
            virtual_hosted_style_request=False,
            client_options={"allow_http": True, "timeout": "300s"},
        )

    def _get(self, store: Any, key: str) -> float:
        begun, got = time.perf_counter(), 0
        for piece in store.get(key).stream(min_chunk_size=64 * 1024):
            got += len(piece)
        assert got == self._size, got
        return time.perf_counter() - begun

    def _ranges(self, store: Any, key: str) -> float:
        """The median time of one, seconds."""
        numbers = random.Random(1)
        times = []
        for _ in range(_RANGES if self._endpoint.delay == 0 else _RANGES // 8):
            start = numbers.randrange(self._size - _SMALL)
            begun = time.perf_counter()
            store.get_range(key, start=start, length=_SMALL)
            times.append(time.perf_counter() - begun)
        return median(times)


def _put_small(store: Any, prefix: str) -> float:
    body = os.urandom(_SMALL)
    begun = time.perf_counter()
    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(lambda n: store.put(f"{prefix}small-{n}", body), range(_SMALL_COUNT)))
    return time.perf_counter() - begun


def _in_turn(actions: dict[str, Callable[[], float]], repetitions: int) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for action in actions.values():
        action()  # a first one opens connections
    names = list(actions)
    for turn in range(repetitions):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            taken[name].append(actions[name]())
    return {name: median(times) for name, times in taken.items()}


def _most_memory(gateway: Gateway) -> int:
    process = gateway._process
    assert process is not None
    lines = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024


def _write(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    block = os.urandom(8 * 1024**2)
    with path.open("wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
