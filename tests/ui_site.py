"""Our pages below an application that checks users as Airflow's own does, and runs for them to show."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.dags import embedded
from airflow_magnus.dags.builder import pipeline_dag
from airflow_magnus.pipeline.identifiers import safe_run_id
from airflow_magnus.pipeline.model import ServiceSettings
from airflow_magnus.runlog.records import RunLog
from airflow_magnus.stores.runlogs import RunLogStore
from airflow_magnus.stores.services import open_run_log


def embedded_run_log(home: Path) -> RunLogStore:
    """The run log of DAGs that have no connection."""
    settings = ServiceSettings("file-system", {"log_folder": str(home / "magnus" / "run_log")})
    return open_run_log(settings, folder=home)


@contextmanager
def served(home: Path) -> Iterator[Any]:
    """The application, with the users ``admin`` and ``vic``, who is a viewer."""
    from airflow.api_fastapi.app import init_auth_manager, purge_cached_app
    from fastapi import FastAPI

    from airflow_magnus.ui import plugin

    with pytest.MonkeyPatch.context() as patch:
        passwords = home / "passwords.json"
        passwords.write_text(json.dumps({"admin": "a", "vic": "v"}))
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "admin:admin,vic:viewer")
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
        patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "only-for-tests-" + "x" * 64)
        patch.setenv("AIRFLOW__API__SECRET_KEY", "only-for-tests")
        purge_cached_app()
        app = FastAPI()
        init_auth_manager(app)
        app.mount(plugin.PREFIX, plugin.LazyApp())
        yield app
        purge_cached_app()


def token_of(name: str, role: str = "") -> str:
    """What shows that a user is signed in."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    token: str = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=name, role=role or "ADMIN"))
    return token


def client_of(app: Any, name: str = "", role: str = "") -> Any:
    """A browser that is signed in; without a name it is not."""
    from fastapi.testclient import TestClient

    cookies = {"_token": token_of(name, role)} if name else {}
    return TestClient(
        app, cookies=cookies, follow_redirects=False, raise_server_exceptions=False, base_url="http://a"
    )


def run_of(
    home: Path,
    file: Path,
    text: str,
    dag_id: str,
    conf: dict[str, Any] | None = None,
    run_log: RunLogStore | None = None,
) -> RunLog:
    """Run a pipeline's text as a DAG, to its end.

    :param run_log: that the DAG has; None: the one of DAGs without a connection.
    """
    file.write_text(text)
    before = dict(os.environ)
    try:
        embedded._current = dag = pipeline_dag(file.resolve(), dag_id=dag_id)
        run = dag.test(run_conf=conf or {})
    finally:
        embedded._current = None
        os.environ.clear()
        os.environ.update(before)
    return (run_log or embedded_run_log(home)).find(safe_run_id(f"{dag_id}.{run.run_id}"))
