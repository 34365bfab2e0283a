"""A clean environment for every test, set before anything imports Airflow."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
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

pytest_plugins = ["fixtures_s3", "servers.fixtures", "ui_stage"]


_STATUS = pytest.StashKey[int]()
_ON_SIGTERM = signal.getsignal(signal.SIGTERM)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell starts what it sends to the background so, and processes that tests interrupt would never end.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _term_handler() -> Iterator[None]:
    """Airflow's task sets a handler of SIGTERM and leaves it: processes that are forked then do not end by the signal."""
    signal.signal(signal.SIGTERM, _ON_SIGTERM)  # a fixture of more than one test may have run a task
    yield
    signal.signal(signal.SIGTERM, _ON_SIGTERM)


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """Airflow with a metadata database, once for all tests that run pipelines in this process."""
    embedded.make_home(_home)
    return _home


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(_home, ignore_errors=True)
    if _STATUS in config.stash:
        # Python 3.11 may crash in pydantic-core while it takes the models of Airflow's API apart, when all is done.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[_STATUS])
