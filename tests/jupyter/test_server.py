"""By a real Jupyter server: what its handlers make of the contents manager."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_stage import SEED, Stage, stage_of
from servers.jupyter import JupyterServer, jupyter_server
from servers.memory import MemoryServer


@pytest.fixture(scope="module")
def served(
    memory: MemoryServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[JupyterServer, Stage]]:
    memory.set_rules()
    stage = stage_of(memory)
    folder = tmp_path_factory.mktemp("jupyter")
    with jupyter_server(folder, memory, stage.bucket, prefix=stage.prefix) as server:
        yield server, stage


def test_large_file_is_passed_on_whole_and_in_ranges(served: tuple[JupyterServer, Stage]) -> None:
    server, stage = served
    body = os.urandom(20 * 1024**2)
    stage.put("f/film +.mp4", body)
    path = "/files/f/film%20%2B.mp4"
    status, got, headers = server.call("GET", path)
    assert (status, got, headers["Content-Type"]) == (200, body, "video/mp4")
    status, got, headers = server.call("GET", path, headers={"Range": "bytes=1000-1999"})
    assert (status, got, headers["Content-Range"]) == (206, body[1000:2000], f"bytes 1000-1999/{len(body)}")
    status, _, headers = server.call("GET", f"{path}?download=1")
    assert "attachment" in headers["Content-Disposition"]
    assert server.call("HEAD", path)[0] == 200


def test_files_that_are_hidden_or_not_there_are_not_found(served: tuple[JupyterServer, Stage]) -> None:
    server, stage = served
    stage.put(".hidden/a.txt")
    stage.put("f/.b.txt")
    for path in ("/files/.hidden/a.txt", "/files/f/.b.txt", "/files/none.txt", "/files/f/..%2f.hidden/a.txt"):
        assert server.call("GET", path)[0] == 404


def test_upload_in_chunks_asks_the_store_for_little(
    served: tuple[JupyterServer, Stage], memory: MemoryServer
) -> None:
    server, stage = served
    memory.set_rules()
    piece = os.urandom(1024**2)
    model = {
        "type": "file",
        "format": "base64",
        "content": base64.b64encode(piece).decode(),
        "name": "up.bin",
    }
    for number in [*range(1, 20), -1]:
        status, body, _ = server.call("PUT", "/api/contents/up.bin", model | {"chunk": number})
        assert status in (200, 201), body
    assert json.loads(body)["size"] == 20 * 1024**2
    assert len(memory.log()) <= 10
    assert stage.read("up.bin") == piece * 20


def test_what_the_store_refuses_is_told(served: tuple[JupyterServer, Stage], memory: MemoryServer) -> None:
    server, _ = served
    memory.set_rules(expired="test-access")
    try:
        status, body, _ = server.call("GET", "/api/contents/some-folder")
    finally:
        memory.set_rules()
    assert status == 500
    assert "some-folder: the store refuses the keys or the region" in body.decode()


def test_kernels_run_in_a_folder_of_the_machine(served: tuple[JupyterServer, Stage], tmp_path: Path) -> None:
    server, stage = served
    stage.put("f/n.ipynb", b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    body = {"path": "f/n.ipynb", "name": "n", "type": "notebook", "kernel": {"name": "python3"}}
    status, answer, _ = server.call("POST", "/api/sessions", body)
    assert status == 201, answer
    assert server.call("DELETE", f"/api/sessions/{json.loads(answer)['id']}")[0] == 204


def test_configuration_of_the_seed_works_in_jupyterlab(memory: MemoryServer, tmp_path: Path) -> None:
    memory.set_rules()
    bucket = memory.make_bucket()
    memory.client().put_object(Bucket=bucket, Key="some-prefix/of the seed.txt", Body=b"x")
    text = SEED.format(bucket=bucket, host=memory.endpoint)
    with jupyter_server(tmp_path, memory, bucket, kind="lab", text=text) as server:
        _, body, _ = server.call("GET", "/api/contents")
    assert [entry["name"] for entry in json.loads(body)["content"]] == ["of the seed.txt"]
