"""A clean environment for every test, set before anything imports Airflow."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from airflow_magnus.dags import embedded

for _name in list(os.environ):
    if _name.startswith(("AWS_", "MAGNUS_", "AIRFLOW_", "AIRFLOW__")):
        del os.environ[_name]
_home = Path(tempfile.mkdtemp(prefix="airflow-magnus-tests-"))
embedded.set_environment(_home)
os.environ.update(
    AWS_EC2_METADATA_DISABLED="true",
    AWS_SHARED_CREDENTIALS_FILE=str(_home / "no-aws-credentials"),
    AWS_CONFIG_FILE=str(_home / "no-aws-config"),
)

pytest_plugins = ["fixtures_s3", "servers.fixtures"]


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """Airflow with a metadata database, once for all tests that run pipelines in this process."""
    embedded.make_home(_home)
    return _home


def pytest_unconfigure() -> None:
    import shutil

    shutil.rmtree(_home, ignore_errors=True)
