"""Steps with buckets as folders around them."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus import mounted_buckets
from airflow_magnus.mount import engines
from airflow_magnus.runlog.records import RunLog
from pipelines import linear, only, python, shell
from servers.airflow import wait_for

pytestmark = pytest.mark.external

Execute = Callable[..., RunLog]
MAKE = shell(
    "mkdir -p data/results && printf one > data/results/a.txt && printf two > data/results/b.txt",
    catalog={"put": ["**"]},
)


@pytest.fixture(params=["rclone", "s3fs", "copy"])
def mount(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """The ``mount`` of a step, by each engine and by copies where there is none."""

    def made(**keys: Any) -> dict[str, Any]:
        if request.param == "copy":
            return {**keys, "fallback": "copy"}
        return {**keys, "engine": request.param}

    if request.param == "copy":
        from airflow_magnus.operators import mount as operators_mount

        monkeypatch.setattr(operators_mount, "preflight", lambda engine: ["a kernel with FUSE"])
    return made


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def is_mounted(folder: Path) -> bool:
    return str(folder) in Path("/proc/self/mounts").read_text()


def test_files_come_in_by_path_and_what_is_written_becomes_files_of_the_catalog(
    execute: Execute, project: Path, mount: Callable[..., dict[str, Any]]
) -> None:
    command = "mkdir -p mnt/out/sub && cat mnt/lab/results/*.txt > mnt/out/sub/both.txt && ls mnt/lab/results"
    step = shell(command, mount=mount(inputs={"lab": {"from": "results/**"}}, out=True))
    use = shell("cat data/sub/both.txt > used", catalog={"get": ["sub/*"]})
    log = execute(linear({"make": MAKE, "join": step, "use": use}), "--run-id", "r1")
    assert log.status == "SUCCESS", log.to_json()
    assert (project / "used").read_text() == "onetwo"
    join = log.steps["join"]
    puts = {e.name: e.data_hash for e in join.data_catalog if e.stage == "put"}
    assert puts == {"sub/both.txt": sha256("onetwo")}
    assert {e.name for e in join.data_catalog if e.stage == "get"} == {"results/a.txt", "results/b.txt"}
    assert {(o.action, o.key) for o in join.objects} >= {("read", "results/a.txt"), ("write", "sub/both.txt")}
    assert not is_mounted(project / "mnt")
    assert not list(project.glob("mnt/*/*"))


def test_inputs_are_read_only(execute: Execute, mount: Callable[..., dict[str, Any]]) -> None:
    if os.geteuid() == 0 and "fallback" in mount():
        pytest.skip("root writes into copies that are read-only")
    step = shell("! echo x > mnt/lab/results/a.txt", mount=mount(inputs={"lab": {"from": "results/**"}}))
    assert execute(linear({"make": MAKE, "look": step})).status == "SUCCESS"


def test_environment_of_the_step_stays_as_it_is(
    execute: Execute, monkeypatch: pytest.MonkeyPatch, mount: Callable[..., dict[str, Any]]
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    step = shell('test -z "$S3_ENDPOINT" && test $AWS_PROFILE = mine', mount=mount(out=True))
    assert execute(only(step)).status == "SUCCESS"


def test_what_a_failed_attempt_wrote_is_gone_and_nothing_is_mounted(
    execute: Execute, project: Path, mount: Callable[..., dict[str, Any]]
) -> None:
    log = execute(
        only(shell("echo half > mnt/out/half.txt; exit 3", mount=mount(out=True))), "--run-id", "r1"
    )
    assert log.status == "FAIL"
    assert not [path for path in (project / ".catalog").rglob("*") if path.is_file()]
    assert not is_mounted(project / "mnt")


def test_message_says_what_a_mount_needs(execute: Execute, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(engines, "Path", Path)
    log = execute(only(shell("true", mount={"out": True, "engine": "s3fs"})))
    assert log.status == "FAIL"
    assert "a mount by s3fs needs" in log.steps["only"].attempts[0].message


def test_killed_run_leaves_no_mount(project: Path, tmp_path: Path) -> None:
    (project / "waits.py").write_text(
        "import time\ndef wait():\n    open('started', 'w').close()\n    time.sleep(120)\n"
    )
    (project / "p.yaml").write_text(only(python("waits.wait", mount={"out": True})))
    command = [str(Path(sys.executable).with_name("magnus")), "execute", "-f", "p.yaml", "--run-id", "killed"]
    with (tmp_path / "log").open("wb") as log:
        home = {"AIRFLOW_HOME": str(tmp_path)}
        process = subprocess.Popen(command, cwd=project, stdout=log, stderr=log, env={**os.environ, **home})
    try:
        wait_for(lambda: (project / "started").exists() or process.poll() is not None, "the step", 60)
        assert is_mounted(project / "mnt"), (tmp_path / "log").read_text()
        os.kill(process.pid, signal.SIGKILL)
        wait_for(lambda: not is_mounted(project / "mnt"), "the end of the mount", 6)
    finally:
        process.kill()
        process.wait()


def test_block_has_folders_and_leaves_its_results(airflow_home: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("alpha")
    with mounted_buckets(tmp_path / "mnt", {"lab": tmp_path / "in"}, out=tmp_path / "results") as mounted:
        (mounted / "out" / "b.txt").write_text((mounted / "lab" / "a.txt").read_text() + " beta")
        assert not list((tmp_path / "results").glob("*.txt"))
    assert (tmp_path / "results" / "b.txt").read_text() == "alpha beta"
    assert not is_mounted(tmp_path / "mnt")


def test_block_that_raises_leaves_nothing(airflow_home: Path, tmp_path: Path) -> None:
    def fail() -> None:
        with mounted_buckets(tmp_path / "mnt", out=tmp_path / "results") as mounted:
            (mounted / "out" / "b.txt").write_text("half")
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        fail()
    assert not [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert not is_mounted(tmp_path / "mnt")
