"""What only a real scheduler shows: kills, marks and clears. Each is an attempt in the run log, and the next one goes well."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
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
PIPELINE = """\
dag:
  start_at: first
  steps:
    first: {{type: task, command_type: python-lambda, command: "lambda: {{'x': 1}}", next: slow}}
    slow:
      type: task
      command_type: shell
      # Waits to be killed, and ends well once the file `go` is there.
      command: "[ -e {folder}/go ] && exit 0; touch {folder}/started; sleep 120"
      retry: {retry}
      next: last
    last: {{type: task, command_type: python-lambda, command: "lambda x: {{'y': x + 1}}", next: success}}
    success: {{type: success}}
    fail: {{type: fail}}
"""
DELETED = "dag:\n  start_at: success\n  steps:\n    success: {type: success}\n    fail: {type: fail}\n"
RETRIES = {
    "killed-once": 1,
    "killed-retried": 2,
    "sigterm": 1,
    "supervisor": 2,
    "marked-failed": 1,
    "marked-success": 1,
    "cleared": 1,
    "cleared-running": 1,
    "scheduler-killed": 2,
}
"""The pipelines of the tests and how often their slow step is tried; all are there before the first test starts."""


@dataclass(frozen=True)
class Waiting:
    """A run whose step ``slow`` waits.

    :param folder: where the step's command looks for the file ``go``.
    :param task: id of the task's process.
    """

    dag_id: str
    run_id: str
    folder: Path
    task: int

    def may_end(self) -> None:
        """Let the next attempt end well."""
        (self.folder / "go").touch()

    def is_gone(self) -> None:
        """Wait until no process of the command is left."""
        wait_for(lambda: not processes_with(f"{self.folder}/started"), "the command to be gone", 30)


@pytest.fixture(scope="module")
def folders(airflow: AirflowServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """DAG id → folder of its command."""
    made = {name: tmp_path_factory.mktemp(name) for name in RETRIES}
    pipelines = airflow.dags / "pipelines"
    pipelines.mkdir()
    for name, retry in RETRIES.items():
        (pipelines / f"{name}.yaml").write_text(PIPELINE.format(folder=made[name], retry=retry))
    (pipelines / "deleted.yaml").write_text(DELETED)
    (airflow.dags / "loader.py").write_text(LOADER)
    return made


@pytest.fixture
def waiting(airflow: AirflowServer, folders: dict[str, Path]) -> Callable[[str], Waiting]:
    """Starts a run of a pipeline and waits until its slow step waits."""

    def start(dag_id: str) -> Waiting:
        folder = folders[dag_id]
        run_id = airflow.trigger(dag_id)
        wait_for(lambda: (folder / "started").exists(), f"the step of {dag_id}", 90)
        # The command's shell is a child of the task's process.
        command = next(pid for pid in processes_with(f"{folder}/started") if _is_shell(pid))
        return Waiting(dag_id, run_id, folder, parent_of(command))

    return start


def _is_shell(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").read_bytes().startswith((b"/bin/sh", b"sh"))


def attempts(log: dict[str, Any], step: str = "slow") -> list[str]:
    return [attempt["status"] for attempt in log["steps"][step]["attempts"]]


def test_run_fails_and_says_why_when_task_is_killed_without_retry(
    airflow: AirflowServer, waiting: Callable[[str], Waiting]
) -> None:
    run = waiting("killed-once")
    os.kill(run.task, signal.SIGKILL)
    assert airflow.wait_for_run(run.dag_id, run.run_id) == "failed"
    log = airflow.run_log(run.run_id)
    assert log["status"] == "FAIL"
    assert attempts(log) == ["FAIL"]
    assert "killed" in log["steps"]["slow"]["attempts"][0]["message"]
    assert list(log["steps"]) == ["first", "slow", "fail"]


def test_next_attempt_puts_it_right_when_task_is_killed_with_retry(
    airflow: AirflowServer, waiting: Callable[[str], Waiting]
) -> None:
    run = waiting("killed-retried")
    run.may_end()
    os.kill(run.task, signal.SIGKILL)
    assert airflow.wait_for_run(run.dag_id, run.run_id) == "success"
    log = airflow.run_log(run.run_id)
    assert log["status"] == "SUCCESS"
    assert attempts(log) == ["FAIL", "SUCCESS"]
    assert log["parameters"] == {"x": 1, "y": 2}


def test_task_is_failed_and_command_gone_when_task_gets_sigterm(
    airflow: AirflowServer, waiting: Callable[[str], Waiting]
) -> None:
    run = waiting("sigterm")
    os.kill(run.task, signal.SIGTERM)
    assert airflow.wait_for_run(run.dag_id, run.run_id) == "failed"
    log = airflow.run_log(run.run_id)
    assert attempts(log) == ["FAIL"]
    run.is_gone()


def test_orphan_changes_nothing_when_its_supervisor_is_killed(
    airflow: AirflowServer, waiting: Callable[[str], Waiting]
) -> None:
    run = waiting("supervisor")
    run.may_end()
    os.kill(parent_of(run.task), signal.SIGKILL)
    assert airflow.wait_for_run(run.dag_id, run.run_id, HEARTBEAT_TIMEOUT + 120) == "success"
    log = airflow.run_log(run.run_id)
    assert log["status"] == "SUCCESS"
    assert attempts(log)[-1] == "SUCCESS"
    assert log["parameters"] == {"x": 1, "y": 2}
    for pid in processes_with(f"{run.folder}/started"):
        os.kill(pid, signal.SIGKILL)


def test_step_is_failed_when_running_task_is_marked_failed(
    airflow: AirflowServer, waiting: Callable[[str], Waiting]
) -> None:
    run = waiting("marked-failed")
    airflow.mark(run.dag_id, run.run_id, "slow", "failed")
    assert airflow.wait_for_run(run.dag_id, run.run_id) == "failed"
    log = airflow.run_log(run.run_id)
    assert log["status"] == "FAIL"
    assert attempts(log) == ["FAIL"]
    run.is_gone()


def test_run_goes_on_when_failed_task_is_marked_success(
    airflow: AirflowServer, waiting: Callable[[str], Waiting]
) -> None:
    run = waiting("marked-success")
    os.kill(run.task, signal.SIGKILL)
    assert airflow.wait_for_run(run.dag_id, run.run_id) == "failed"
    airflow.mark(run.dag_id, run.run_id, "slow", "success")
    airflow.clear(run.dag_id, run.run_id, "last")
    assert airflow.wait_for_run(run.dag_id, run.run_id) == "success"
    log = airflow.run_log(run.run_id)
    assert log["status"] == "SUCCESS"
    assert log["steps"]["slow"]["status"] == "SUCCESS"
    assert list(log["steps"]) == ["first", "slow", "last", "success"]
    assert log["parameters"] == {"x": 1, "y": 2}


def test_attempts_are_numbered_on_when_finished_run_is_cleared(
    airflow: AirflowServer, waiting: Callable[[str], Waiting]
) -> None:
    run = waiting("cleared")
    os.kill(run.task, signal.SIGKILL)
    assert airflow.wait_for_run(run.dag_id, run.run_id) == "failed"
    run.may_end()
    airflow.clear(run.dag_id, run.run_id, "slow")
    assert airflow.wait_for_run(run.dag_id, run.run_id) == "success"
    log = airflow.run_log(run.run_id)
    assert log["status"] == "SUCCESS"
    assert attempts(log) == ["FAIL", "SUCCESS"]
    assert attempts(log, "first") == ["SUCCESS"]
    assert list(log["steps"]) == ["first", "slow", "last", "success"]


def test_new_attempt_counts_when_running_task_is_cleared(
    airflow: AirflowServer, waiting: Callable[[str], Waiting]
) -> None:
    run = waiting("cleared-running")
    run.may_end()
    airflow.clear(run.dag_id, run.run_id, "slow")
    assert airflow.wait_for_run(run.dag_id, run.run_id) == "success"
    log = airflow.run_log(run.run_id)
    assert log["status"] == "SUCCESS"
    assert attempts(log) == ["FAIL", "SUCCESS"]
    run.is_gone()


def test_new_run_log_is_begun_when_run_is_deleted_and_made_again(
    airflow: AirflowServer, folders: dict[str, Path]
) -> None:
    run_id = airflow.trigger("deleted")
    airflow.wait_for_run("deleted", run_id)
    airflow.call("DELETE", f"/api/v2/dags/deleted/dagRuns/{run_id.replace('+', '%2B')}")
    body = {"logical_date": None, "conf": {}, "dag_run_id": run_id}
    airflow.call("POST", "/api/v2/dags/deleted/dagRuns", body)
    airflow.wait_for_run("deleted", run_id)
    names = sorted(path.stem for path in airflow.run_logs.glob("deleted.*.json"))
    assert len(names) == 2
    assert names[1] == f"{names[0]}.2"


def test_run_ends_well_when_scheduler_is_killed_and_another_starts(
    airflow: AirflowServer, waiting: Callable[[str], Waiting]
) -> None:
    run = waiting("scheduler-killed")
    run.may_end()
    airflow.restart_scheduler()
    assert airflow.wait_for_run(run.dag_id, run.run_id, 240) == "success"
    log = airflow.run_log(run.run_id)
    assert log["status"] == "SUCCESS"
    # The task goes on as an orphan: it may end before its scheduler is gone, and its successor takes it for dead else.
    assert attempts(log) in (["FAIL", "SUCCESS"], ["SUCCESS", "SUCCESS"], ["SUCCESS"])
    assert log["parameters"] == {"x": 1, "y": 2}
    for pid in processes_with(f"{run.folder}/started"):
        os.kill(pid, signal.SIGKILL)
