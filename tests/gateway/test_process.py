"""The life of the gateway's process: up at once, gone with the task whatever ends it, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.gateway.process import Gateway, GatewayError
from airflow_magnus.gateway.views import Folder, Origin, Prefix
from gateway_stage import client_of
from servers.s3 import S3Server

TASK = """
import json, os, sys, time
from pathlib import Path
from airflow_magnus.gateway.process import Gateway
from airflow_magnus.gateway.views import Folder
gateway = Gateway({"lab": Folder(Path(sys.argv[1]))}, Folder(Path(sys.argv[1]) / "out"))
gateway.__enter__()
print(json.dumps([gateway.endpoint, gateway._process.pid, gateway.token]), flush=True)
exec(sys.argv[2])
"""


def _task(folder: Path, then: str = "time.sleep(600)") -> tuple[subprocess.Popen[str], str, int, str]:
    """A process with a gateway: it, the endpoint, the gateway's process and token."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", TASK, str(folder), then], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    endpoint, gateway, token = json.loads(process.stdout.readline())
    return process, endpoint, gateway, token


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _within(seconds: float, claim: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _answers(endpoint: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(endpoint.rpartition(":")[2])), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_the_task(tmp_path: Path, number: signal.Signals) -> None:
    task, endpoint, gateway, _ = _task(tmp_path)
    assert _is_alive(gateway)
    task.send_signal(number)
    task.wait()
    assert task.stdout is not None
    task.stdout.close()
    assert _within(5, lambda: not _is_alive(gateway))
    assert not _answers(endpoint)


@pytest.mark.parametrize(
    "then", ["os._exit(3)", "raise SystemExit(3)", "1 / 0", "os.execv('/bin/true', ['true'])"]
)
def test_it_ends_with_a_task_that_ends(tmp_path: Path, then: str) -> None:
    task, endpoint, gateway, _ = _task(tmp_path, then)
    task.communicate()
    assert _within(5, lambda: not _is_alive(gateway))
    assert not _answers(endpoint)


def test_it_ends_with_the_task_though_a_child_lives_on(tmp_path: Path) -> None:
    child = "pid = os.fork()\nif pid == 0: time.sleep(60)\nprint(pid, flush=True)\ntime.sleep(60)"
    task, _, gateway, _ = _task(tmp_path, child)
    assert task.stdout is not None
    orphan = int(task.stdout.readline())
    try:
        task.kill()
        task.wait()
        task.stdout.close()
        assert _within(5, lambda: not _is_alive(gateway))
    finally:
        os.kill(orphan, signal.SIGKILL)


def test_it_lives_on_when_the_thread_that_entered_has_ended(tmp_path: Path) -> None:
    gateway = Gateway({"lab": Folder(tmp_path)})
    thread = threading.Thread(target=gateway.__enter__)
    thread.start()
    thread.join()
    time.sleep(0.5)
    try:
        assert client_of(gateway).list_buckets()["Buckets"][0]["Name"] == "lab"
    finally:
        gateway.__exit__(None, None, None)


def test_its_death_is_told(tmp_path: Path) -> None:
    with Gateway({"lab": Folder(tmp_path)}) as gateway:
        gateway.check()
        assert gateway._process is not None
        gateway._process.kill()
        assert _within(5, lambda: gateway._end is not None)
        with pytest.raises(GatewayError, match="signal 9"):
            gateway.check()
        with pytest.raises(GatewayError):
            gateway.ledger()
        assert not _answers(gateway.endpoint)


def test_it_is_up_within_a_second_and_leaves_nothing(tmp_path: Path) -> None:
    with Gateway({"lab": Folder(tmp_path)}):  # modules are read from disk once
        pass
    fds, threads = set(os.listdir("/proc/self/fd")), threading.active_count()
    times = []
    for _ in range(5):
        began = time.monotonic()
        with Gateway({"lab": Folder(tmp_path)}, Folder(tmp_path / "out")) as gateway:
            times.append(time.monotonic() - began)
            assert client_of(gateway).list_buckets()["Buckets"]
            pid = gateway._process.pid if gateway._process else 0
        assert not _is_alive(pid)
        assert not _answers(gateway.endpoint)
    assert min(times) < 1
    assert threading.active_count() == threads
    assert _within(5, lambda: len(os.listdir("/proc/self/fd")) <= len(fds) + 10)


def test_no_secret_is_in_its_arguments_or_environment(tmp_path: Path, moto: S3Server) -> None:
    origin = Origin.of(moto.make_bucket(), moto.options)
    with Gateway({"lab": Prefix(origin)}) as gateway:
        assert gateway._process is not None
        for name in ("cmdline", "environ"):
            text = Path(f"/proc/{gateway._process.pid}/{name}").read_bytes().decode()
            assert gateway.token not in text
            assert moto.secret_key not in text
        environment = gateway.environment()
    assert moto.secret_key not in repr(origin)
    assert moto.secret_key not in str(environment)
    assert environment["AWS_ACCESS_KEY_ID"] == environment["AWS_SECRET_ACCESS_KEY"] == gateway.token
    assert environment["S3_ENDPOINT"] == environment["AWS_ENDPOINT_URL_S3"] == gateway.endpoint


def test_nothing_of_the_task_is_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with Gateway({"lab": Folder(tmp_path)}) as gateway:
        assert gateway._process is not None
        assert b"secret" not in Path(f"/proc/{gateway._process.pid}/environ").read_bytes()


def test_it_listens_on_the_loopback_alone(tmp_path: Path) -> None:
    with Gateway({"lab": Folder(tmp_path)}) as gateway:
        port = int(gateway.endpoint.rpartition(":")[2])
        lines = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        assert {line for line in lines if line.endswith(f":{port:04X}")} == {f"0100007F:{port:04X}"}


def test_each_has_its_own_token(tmp_path: Path) -> None:
    with Gateway({"lab": Folder(tmp_path)}) as one, Gateway({"lab": Folder(tmp_path)}) as other:
        assert one.token != other.token
        assert client_of(one).list_buckets()["Buckets"]


def test_a_fork_of_the_task_does_not_end_it(tmp_path: Path) -> None:
    with Gateway({"lab": Folder(tmp_path)}) as gateway:
        owner = gateway._owner
        gateway._owner = -1  # as in a fork
        gateway.__exit__(None, None, None)
        gateway._owner = owner
        assert client_of(gateway).list_buckets()["Buckets"]


def test_credentials_are_renewed(moto: S3Server) -> None:
    asked: list[float] = []

    def keys() -> dict[str, Any]:
        asked.append(time.monotonic())
        return {
            "access_key_id": moto.access_key,
            "secret_access_key": moto.secret_key,
            "token": f"token-{len(asked)}",
            "expires_at": datetime.now(UTC) + timedelta(seconds=12),
        }

    origin = Origin(moto.make_bucket(), moto.endpoint, moto.region, keys=keys)
    with Gateway({"lab": Prefix(origin)}) as gateway:
        before = len(asked)
        assert _within(15, lambda: len(asked) > before)
        assert client_of(gateway).list_objects_v2(Bucket="lab")["KeyCount"] == 0


@pytest.mark.parametrize("endpoint", ["ftp://x", "http://x/path", "x"])
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigurationError), Gateway({"lab": Prefix(Origin("b", endpoint, "r"))}):
        pass


def test_an_input_is_not_named_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        Gateway({"out": Folder(tmp_path)})


def test_a_store_that_is_not_there_is_an_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    keys = {"access_key_id": "a", "secret_access_key": "b"}
    origin = Origin("bucket", f"http://127.0.0.1:{port}", "eu-west-1", keys=lambda: keys)
    with Gateway({"lab": Prefix(origin)}) as gateway, pytest.raises(Exception, match="ServiceUnavailable"):
        client_of(gateway).list_objects_v2(Bucket="lab")
