"""What only a real scheduler shows: kills, marks and clears. Each is an attempt in the run log, and the next one goes well."""

from __future__ import annotations

import os
import signal
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from servers.airflow import HEARTBEAT_TIMEOUT, AirflowServer, parent_of, processes_with, wait_for

pytestmark = pytest.mark.external

LOADER = """\
# airflow dag
from airflow_magnus import load_pipelines

load_pipelines("pipelines/", globals())
"""
ONCE = "[ -e {folder}/go ] && exit 0; touch {folder}/started; sleep 120"
"""A command that waits to be killed, and ends well once the file ``go`` is there."""


@pytest.fixture(scope="module")
def pipelines(airflow: AirflowServer) -> Path:
    folder = airflow.dags / "pipelines"
    folder.mkdir()
    (airflow.dags / "loader.py").write_text(LOADER)
    return folder


@pytest.fixture
def waiting(airflow: AirflowServer, pipelines: Path, tmp_path: Path) -> Callable[..., tuple[str, str, int]]:
    """A run whose step ``slow`` waits: DAG id, run id, process id of the task."""

    def start(name: str, *, retry: int = 1, on_failure: str = "") -> tuple[str, str, int]:
        text = f"""\
            dag:
              start_at: first
              steps:
                first:
                  type: task
                  command_type: python-lambda
                  command: "lambda: {{'x': 1}}"
                  next: slow
                slow:
                  type: task
                  command_type: shell
                  command: "{ONCE.format(folder=tmp_path)}"
                  retry: {retry}
                  next: last
                  {f"on_failure: {on_failure}" if on_failure else ""}
                last:
                  type: task
                  command_type: python-lambda
                  command: "lambda x: {{'y': x + 1}}"
                  next: success
                success: {{type: success}}
                fail: {{type: fail}}
            """
        (pipelines / f"{name}.yaml").write_text(textwrap.dedent(text))
        run_id = airflow.trigger(name)
        wait_for(lambda: (tmp_path / "started").exists(), f"the step of {name}", 90)
        # The command's shell is a child of the task's process.
        command = next(pid for pid in processes_with(f"{tmp_path}/started") if _is_shell(pid))
        return name, run_id, _task_process(command)

    return start


