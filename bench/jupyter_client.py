"""The calls of one contents manager, measured in this process. Prints what they took, as JSON."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_BUCKET, _MB = "bench", 1024**2
_CHUNKS = 200


class Client:
    """One contents manager."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._endpoint, self._delay = job["endpoint"], job["delay"]
        self.is_ours = job["name"] == "ours"
        self.manager: Any = self._ours() if self.is_ours else self._theirs()

    def _ours(self) -> Any:
        from jupyter_stage import manager_of
        from servers.s3 import S3Server

        return manager_of(S3Server(self._endpoint, "test-access", "test-secret"), _BUCKET)

    def _theirs(self) -> Any:
        from s3contents import S3ContentsManager

        return S3ContentsManager(
            bucket=_BUCKET, endpoint_url=self._endpoint, access_key_id="test-access", secret_access_key="test-secret",
            region_name="us-east-1", signature_version="s3v4",
        )  # fmt: skip

    def ask(self, path: str, body: Any = None, method: str = "POST") -> Any:
        """Ask the server itself."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._endpoint + path, data=data, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    async def timed(self, call: Callable[[], Any]) -> dict[str, Any]:
        """What a call takes, without what other calls have left waiting."""
        self.ask("/-/rules", {"delay": self._delay})
        stall, before = [0.0], _resident()
        watching = asyncio.create_task(_watch(stall))
        await asyncio.sleep(0.01)
        begun = time.perf_counter()
        found = call()
        most = await found if self.is_ours else found
        wall = time.perf_counter() - begun
        await asyncio.sleep(0.005)
        watching.cancel()
        requests = len(self.ask("/-/log", method="GET"))
        self.ask("/-/rules", {})
        memory = (most if isinstance(most, int) else _resident()) - before
        return {"wall": wall, "requests": requests, "stall": stall[0], "memory": memory}


async def _watch(longest: list[float]) -> None:
    while True:
        begun = time.perf_counter()
        await asyncio.sleep(0.001)
        longest[0] = max(longest[0], time.perf_counter() - begun - 0.001)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _notebook() -> dict[str, Any]:
    """About 5 MB: cells with outputs."""
    from nbformat.v4 import new_code_cell, new_notebook, new_output

    cells = [
        new_code_cell(f"print({n})", outputs=[new_output("stream", name="stdout", text="x" * 24_000)])
        for n in range(200)
    ]
    return {"type": "notebook", "content": new_notebook(cells=cells)}


async def _upload(client: Client) -> int:
    """Send a file in chunks; gives the most memory that the process had."""
    content, most = base64.b64encode(os.urandom(_MB)).decode(), 0
    for number in [*range(1, _CHUNKS), -1]:
        model = {"type": "file", "format": "base64", "content": content, "chunk": number}
        saved = client.manager.save(model, "large.bin")
        if client.is_ours:
            await saved
        most = max(most, _resident())
    return most


def _calls(client: Client) -> Iterator[tuple[str, Callable[[], Any]]]:
    manager, model = client.manager, _notebook()
    yield "list", lambda: manager.get("many")
    yield "folders", lambda: manager.get("folders")
    yield "save", lambda: manager.save(model, "n.ipynb")
    yield "open", lambda: manager.get("n.ipynb")
    yield "rename", lambda: manager.rename("five", "moved")
    yield "delete", lambda: manager.delete("moved")
    if client.is_ours:
        yield "upload", lambda: _upload(client)


def _fill(client: Client) -> None:
    client.ask("/-/rules", {})
    for key in (
        *(f"many/{n:05}.txt" for n in range(10_000)),
        *(f"folders/{n:04}/.s3keep" for n in range(1_000)),
        "folders/.s3keep", "many/.s3keep",
    ):  # fmt: skip
        client.ask(f"/{_BUCKET}/{key}", b"x", "PUT")


async def _measured(job: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    client = Client(job)
    found: dict[str, list[dict[str, Any]]] = {}
    if client.is_ours:
        _fill(client)
    first = client.manager.save(_notebook(), "n.ipynb")  # opens connections; makes the first checkpoint
    if client.is_ours:
        await first
    for _ in range(job["repetitions"]):
        for n in range(500):
            client.ask(f"/{_BUCKET}/five/{n:04}.txt", b"x", "PUT")
        client.ask(f"/{_BUCKET}/five/.s3keep", b"", "PUT")
        for name, call in _calls(client):
            found.setdefault(name, []).append(await client.timed(call))
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_measured(json.loads(sys.argv[1])))))
