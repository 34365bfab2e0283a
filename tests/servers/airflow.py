"""A real Airflow: API server, scheduler with LocalExecutor, DAG processor and triggerer, on a PostgreSQL database."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from servers.postgres import PostgresServer
from servers.programs import Programs, answers, ended_together, free_port

HEARTBEAT_TIMEOUT = 12
"""Seconds after which the scheduler takes a task for dead that does not report."""
_ENDED = ("success", "failed")
_IMPORTED_ONCE = "import airflow_magnus.dags.builder\nimport airflow_magnus.stores.services\n"
"""Read by the scheduler, whose forks the tasks are: what each of them would import takes half its time."""


@dataclass
class AirflowServer:
    """One Airflow, spoken to by its public API.

    :param home: AIRFLOW_HOME; DAG files are read from ``dags`` below it.
    """

    home: Path
    base_url: str
    programs: Programs | None = field(default=None, repr=False)
    _token: str = field(default="", repr=False)

    @property
    def dags(self) -> Path:
        return self.home / "dags"

    @property
    def run_logs(self) -> Path:
        """The embedded default's run logs."""
        return self.home / "magnus" / "run_log"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request; the decoded answer.

        :raises AssertionError: with the answer, when it is an error.
        """
        if not self._token and path != "/auth/token":
            self._token = self.call("POST", "/auth/token", {"username": "admin", "password": "admin"})[
                "access_token"
            ]
        request = urllib.request.Request(
            self.base_url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()[:2000]}") from error

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run, once the DAG is there; its run id."""
        wait_for(lambda: self._has(dag_id), f"DAG {dag_id}", 90)
        body = {"logical_date": None, "conf": dict(conf or {})}
        return str(self.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        return str(self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}")["state"])

    def wait_for_run(self, dag_id: str, run_id: str, seconds: float = 120) -> str:
        """Wait for the end of a run; its state."""
        wait_for(
            lambda: self.run_state(dag_id, run_id) in _ENDED,
            lambda: f"the end of {dag_id} {run_id}: {self.task_states(dag_id, run_id)}",
            seconds,
        )
        return self.run_state(dag_id, run_id)

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """All task instances of a run, those of mapped tasks in the order of their items."""
        found: list[dict[str, Any]] = []
        path = f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances?limit=100&order_by=map_index"
        while True:
            answer = self.call("GET", f"{path}&offset={len(found)}")
            found += answer["task_instances"]
            if not answer["task_instances"] or len(found) >= answer["total_entries"]:
                return found

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        return {task["task_id"]: task for task in self.task_instances(dag_id, run_id)}

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        return {task_id: task["state"] for task_id, task in self.tasks(dag_id, run_id).items()}

    def wait_for_task(
        self, dag_id: str, run_id: str, task_id: str, *states: str, seconds: float = 90
    ) -> None:
        wait_for(
            lambda: self.task_states(dag_id, run_id).get(task_id) in states,
            lambda: f"{task_id} to be {states}: {self.task_states(dag_id, run_id)}",
            seconds,
        )

    def mark(
        self, dag_id: str, run_id: str, task: str | tuple[str, int], state: str, downstream: bool = False
    ) -> None:
        """What the UI's "mark as" does.

        :param task: its id; of a mapped one with the map index.
        """
        name = task if isinstance(task, str) else f"{task[0]}/{task[1]}"
        path = f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances/{name}"
        self.call("PATCH", path, {"new_state": state, "include_downstream": downstream})

    def clear(
        self,
        dag_id: str,
        run_id: str,
        *tasks: str | tuple[str, int],
        downstream: bool = True,
        only_failed: bool = False,
        on_latest: bool | None = None,
    ) -> None:
        """What the UI's "clear" does.

        :param tasks: as of :meth:`mark`.
        """
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": list(tasks),
            "include_downstream": downstream,
            "only_failed": only_failed,
            "reset_dag_runs": True,
            **({} if on_latest is None else {"run_on_latest_version": on_latest}),
        }
        self.call("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", body)

    def run_log(self, run_id: str) -> dict[str, Any]:
        """The run log of an Airflow run, of the embedded default."""
        from airflow_magnus.pipeline.model import ServiceSettings
        from airflow_magnus.stores.services import open_run_log

        store = open_run_log(
            ServiceSettings("file-system", {"log_folder": str(self.run_logs)}), folder=self.home
        )
        return dict(json.loads(store.find(run_id).to_json()))

    def restart_scheduler(self) -> None:
        """Kill the scheduler and all it runs, and start another one."""
        assert self.programs is not None
        self.programs.restart("scheduler")

    def _has(self, dag_id: str) -> bool:
        with suppress(AssertionError):
            return not self.call("GET", f"/api/v2/dags/{dag_id}")["is_stale"]
        return False