def _is_shell(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").read_bytes().startswith((b"/bin/sh", b"sh"))


def _task_process(pid: int) -> int:
    return parent_of(pid)


def attempts(log: dict[str, Any], step: str = "slow") -> list[str]:
    return [attempt["status"] for attempt in log["steps"][step]["attempts"]]


def no_command_is_left(tmp_path: Path) -> None:
    wait_for(lambda: not processes_with(f"{tmp_path}/started"), "the command to be gone", 30)


def test_run_fails_and_says_why_when_task_is_killed_without_retry(
    airflow: AirflowServer, waiting: Callable[..., tuple[str, str, int]]
) -> None:
    dag_id, run_id, task = waiting("killed-once")
    os.kill(task, signal.SIGKILL)
    assert airflow.wait_for_run(dag_id, run_id) == "failed"
    log = airflow.run_log(run_id)
    assert log["status"] == "FAIL"
    assert attempts(log) == ["FAIL"]
    assert "killed" in log["steps"]["slow"]["attempts"][0]["message"]
    assert list(log["steps"]) == ["first", "slow", "fail"]


def test_next_attempt_puts_it_right_when_task_is_killed_with_retry(
    airflow: AirflowServer, waiting: Callable[..., tuple[str, str, int]], tmp_path: Path
) -> None:
    dag_id, run_id, task = waiting("killed-retried", retry=2)
    (tmp_path / "go").touch()
    os.kill(task, signal.SIGKILL)
    assert airflow.wait_for_run(dag_id, run_id) == "success"
    log = airflow.run_log(run_id)
    assert log["status"] == "SUCCESS"
    assert attempts(log) == ["FAIL", "SUCCESS"]
    assert log["parameters"] == {"x": 1, "y": 2}


def test_task_is_failed_and_command_gone_when_task_gets_sigterm(
    airflow: AirflowServer, waiting: Callable[..., tuple[str, str, int]], tmp_path: Path
) -> None:
    dag_id, run_id, task = waiting("sigterm")
    os.kill(task, signal.SIGTERM)
    assert airflow.wait_for_run(dag_id, run_id) == "failed"
    log = airflow.run_log(run_id)
    assert attempts(log) == ["FAIL"]
    no_command_is_left(tmp_path)


def test_orphan_changes_nothing_when_its_supervisor_is_killed(
    airflow: AirflowServer, waiting: Callable[..., tuple[str, str, int]], tmp_path: Path
) -> None:
    dag_id, run_id, task = waiting("supervisor", retry=2)
    (tmp_path / "go").touch()
    os.kill(parent_of(task), signal.SIGKILL)
    assert airflow.wait_for_run(dag_id, run_id, HEARTBEAT_TIMEOUT + 120) == "success"
    log = airflow.run_log(run_id)
    assert log["status"] == "SUCCESS"
    assert attempts(log)[-1] == "SUCCESS"
    assert log["parameters"] == {"x": 1, "y": 2}
    for pid in processes_with(f"{tmp_path}/started"):
        os.kill(pid, signal.SIGKILL)


def test_step_is_failed_when_running_task_is_marked_failed(
    airflow: AirflowServer, waiting: Callable[..., tuple[str, str, int]], tmp_path: Path
) -> None:
    dag_id, run_id, _ = waiting("marked-failed")
    airflow.mark(dag_id, run_id, "slow", "failed")
    assert airflow.wait_for_run(dag_id, run_id) == "failed"
    log = airflow.run_log(run_id)
    assert log["status"] == "FAIL"
    assert attempts(log) == ["FAIL"]
    no_command_is_left(tmp_path)


def test_run_goes_on_when_failed_task_is_marked_success(
    airflow: AirflowServer, waiting: Callable[..., tuple[str, str, int]]
) -> None:
    dag_id, run_id, task = waiting("marked-success")
    os.kill(task, signal.SIGKILL)
    assert airflow.wait_for_run(dag_id, run_id) == "failed"
    airflow.mark(dag_id, run_id, "slow", "success")
    airflow.clear(dag_id, run_id, "last")
    assert airflow.wait_for_run(dag_id, run_id) == "success"
    log = airflow.run_log(run_id)
    assert log["status"] == "SUCCESS"
    assert log["steps"]["slow"]["status"] == "SUCCESS"
    assert list(log["steps"]) == ["first", "slow", "last", "success"]
    assert log["parameters"] == {"x": 1, "y": 2}


def test_attempts_are_numbered_on_when_finished_run_is_cleared(
    airflow: AirflowServer, waiting: Callable[..., tuple[str, str, int]], tmp_path: Path
) -> None:
    dag_id, run_id, task = waiting("cleared")
    os.kill(task, signal.SIGKILL)
    assert airflow.wait_for_run(dag_id, run_id) == "failed"
    (tmp_path / "go").touch()
    airflow.clear(dag_id, run_id, "slow")
    assert airflow.wait_for_run(dag_id, run_id) == "success"
    log = airflow.run_log(run_id)
    assert log["status"] == "SUCCESS"
    assert attempts(log) == ["FAIL", "SUCCESS"]
    assert attempts(log, "first") == ["SUCCESS"]
    assert list(log["steps"]) == ["first", "slow", "last", "success"]


def test_new_attempt_counts_when_running_task_is_cleared(
    airflow: AirflowServer, waiting: Callable[..., tuple[str, str, int]], tmp_path: Path
) -> None:
    dag_id, run_id, _ = waiting("cleared-running")
    (tmp_path / "go").touch()
    airflow.clear(dag_id, run_id, "slow")
    assert airflow.wait_for_run(dag_id, run_id) == "success"
    log = airflow.run_log(run_id)
    assert log["status"] == "SUCCESS"
    assert attempts(log) == ["FAIL", "SUCCESS"]
    no_command_is_left(tmp_path)


def test_new_run_log_is_begun_when_run_is_deleted_and_made_again(
    airflow: AirflowServer, pipelines: Path
) -> None:
    text = "dag:\n  start_at: success\n  steps:\n    success: {type: success}\n    fail: {type: fail}\n"
    (pipelines / "deleted.yaml").write_text(text)
    run_id = airflow.trigger("deleted")
    airflow.wait_for_run("deleted", run_id)
    airflow.call("DELETE", f"/api/v2/dags/deleted/dagRuns/{run_id.replace('+', '%2B')}")
    body = {"logical_date": None, "conf": {}, "dag_run_id": run_id}
    airflow.call("POST", "/api/v2/dags/deleted/dagRuns", body)
    airflow.wait_for_run("deleted", run_id)
    names = sorted(path.stem for path in airflow.run_logs.glob("deleted.*.json"))
    assert len(names) == 2
    assert names[1] == f"{names[0]}.2"
