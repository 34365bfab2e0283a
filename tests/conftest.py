"""A clean environment for every test, set before anything imports Airflow."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

for _name in list(os.environ):
    if _name.startswith(("AWS_", "MAGNUS_", "AIRFLOW_", "AIRFLOW__")):
        del os.environ[_name]
_home = Path(tempfile.mkdtemp(prefix="airflow-magnus-tests-"))
os.environ.update(
    AIRFLOW_HOME=str(_home),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AWS_EC2_METADATA_DISABLED="true",
    AWS_SHARED_CREDENTIALS_FILE=str(_home / "no-aws-credentials"),
    AWS_CONFIG_FILE=str(_home / "no-aws-config"),
)

pytest_plugins = ["fixtures_s3"]


def pytest_unconfigure() -> None:
    import shutil

    shutil.rmtree(_home, ignore_errors=True)
