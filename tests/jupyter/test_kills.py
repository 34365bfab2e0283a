"""A server that is killed in the middle of a rename, a copy or a removal loses nothing that was to stay."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_stage import Stage
from servers.memory import MemoryServer

ROOT = Path(__file__).parents[1]
CODE = """\
import asyncio, sys
sys.path[:0] = [{tests!r}]
from jupyter_stage import manager_of
from servers.s3 import S3Server
manager = manager_of(S3Server({endpoint!r}, "test-access", "test-secret"), {bucket!r}, {prefix!r})
sys.stdin.read(1)
asyncio.run(manager.{call})
"""


def _killed(stage: Stage, memory: MemoryServer, call: str, at: int) -> int:
    code = CODE.format(
        tests=str(ROOT), endpoint=memory.endpoint, bucket=stage.bucket, prefix=stage.prefix, call=call
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, env=dict(os.environ))
    memory.set_rules(kill=process.pid, at=at)
    process.communicate(b"x", timeout=60)
    memory.set_rules()
    return process.returncode


@pytest.mark.parametrize("at", [3, 20, 43, 44, 45, 46])
def test_rename_of_a_folder(quick: Stage, memory: MemoryServer, at: int) -> None:
    there = {f"f/{n:02}.txt" for n in range(40)}
    for key in there | {"g-beside"}:
        quick.put(key, key.encode())
    _killed(quick, memory, "rename('f', 'g')", at)
    left = set(quick.all_keys())
    for key in there:
        found = [name for name in (key, f"g{key[1:]}") if name in left]
        assert found, f"{key} is lost"
        assert all(quick.read(name) == key.encode() for name in found)
    assert "g-beside" in left


@pytest.mark.parametrize(
    ("call", "at"), [("rename('a.txt', 'b.txt')", n) for n in (3, 4, 5)] + [("copy('a.txt')", 3)]
)
def test_rename_and_copy_of_a_file(quick: Stage, memory: MemoryServer, call: str, at: int) -> None:
    quick.put("a.txt", b"content")
    _killed(quick, memory, call, at)
    assert any(quick.read(key) == b"content" for key in quick.all_keys())


@pytest.mark.parametrize("at", [2, 3])
def test_removal_of_a_folder(quick: Stage, memory: MemoryServer, at: int) -> None:
    for key in ("f/a", "f/b", "f2/a", "f"):
        quick.put(key)
    _killed(quick, memory, "delete('f')", at)
    assert {"f/a", "f/b", "f2/a"} <= set(quick.all_keys())
