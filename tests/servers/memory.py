"""An S3 server that keeps objects in memory: as quick or slow as it is told, and it remembers what it was asked.

``python memory.py PORT``. It checks no signatures. At ``/-/rules`` it takes a JSON object: ``delay`` (seconds before each
answer), ``refuses_below`` (an object and keys below it exclude each other, as in a folder), ``expired`` (an access key
that is refused as expired), ``kill`` and ``at`` (a process is killed when so many requests more have come). At ``/-/log``
it gives method, key and query of each request since the rules were set.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
import time
import urllib.request
from bisect import insort
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

sys.path.append(str(Path(__file__).resolve().parents[1]))

from aiohttp import web

from airflow_magnus.gateway.documents import parse, rendered
from airflow_magnus.gateway.listing import Fact, list_document
from servers.programs import answers, ended_together, free_port
from servers.s3 import S3Server


class _Objects:
    def __init__(self) -> None:
        self.keys: list[str] = []
        self.bodies: dict[str, bytes] = {}
        self.facts: dict[str, Fact] = {}
        self.headers: dict[str, dict[str, str]] = {}

    def put(self, key: str, body: bytes, headers: dict[str, str], etag: str = "") -> str:
        if key not in self.facts:
            insort(self.keys, key)
        etag = etag or f'"{hashlib.md5(body).hexdigest()}"'
        self.bodies[key], self.facts[key] = body, Fact(len(body), etag, time.time())
        self.headers[key] = headers
        return etag

    def delete(self, key: str) -> None:
        if self.facts.pop(key, None) is not None:
            self.keys.remove(key)
            del self.bodies[key]

    def excludes(self, key: str) -> bool:
        """Whether an object lies on the way to a key, or keys below it."""
        plain = key.rstrip("/")
        above = ["/".join(plain.split("/")[:n]) for n in range(1, plain.count("/") + 1)]
        return any(name in self.facts for name in above) or (
            not key.endswith("/") and any(name.startswith(f"{key}/") for name in self.keys)
        )


class Memory:
    """The server: one set of objects, whatever the bucket."""

    def __init__(self) -> None:
        self._objects = _Objects()
        self._uploads: dict[str, dict[int, bytes]] = {}
        self._kept: dict[str, dict[str, str]] = {}
        self._rules: dict[str, Any] = {}
        self._log: list[tuple[str, str, str]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        if request.path == "/-/rules":
            self._rules, self._log = await request.json(), []
            return web.Response()
        if request.path == "/-/log":
            return web.json_response(self._log)
        body = await request.read()
        key = unquote(request.raw_path.partition("?")[0])[1:].partition("/")[2]
        self._log.append((request.method, key, request.query_string))
        if self._rules.get("kill") and len(self._log) == self._rules["at"]:
            os.kill(self._rules["kill"], signal.SIGKILL)
        await asyncio.sleep(self._rules.get("delay", 0))
        if f"Credential={self._rules.get('expired', '-')}/" in request.headers.get("Authorization", ""):
            return _refusal(400, "ExpiredToken")
        if not key:
            return self._of_bucket(request, body)
        if request.method in ("GET", "HEAD"):
            return self._read(request, key)
        if request.method == "DELETE":
            self._objects.delete(key)
            self._uploads.pop(request.query.get("uploadId", ""), None)
            return web.Response(status=204)
        return self._write(request, key, body)

    def _of_bucket(self, request: web.Request, body: bytes) -> web.Response:
        if request.method == "GET" and "list-type" in request.query:
            return _xml(list_document("bucket", request.query, self._objects.keys, self._objects.facts))
        if "delete" in request.query:
            for item in parse(body).iter("Key"):
                self._objects.delete(item.text or "")
            return _xml(rendered("DeleteResult", []))
        return web.Response()

    def _read(self, request: web.Request, key: str) -> web.Response:
        fact = self._objects.facts.get(key)
        if fact is None:
            return _refusal(404, "NoSuchKey")
        modified = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(fact.modified))
        headers = {**self._objects.headers[key], "ETag": fact.etag, "Last-Modified": modified}
        body, span, status = self._objects.bodies[key], request.http_range, 200
        if "Range" in request.headers:
            first, last, _ = span.indices(len(body))
            status, body = 206, body[first:last]
            headers["Content-Range"] = f"bytes {first}-{last - 1}/{fact.size}"
        if request.method == "HEAD":
            headers["Content-Length"] = str(len(body))
            body = b""
        return web.Response(status=status, body=body, headers=headers)

    def _write(self, request: web.Request, key: str, body: bytes) -> web.Response:
        fact, query = self._objects.facts.get(key), request.query
        expected = request.headers.get("If-Match")
        if (expected and (fact is None or fact.etag != expected)) or (
            request.headers.get("If-None-Match") and fact is not None
        ):
            return _refusal(412, "PreconditionFailed")
        if self._rules.get("refuses_below") and self._objects.excludes(key):
            return _refusal(400, "ParentIsObject")
        kept = {
            name: value
            for name, value in request.headers.items()
            if name.lower() == "content-type" or name.lower().startswith("x-amz-meta-")
        }
        source = unquote(request.headers.get("x-amz-copy-source", "")).lstrip("/").partition("/")[2]
        if source:
            if source not in self._objects.facts:
                return _refusal(404, "NoSuchKey")
            body, kept = self._objects.bodies[source], self._objects.headers[source]
            if "x-amz-copy-source-range" in request.headers:
                first, last = request.headers["x-amz-copy-source-range"].removeprefix("bytes=").split("-")
                body = body[int(first) : int(last) + 1]
        if "uploads" in query:
            upload = f"upload-{len(self._uploads)}-{time.time_ns()}"
            self._uploads[upload], self._kept[upload] = {}, kept
            return _xml(rendered("InitiateMultipartUploadResult", [("UploadId", upload)]))
        if "partNumber" in query:
            self._uploads[query["uploadId"]][int(query["partNumber"])] = body
            etag = f'"{hashlib.md5(body).hexdigest()}"'
        elif "uploadId" in query:
            parts, kept = self._uploads.pop(query["uploadId"]), self._kept.pop(query["uploadId"])
            joined = b"".join(part for _, part in sorted(parts.items()))
            etag = self._objects.put(key, joined, kept, f'"{hashlib.md5(joined).hexdigest()}-{len(parts)}"')
            return _xml(rendered("CompleteMultipartUploadResult", [("ETag", etag)]))
        else:
            etag = self._objects.put(key, body, kept)
        if source:
            return _xml(rendered("CopyObjectResult", [("ETag", etag)]))
        return web.Response(headers={"ETag": etag})


class MemoryServer(S3Server):
    """The server, as tests have it."""

    def set_rules(self, **rules: Any) -> None:
        """Let these rules count from now on, and begin to count anew."""
        urllib.request.urlopen(f"{self.endpoint}/-/rules", json.dumps(rules).encode(), timeout=10).close()

    def log(self) -> list[tuple[str, str, str]]:
        """Method, key and query of each request since the rules were set."""
        with urllib.request.urlopen(f"{self.endpoint}/-/log", timeout=10) as answer:
            return [tuple(item) for item in json.loads(answer.read())]


@contextmanager
def memory_server(folder: Path) -> Iterator[MemoryServer]:
    """The server in a process of its own; ``folder``: for its log."""
    port = free_port()
    with ended_together(folder) as programs:
        programs.start([sys.executable, str(Path(__file__)), str(port)])
        programs.wait_until(lambda: answers(port), "the S3 server in memory")
        yield MemoryServer(f"http://127.0.0.1:{port}", "test-access", "test-secret")


def _refusal(status: int, code: str) -> web.Response:
    return _xml(rendered("Error", [("Code", code), ("Message", code)], namespace=False), status)


def _xml(document: bytes, status: int = 200) -> web.Response:
    return web.Response(status=status, body=document, content_type="application/xml")


def main() -> None:
    """Serve until the process is ended."""
    app = web.Application(client_max_size=2 * 1024**3)
    app.router.add_route("*", "/{path:.*}", Memory().handle)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)


if __name__ == "__main__":
    main()
