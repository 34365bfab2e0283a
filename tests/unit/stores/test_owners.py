from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from airflow_magnus.stores import owners
from airflow_magnus.stores.owners import is_gone, process_started, this_process


def test_process_is_there_when_it_runs() -> None:
    assert process_started(os.getpid())


def test_process_is_gone_when_it_ended_and_nobody_asked() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    try:
        end = time.monotonic() + 20
        while ") Z " not in Path(f"/proc/{child.pid}/stat").read_text():
            assert time.monotonic() < end
            time.sleep(0.05)
        assert process_started(child.pid) == ""
    finally:
        child.wait()
    assert process_started(child.pid) == ""


def test_this_process_is_not_gone() -> None:
    assert not is_gone(this_process())


@pytest.mark.parametrize(
    ("change", "namespace", "gone"),
    [
        ({"pid": 2**22 + 5}, None, True),
        ({"started": "1"}, None, True),
        ({"pid": 2**22 + 5, "hostname": "elsewhere"}, None, False),
        ({"pid": 2**22 + 5, "machine": "another"}, None, False),
        ({"pid": 2**22 + 5, "namespace": "pid:[1]"}, None, False),
        ({"boot": "before"}, "pid:[4026531836]", True),
        ({"boot": "before"}, "pid:[4026532000]", False),
        ({"pid": None}, None, False),
    ],
)
def test_process_is_gone_only_where_that_is_sure(
    change: dict[str, object], namespace: str | None, gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines, or two containers, may have one name: their processes are not looked for here."""
    here = {**owners._place(), **({"namespace": namespace} if namespace else {})}
    monkeypatch.setattr(owners, "_place", lambda: here)
    owner = {**this_process(), **change}
    assert is_gone(owner) is gone


def test_owner_of_an_older_version_is_known_by_name_and_process() -> None:
    mine = this_process()
    old = {name: mine[name] for name in ("hostname", "pid", "started")}
    assert not is_gone(old)
    assert is_gone({**old, "pid": 2**22 + 5})
