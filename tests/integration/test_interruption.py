"""Ctrl-C and SIGTERM end a run of the command line: nothing is tried again, no handler runs, the run log says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines import linear, shell


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run(project: Path, number: signal.Signals) -> None:
    steps = {
        "long": shell("touch begun; sleep 60", retry=3, on_failure="after"),
        "after": shell("touch after"),
    }
    (project / "pipeline.yaml").write_text(linear(steps))
    environment = {name: text for name, text in os.environ.items() if not name.startswith("AIRFLOW")}
    run = subprocess.Popen(
        [sys.executable, "-m", "airflow_magnus", "execute", "--run-id", "ended"],
        cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 120
    while not (project / "begun").exists():
        assert time.monotonic() < until, "the step has not begun"
        assert run.poll() is None, run.communicate()
        time.sleep(0.1)
    run.send_signal(number)
    _, told = run.communicate(timeout=60)
    assert run.returncode == 128 + number, told
    assert "--use-cached ended" in told
    log = json.loads((project / ".run_log_store" / "ended.json").read_text())
    assert (log["status"], list(log["steps"])) == ("FAIL", ["long"])
    assert len(log["steps"]["long"]["attempts"]) == 1
    assert not (project / "after").exists()
