"""A Jupyter server whose contents lie in a bucket, configured by a file as a user writes it."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers.programs import answers, ended_together, free_port
from servers.s3 import S3Server

TOKEN = "token-of-the-tests"
_CONFIG = """\
from airflow_magnus.jupyter import JupyterS3, JupyterS3SecretAccessKeyAuthentication

c = get_config()
c.ServerApp.contents_manager_class = JupyterS3
c.JupyterS3.aws_region = {server.region!r}
c.JupyterS3.aws_s3_bucket = {bucket!r}
c.JupyterS3.aws_s3_host = {server.endpoint!r}
c.JupyterS3.prefix = {prefix!r}
c.JupyterS3.authentication_class = JupyterS3SecretAccessKeyAuthentication
c.JupyterS3SecretAccessKeyAuthentication.aws_access_key_id = {server.access_key!r}
c.JupyterS3SecretAccessKeyAuthentication.aws_secret_access_key = {server.secret_key!r}
"""
_OF_TESTS = """
c.IdentityProvider.token = {token!r}
c.ServerApp.allow_root = True
c.ServerApp.open_browser = False
"""


@dataclass(frozen=True)
class JupyterServer:
    """A server that runs."""

    url: str

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """Send a request; gives status, body and headers, of errors too."""
        data = None if body is None else json.dumps(body).encode()
        sent = {"Authorization": f"token {TOKEN}", **(headers or {})}
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=sent)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers


@contextmanager
def jupyter_server(
    folder: Path,
    server: S3Server,
    bucket: str,
    *,
    kind: str = "server",
    prefix: str = "",
    text: str = "",
    more: str = "",
) -> Iterator[JupyterServer]:
    """A server below ``folder``.

    :param kind: ``server`` or ``lab``.
    :param text: its configuration; "": one by keys.
    :param more: further lines of it.
    """
    port, config = free_port(), folder / "jupyter_server_config.py"
    text = text or _CONFIG.format(server=server, bucket=bucket, prefix=prefix)
    config.write_text(text + more + _OF_TESTS.format(token=TOKEN))
    (folder / "work").mkdir()
    with ended_together(folder) as programs:
        programs.start(
            [
                "env", *(f"JUPYTER_{name}_DIR={folder / name.lower()}" for name in ("DATA", "CONFIG", "RUNTIME")),
                f"IPYTHONDIR={folder / 'ipython'}", sys.executable, "-m", f"jupyter{'lab' if kind == 'lab' else '_server'}",
                f"--config={config}", f"--ServerApp.port={port}", f"--ServerApp.root_dir={folder / 'work'}",
            ]
        )  # fmt: skip
        programs.wait_until(lambda: answers(port), "Jupyter", 90)
        yield JupyterServer(f"http://localhost:{port}")