@contextmanager
def airflow_server(folder: Path, postgres: PostgresServer) -> Iterator[tuple[AirflowServer, Programs]]:
    """A running Airflow below ``folder``."""
    port, database = free_port(), postgres.make_database()
    (folder / "dags").mkdir()
    (folder / "passwords.json").write_text(json.dumps({"admin": "admin", "vic": "vic"}))
    (folder / "config").mkdir()
    (folder / "config" / "airflow_local_settings.py").write_text(_IMPORTED_ONCE)
    environment = _environment(folder, port, database)
    airflow = [sys.executable, "-m", "airflow"]
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update({k: v for k, v in before.items() if not k.startswith("AIRFLOW")} | environment)
    try:
        with ended_together(folder) as programs:
            programs.run(*airflow, "db", "migrate", seconds=180)
            for command in ("api-server", "scheduler", "dag-processor", "triggerer"):
                programs.start([*airflow, command], end_by=signal.SIGTERM)
            programs.wait_until(lambda: answers(port), "Airflow's API server", 120)
            server = AirflowServer(folder, f"http://localhost:{port}", programs)
            programs.wait_until(lambda: _is_healthy(server), "Airflow", 120)
            yield server, programs
    finally:
        os.environ.clear()
        os.environ.update(before)


def _environment(folder: Path, port: int, database: str) -> dict[str, str]:
    # No other Airflow of this machine may listen at the ports that have defaults.
    return {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "6",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,vic:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://localhost:{port}/execution/",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__BASE_URL": f"http://localhost:{port}",
        "AIRFLOW__API_AUTH__JWT_SECRET": "only-for-tests-" + "x" * 64,
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
        # A scheduler looks for the tasks of a dead one at its start, and by default five minutes later.
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "PYTHONWARNINGS": "ignore",
        "PATH": os.pathsep.join(
            [str(Path(sys.executable).parent), os.environ["PATH"]]
        ),  # programs of steps: aws
    }


def _is_healthy(server: AirflowServer) -> bool:
    with suppress(AssertionError, OSError):
        health = server.call("GET", "/api/v2/monitor/health")
        return all(
            health[part]["status"] == "healthy" for part in ("scheduler", "dag_processor", "metadatabase")
        )
    return False


def wait_for(is_done: Callable[[], bool], what: str | Callable[[], str], seconds: float) -> None:
    """Look four times a second.

    :raises AssertionError: that names ``what``, when it takes too long.
    """
    end = time.monotonic() + seconds
    while not is_done():
        assert time.monotonic() < end, f"waited {seconds} s for {what if isinstance(what, str) else what()}"
        time.sleep(0.25)


def processes_with(text: str) -> list[int]:
    """Ids of the processes whose environment or command line holds ``text``."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with suppress(OSError):
                there = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
                if text.encode() in there:
                    found.append(int(folder.name))
    return found


def parent_of(pid: int) -> int:
    """Id of a process's parent."""
    match = re.search(r"^PPid:\s*(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert match
    return int(match[1])
