from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from airflow_magnus.stores.owners import process_started


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
