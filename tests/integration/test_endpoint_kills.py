"""A step's S3 endpoint and kills: no process, port or staged object outlives the task for long, and the next one goes well."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_magnus.runlog.records import RunLog
from pipelines import linear, only, python, shell
from servers.airflow import processes_with, wait_for

GATEWAY = "airflow_magnus.gateway"
CODE = '''
import os, signal, subprocess, time
from pathlib import Path
import boto3

def write_and_wait():
    boto3.client("s3").put_object(Bucket="out", Key="half.txt", Body=b"half")
    Path("endpoint").write_text(os.environ["S3_ENDPOINT"])
    time.sleep(120)

def write():
    boto3.client("s3").put_object(Bucket="out", Key="whole.txt", Body=b"whole")

def end_gateway_once():
    """End the gateway of the first attempt in the middle of the command."""
    if not Path("ended").exists():
        Path("ended").touch()
        children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
        for pid in [pid for file in children for pid in file.read_text().split()]:
            if b"airflow_magnus.gateway" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.5)
    else:
        write()
'''


@pytest.fixture(autouse=True)
def _code(project: Path) -> None:
    (project / "kill_code.py").write_text(CODE)


@pytest.fixture
def started(project: Path, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts a pipeline whose step has written to ``out`` and waits."""
    home = tmp_path / "home"
    home.mkdir()
    processes = []

    def start() -> subprocess.Popen[bytes]:
        (project / "waits.yaml").write_text(only(python("kill_code.write_and_wait", s3={"out": True})))
        command = [
            str(Path(sys.executable).with_name("magnus")),
            "execute",
            "-f",
            "waits.yaml",
            "--run-id",
            "killed",
        ]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=project, stdout=log, stderr=log, env={**os.environ, "AIRFLOW_HOME": str(home)}
            )
        processes.append(process)
        wait_for(lambda: (project / "endpoint").exists() or process.poll() is not None, "the step", 60)
        assert process.poll() is None, (tmp_path / "log").read_text()
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def staged(project: Path) -> list[Path]:
    """Everything in the catalog that is no file of a run."""
    files = [path for path in (project / ".catalog").rglob("*") if path.is_file()]
    return [path for path in files if ".staging" in str(path) or ".staged" in str(path)]


def is_open(endpoint: str) -> bool:
    host, _, port = endpoint.removeprefix("http://").partition(":")
    with socket.socket() as tried:
        return tried.connect_ex((host, int(port))) == 0


def test_gateway_is_gone_soon_after_its_task_and_the_next_run_clears_up(
    started: Callable[[], subprocess.Popen[bytes]], execute: Callable[..., RunLog], project: Path
) -> None:
    process = started()
    endpoint = (project / "endpoint").read_text()
    assert is_open(endpoint)
    assert staged(project)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    begun = time.monotonic()
    wait_for(lambda: not is_open(endpoint), "the end of the gateway", 5)
    assert time.monotonic() - begun < 5
    assert staged(project), "what was staged waits for whoever comes next"
    log = execute(only(python("kill_code.write", s3={"out": True})), "--run-id", "next")
    assert log.status == "SUCCESS"
    assert staged(project) == []
    assert not list((project / ".catalog" / "killed").rglob("half.txt"))
    assert (project / ".catalog" / "next" / "whole.txt").read_text() == "whole"


def test_what_a_run_that_goes_on_has_staged_is_left_alone(
    started: Callable[[], subprocess.Popen[bytes]], execute: Callable[..., RunLog], project: Path
) -> None:
    started()
    before = staged(project)
    log = execute(only(python("kill_code.write", s3={"out": True})), "--run-id", "next")
    assert log.status == "SUCCESS"
    assert staged(project) == before


def test_interrupted_run_leaves_nothing(
    started: Callable[[], subprocess.Popen[bytes]], project: Path
) -> None:
    process = started()
    endpoint = (project / "endpoint").read_text()
    os.kill(process.pid, signal.SIGTERM)
    process.wait(30)
    assert staged(project) == []
    assert not is_open(endpoint)


def test_gateway_that_ends_by_itself_fails_the_attempt_and_the_next_one_has_another(
    execute: Callable[..., RunLog], project: Path
) -> None:
    log = execute(only(python("kill_code.end_gateway_once", s3={"out": True}, retry=2)), "--run-id", "r1")
    assert log.status == "SUCCESS", log.to_json()
    first, second = log.steps["only"].attempts
    assert (first.status, second.status) == ("FAIL", "SUCCESS")
    assert "has ended by itself: signal 9" in first.message
    assert [entry.name for entry in log.steps["only"].data_catalog] == ["whole.txt"]
    assert staged(project) == []


def test_no_gateway_is_left_when_steps_have_ended(execute: Callable[..., RunLog]) -> None:
    steps = {"a": python("kill_code.write", s3={"out": True}), "b": shell("exit 3", s3={"out": True})}
    before = set(processes_with(GATEWAY))
    assert execute(linear(steps)).status == "FAIL"
    assert set(processes_with(GATEWAY)) <= before


def test_token_is_in_no_file(execute: Callable[..., RunLog], project: Path, airflow_home: Path) -> None:
    """Neither the run log, nor the catalog, nor the files of a step."""
    steps = {
        "a": shell("printf %s $AWS_SECRET_ACCESS_KEY | sha256sum | cut -c1-64 > digest; printf %s $AWS_SECRET_ACCESS_KEY | wc -c > length",
                   s3={"out": True}),
    }  # fmt: skip
    log = execute(linear(steps))
    assert (project / "length").read_text().strip() == "40"
    text = json.dumps(json.loads(log.to_json()))
    for path in [*project.rglob("*"), *(airflow_home / "logs").rglob("*")]:
        if path.is_file():
            text += path.read_text(errors="replace")
    digest = (project / "digest").read_text().strip()
    import hashlib
    import re

    tokens = set(re.findall(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])", text))
    assert digest not in {hashlib.sha256(token.encode()).hexdigest() for token in tokens}
