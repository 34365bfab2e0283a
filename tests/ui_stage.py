"""A stage for the pages in Airflow's UI: below an application that checks users as Airflow's own does, with no server."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Client = Any


@pytest.fixture(scope="module")
def site(airflow_home: Path) -> Iterator[Any]:
    """Our pages below an application that checks users as Airflow's own does."""
    from airflow.api_fastapi.app import init_auth_manager, purge_cached_app
    from fastapi import FastAPI

    from airflow_magnus.ui import plugin

    with pytest.MonkeyPatch.context() as patch:
        passwords = airflow_home / "passwords.json"
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


@pytest.fixture
def client(site: Any) -> Callable[..., Client]:
    """A browser that is signed in; without a name it is not."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi.testclient import TestClient

    def make(name: str = "", role: str = "", app: Any = site) -> Client:
        cookies = {}
        if name:
            user = SimpleAuthManagerUser(username=name, role=role or "ADMIN")
            cookies = {"_token": get_auth_manager().generate_jwt(user)}
        return TestClient(
            app, cookies=cookies, follow_redirects=False, raise_server_exceptions=False, base_url="http://a"
        )

    return make


def words(page: str) -> str:
    """What a page says."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))
