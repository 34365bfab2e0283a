"""The fault-injecting proxy ``s3fault.py`` in front of an S3 server."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers.programs import answers, ended_together, free_port
from servers.s3 import S3Server


@dataclass(frozen=True)
class FaultProxy:
    """A server whose requests pass through the proxy.

    :param server: as a client sees it: with the proxy's endpoint.
    """

    server: S3Server
    admin: str

    def set_rules(self, *rules: dict[str, Any]) -> None:
        """Let these rules count from now on, and begin to count anew."""
        self._ask("/rules", json.dumps({"seed": 1, "rules": rules}).encode())
        self._ask("/reset", b"")

    def stats(self) -> dict[str, Any]:
        """How many requests there were, and what befell them."""
        return dict(self._ask("/stats"))

    def log(self, count: int = 50) -> Sequence[dict[str, Any]]:
        """The last requests."""
        return list(self._ask(f"/log?n={count}"))

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(self.admin + path, data=body)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())


@contextmanager
def fault_proxy(server: S3Server, folder: Path, *, is_strict: bool = False) -> Iterator[FaultProxy]:
    """The proxy before a server.

    :param folder: for its log and ``pgid``, where a rule of action ``kill`` finds the process group.
    :param is_strict: lets the proxy honour conditions and checksums that the server ignores; on an empty bucket.
    """
    port, admin = free_port(), free_port()
    with ended_together(folder) as programs:
        programs.start(
            [
                sys.executable, str(Path(__file__).with_name("s3fault.py")),
                "--listen", f"127.0.0.1:{port}", "--upstream", server.endpoint.partition("//")[2],
                "--admin", f"127.0.0.1:{admin}", "--pgid-file", str(folder / "pgid"), "--quiet",
                *(["--strict"] if is_strict else []),
            ]
        )  # fmt: skip
        programs.wait_until(lambda: answers(port) and answers(admin), "s3fault")
        seen = S3Server(
            f"http://127.0.0.1:{port}",
            server.access_key,
            server.secret_key,
            server.region,
            server.is_conditional or is_strict,
        )
        yield FaultProxy(seen, f"http://127.0.0.1:{admin}")
