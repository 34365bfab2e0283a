"""Steps whose compute data folder is a mount of the run's catalog."""

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
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

from airflow_magnus import EndOfRun, StepMixin, StepSettings
from airflow_magnus.runlog.records import RunLog, StepLog
from pipelines import function, linear, only, python, shell
from servers.airflow import wait_for
from servers.s3 import S3Server

pytestmark = pytest.mark.external

Execute = Callable[..., RunLog]
MAKE = shell(
    "mkdir -p data/results && printf one > data/results/a.txt && printf two > data/results/b.txt && printf x > data/c.bin",
    catalog={"put": ["**"]},
)


@pytest.fixture(params=["rclone", "s3fs"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine."""
    return str(request.param)


def mounted(command: str, engine: str = "rclone", **keys: Any) -> dict[str, Any]:
    """A shell step whose data folder is a mount."""
    return shell(command, catalog={"mode": "mount", "engine": engine, **keys})


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def entries(step: StepLog, stage: str) -> dict[str, str]:
    return {entry.name: entry.data_hash for entry in step.data_catalog if entry.stage == stage}


def is_mounted(folder: Path) -> bool:
    return str(folder) in Path("/proc/self/mounts").read_text()


def test_files_are_read_in_place_and_what_put_names_of_the_written_becomes_files_of_the_catalog(
    execute: Execute, project: Path, engine: str
) -> None:
    command = "mkdir -p data/sub && cat data/results/a.txt > data/sub/copy.txt && echo no > data/sub/left.tmp && ls data > seen"
    step = mounted(command, engine, get=["results/*"], put=["sub/*.txt", "none/*"])
    use = shell("cat data/sub/copy.txt > used", catalog={"get": ["sub/*"]})
    log = execute(linear({"make": MAKE, "join": step, "use": use}))
    assert log.status == "SUCCESS", log.to_json()
    assert (project / "used").read_text() == "one"
    assert (project / "seen").read_text().split() == ["c.bin", "results", "sub"]
    join = log.steps["join"]
    assert entries(join, "put") == {"sub/copy.txt": sha256("one")}
    assert entries(join, "get") == {"results/a.txt": sha256("one")}
    assert "'none/*' matches no file in" in join.message
    assert "no pattern matches 'sub/left.tmp': written by the step, and not kept" in join.message
    read = {(access.bucket, access.key) for access in join.objects if access.action == "read"}
    assert ("catalog", "results/a.txt") in read
    assert not is_mounted(project / "data")
    assert (
        project / "data" / "results" / "b.txt"
    ).read_text() == "two"  # what lay there before is there again


def test_changed_and_removed_files_are_so_for_the_attempt_and_never_in_the_catalog(
    execute: Execute, engine: str
) -> None:
    change = (
        "printf ' more' >> data/results/a.txt && rm data/results/b.txt && test ! -e data/results/b.txt"
        " && cp data/c.bin data/d.bin && rm data/c.bin"
    )
    look = "test $(cat data/results/b.txt) = two && test -e data/c.bin && cat data/results/a.txt data/d.bin > data/seen"
    steps = {
        "make": MAKE,
        "fails": mounted(f"{change}; exit 3", engine, put=["**"]) | {"on_failure": "change"},
        "change": mounted(change, engine, put=["**"]),
        "look": mounted(look, engine, put=["seen"]),
    }
    log = execute(linear(steps))
    assert log.status == "SUCCESS", log.to_json()
    assert log.steps["fails"].status == "FAIL"
    assert entries(log.steps["fails"], "put") == {}
    assert entries(log.steps["change"], "put") == {
        "results/a.txt": sha256("one more"),
        "d.bin": sha256("x"),
    }
    assert entries(log.steps["look"], "put") == {"seen": sha256("one morex")}
    make = {e.name: e.catalog_relative_path for e in log.steps["make"].data_catalog}
    change_put = {
        e.name: e.catalog_relative_path for e in log.steps["change"].data_catalog if e.stage == "put"
    }
    assert make["results/a.txt"] != change_put["results/a.txt"]


def test_renaming_a_file_of_the_catalog_is_an_error_by_rclone(execute: Execute, engine: str) -> None:
    use = mounted("mv data/c.bin data/d.bin; echo 1 > data/n && mv data/n data/m", engine, put=["**"])
    log = execute(linear({"make": MAKE, "use": use}))
    if engine == "rclone":
        assert log.status == "FAIL"
        assert (
            "'c.bin' is a file of the catalog and was to be renamed" in log.steps["use"].attempts[0].message
        )
    else:
        assert entries(log.steps["use"], "put") == {"d.bin": sha256("x"), "m": sha256("1\n")}


def test_file_of_the_catalog_that_is_written_over_and_removed_stays_so(execute: Execute) -> None:
    """What rclone would take for there again when it lists the store anew."""
    use = mounted(
        "echo 1 > data/n && mv data/n data/c.bin && rm data/c.bin && sleep 6 && test ! -e data/c.bin",
        put=["**"],
    )
    log = execute(linear({"make": MAKE, "use": use}))
    assert log.status == "SUCCESS", log.to_json()
    assert entries(log.steps["use"], "put") == {}


def test_pattern_of_get_that_matches_nothing_is_a_message(execute: Execute) -> None:
    log = execute(only(mounted("touch data/a", get=["none/*"], put=["a"])))
    assert log.status == "SUCCESS", log.to_json()
    assert "catalog get: 'none/*' matches nothing that a step before put" in log.steps["only"].message


def test_file_that_get_names_and_is_gone_fails_the_step_before_its_command(
    execute: Execute, project: Path
) -> None:
    gone = shell("rm .catalog/*/results/a.txt")
    log = execute(linear({"make": MAKE, "lose": gone, "use": mounted("touch ran", get=["results/*"])}))
    message = log.steps["use"].attempts[0].message
    assert "'results/a.txt'" in message
    assert "is recorded, but the catalog has no object" in message
    assert not (project / "ran").exists()
    log = execute(
        linear({"make": MAKE, "lose": gone, "use": mounted("ls data/results > seen", get=["*.bin"])})
    )
    assert log.status == "SUCCESS", log.to_json()
    assert (project / "seen").read_text() == "b.txt\n"


def test_file_that_was_changed_in_the_catalog_fails_the_step(execute: Execute) -> None:
    change = shell("echo longer > $(ls -d .catalog/*/results)/a.txt")
    log = execute(linear({"make": MAKE, "change": change, "use": mounted("true", get=["results/*"])}))
    assert "has 7 bytes, and 3 are recorded" in log.steps["use"].attempts[0].message


def test_fallback_is_the_catalog_of_copies(
    execute: Execute, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_magnus.operators import mount as operators_mount

    monkeypatch.setattr(operators_mount, "preflight", lambda engine: ["a kernel with FUSE"])
    step = mounted("cat data/results/a.txt > data/z", fallback="copy", get=["results/*"], put=["z"])
    log = execute(linear({"make": MAKE, "copy": step}))
    assert log.status == "SUCCESS", log.to_json()
    assert entries(log.steps["copy"], "put") == {"z": sha256("one")}
    assert set(entries(log.steps["copy"], "get")) == {"results/a.txt", "results/b.txt"}
    assert "files are copied, as a mount needs a kernel with FUSE" in log.steps["copy"].message


def test_file_put_by_code_and_by_pattern_is_the_last_one(execute: Execute, project: Path) -> None:
    (project / "both.py").write_text(
        "import airflow_magnus\n"
        "from pathlib import Path\n"
        "def write():\n"
        "    Path('data/a.txt').write_text('early')\n"
        "    airflow_magnus.put_in_catalog('data/a.txt')\n"
        "    Path('data/a.txt').write_text('late')\n"
    )
    step = python("both.write", catalog={"mode": "mount", "put": ["*"]})
    log = execute(linear({"write": step, "look": shell("cat data/a.txt > seen", catalog={"get": ["*"]})}))
    assert log.status == "SUCCESS", log.to_json()
    assert entries(log.steps["write"], "put") == {"a.txt": sha256("late")}
    assert (project / "seen").read_text() == "late"


def test_rerun_keeps_files_that_a_mount_may_read(execute: Execute, project: Path) -> None:
    steps = {"make": MAKE, "use": mounted("cat data/c.bin > data/z && test -e fixed", put=["z"])}
    assert execute(linear(steps), "--run-id", "r1").status == "FAIL"
    (project / "fixed").touch()
    log = execute(linear(steps), "--run-id", "r2", "--use-cached", "r1")
    assert log.status == "SUCCESS", log.to_json()
    assert log.steps["make"].mock
    assert entries(log.steps["use"], "put") == {"z": sha256("x")}
    (lost,) = (project / ".catalog").glob("r2/**/c.bin")
    lost.unlink()
    log = execute(linear(steps), "--run-id", "r3", "--use-cached", "r2")
    assert not log.steps["make"].mock  # what it had put is gone, and a mount might read it


def test_cached_step_depends_on_all_files_that_it_could_read(execute: Execute) -> None:
    """Without code of its own, so that the code is known for sure."""
    command = "lambda: {'n': __import__('pathlib').Path('data/z').write_text('x')}"
    step = function(command, catalog={"mode": "mount", "put": ["z"]}, cache=True)
    text = linear({"make": MAKE, "use": step, "look": mounted("cat data/z", get=["z"])})
    assert execute(text, "--run-id", "r1").steps["use"].mock is False
    again = execute(text, "--run-id", "r2")
    assert again.steps["use"].mock is True
    assert entries(again.steps["look"], "get") == {"z": sha256("x")}
    other = shell("printf y > data/other", catalog={"put": ["other"]})
    changed = linear({"make": MAKE, "other": other, "use": step})
    assert execute(changed, "--run-id", "r3").steps["use"].mock is False


@pytest.fixture(params=["moto", "ceph"])
def server(request: pytest.FixtureRequest, moto_server: str, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Each server, with its keys in the environment."""
    if request.param == "moto":
        found = S3Server(moto_server, "test-access", "test-secret")
    else:
        found = request.getfixturevalue("ceph")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", found.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", found.secret_key)
    return found


def test_catalog_on_s3(execute: Execute, server: S3Server, engine: str) -> None:
    bucket = server.make_bucket()
    config = {"s3_bucket": bucket, "endpoint_url": server.endpoint, "region": server.region}
    command = "cp -r data/results data/moved && rm data/c.bin && printf new > data/n && test ! -e data/c.bin"
    steps = {"make": MAKE, "move": mounted(command, engine, put=["**"])}
    log = execute(linear(steps, catalog={"type": "s3", "config": config}), "--run-id", "r1")
    assert log.status == "SUCCESS", log.to_json()
    moved = {"moved/a.txt": sha256("one"), "moved/b.txt": sha256("two"), "n": sha256("new")}
    assert entries(log.steps["move"], "put") == moved
    listed = {item["Key"] for item in server.client().list_objects_v2(Bucket=bucket)["Contents"]}
    assert not [key for key in listed if "staging" in key or "staged" in key]
    assert {"r1/results/a.txt", "r1/c.bin"} <= listed
    for name, digest in moved.items():
        data = server.client().get_object(Bucket=bucket, Key=f"r1/{name}")["Body"].read()
        assert hashlib.sha256(data).hexdigest() == digest


class BashStep(StepMixin, BashOperator):
    """A shell command as a step."""


def test_steps_of_a_dag_written_by_hand(run_dag: Callable[..., tuple[RunLog, dict[str, str]]]) -> None:
    with DAG("catalog_mount_by_hand", schedule=None) as dag:
        make = BashStep(task_id="make", bash_command="echo alpha > data/a.txt", step=StepSettings(put=["*"]))
        use = BashStep(
            task_id="use",
            bash_command="cat data/a.txt data/a.txt > data/b.txt",
            step=StepSettings(get=["a.txt"], put=["b.txt"], catalog={"mode": "mount"}),
        )
        make >> use >> EndOfRun(task_id="end")
    log, states = run_dag(dag)
    assert set(states.values()) == {"success"}, log.to_json()
    assert entries(log.steps["use"], "put") == {"b.txt": sha256("alpha\nalpha\n")}
    assert set(entries(log.steps["use"], "get")) == {"a.txt"}


def test_killed_run_leaves_no_mount_and_the_next_one_clears_up(
    project: Path, tmp_path: Path, execute: Execute
) -> None:
    (project / "waits.py").write_text(
        "import time\ndef wait():\n"
        "    open('data/half', 'w').write('half')\n    open('started', 'w').close()\n    time.sleep(120)\n"
    )
    step = python("waits.wait", catalog={"mode": "mount", "put": ["*"]})
    (project / "p.yaml").write_text(linear({"make": MAKE, "wait": step}))
    command = [str(Path(sys.executable).with_name("magnus")), "execute", "-f", "p.yaml", "--run-id", "killed"]
    with (tmp_path / "log").open("wb") as log:
        home = {"AIRFLOW_HOME": str(tmp_path)}
        process = subprocess.Popen(command, cwd=project, stdout=log, stderr=log, env={**os.environ, **home})
    try:
        wait_for(lambda: (project / "started").exists() or process.poll() is not None, "the step", 60)
        assert is_mounted(project / "data"), (tmp_path / "log").read_text()
        os.kill(process.pid, signal.SIGKILL)
        wait_for(lambda: not is_mounted(project / "data"), "the end of the mount", 6)
    finally:
        process.kill()
        process.wait()
    assert not (project / "data" / "half").exists()
    assert execute(only(mounted("echo 1 > data/n", put=["n"]))).status == "SUCCESS"
    files = [str(path) for path in (project / ".catalog").rglob("*") if path.is_file()]
    assert not [path for path in files if ".staging" in path or ".staged" in path or "half" in path]
