"""Run a pipeline in this process, through Airflow's own ``dag.test``, on a private metadata database.

Importing this module must not import Airflow: its environment is set first.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_magnus.dags.masking import masked_output
from airflow_magnus.errors import ConfigurationError, MagnusError, RunInterruptedError
from airflow_magnus.operators.environment import SCRATCH
from airflow_magnus.operators.interruption import forget, interrupt, interrupted_by
from airflow_magnus.pipeline.model import Pipeline, ServiceSettings
from airflow_magnus.runlog.records import RunHeader, RunLog
from airflow_magnus.stores.owners import process_started, this_process

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import DAG

    from airflow_magnus.hooks.services import OpenServices, ServiceSources

_DAG_FILE = """\
# An Airflow DAG file: dag.test wants the DAG to be in a bundle.
from airflow_magnus.dags.embedded import current_dag

dag = current_dag()
"""
_DAG_ID = "magnus-execute"
_HOME_PREFIX = "magnus-airflow-"
_TRIED_RELEASES = ("3.3.",)
_OLD_ROUTE = "_CADWYN_DELETED_ROUTE"
"""Cadwyn's mark of a route that only older versions have."""
_LONGEST_RUN_ID = 200
"""Bytes; a file's name may have 255, and the run log's ends with ``.json``."""
_current: DAG | None = None
_home: Path | None = None


@dataclass(frozen=True)
class Execution:
    """One call of ``magnus execute``, all of it checked.

    :param services: of all files; services that no file names have the command line's defaults.
    :param given: names of the parameters that are no defaults.
    :param folder: the current folder, where the steps work and relative paths begin.
    :param use_cached: the earlier run whose successful steps are not run again.
    :param new_parameters_win: of a re-run: let given parameters win over those of the earlier run.
    :param is_isolated: let each step work in a private copy of the pipeline's folder, as on a worker.
    :param is_quiet: do not tell of each step that has ended.
    """

    pipeline: Pipeline
    services: Mapping[str, ServiceSettings]
    parameters: Mapping[str, Any]
    given: Sequence[str]
    folder: Path
    run_id: str | None = None
    tag: str | None = None
    use_cached: str | None = None
    new_parameters_win: bool = False
    is_isolated: bool = False
    log_level: str = "WARNING"
    is_quiet: bool = False


def execute(execution: Execution) -> RunLog:
    """Run a pipeline to its end.

    :returns: the run log; its status is SUCCESS or FAIL.
    :raises ConfigurationError: when the run id that was asked for cannot be one.
    :raises RunIdTakenError: when the run id that was asked for is taken.
    :raises RunInterruptedError: when a signal ended the run; its run log says FAIL.
    """
    if execution.run_id is not None:
        check_run_id(execution.run_id)
    with masked_output(), _airflow(execution.log_level):
        from airflow_magnus.dags.failures import tell_shortly
        from airflow_magnus.dags.ordering import one_branch_after_the_other
        from airflow_magnus.dags.progress import progress
        from airflow_magnus.hooks.services import ServiceSources, open_services
        from airflow_magnus.operators.run import RESERVED

        sources = ServiceSources(execution.services, {}, execution.folder, uses_airflow=False)
        services = open_services(sources)
        dag = _dag(execution, sources)
        tell_shortly()
        header = _claimed(execution, services)
        telling = nullcontext() if execution.is_quiet else progress(sys.stderr)
        try:
            with ended_by_signals(), one_branch_after_the_other(dag), telling:
                dag.test(run_conf={RESERVED: {"run_id": header.run_id}})
        except KeyboardInterrupt:
            services.run_log.repair(header.run_id, {}, "")
            raise RunInterruptedError(header.run_id, interrupted_by()) from None
        return services.run_log.read(header.run_id)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGINT (Ctrl-C) and SIGTERM end the run: the command that runs, and nothing is begun after it."""

    def end(number: int, _: object) -> None:
        interrupt(number)
        raise KeyboardInterrupt

    forget()
    is_main = threading.current_thread() is threading.main_thread()
    before = {n: signal.signal(n, end) for n in (signal.SIGINT, signal.SIGTERM)} if is_main else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _serve_newest_api_only() -> None:
    """Let Airflow's in-process API know its newest version alone: making the old ones takes longer than all the rest.

    The client of this process speaks the newest. Tried on the releases named here; on others all versions are made.
    """
    if not version("apache-airflow-core").startswith(_TRIED_RELEASES):
        return
    from airflow.api_fastapi.execution_api import versions
    from airflow.api_fastapi.execution_api.routes import execution_api_router
    from cadwyn import HeadVersion, Version, VersionBundle

    versions.bundle = VersionBundle(HeadVersion(), Version(versions.bundle.versions[0].value))
    execution_api_router.routes[:] = [
        route for route in execution_api_router.routes if _OLD_ROUTE not in getattr(route, "tags", ())
    ]


def current_dag() -> DAG:
    """The DAG that this process runs."""
    if _current is None:
        raise MagnusError("this DAG file belongs to a `magnus execute` and means nothing by itself")
    return _current


def _dag(execution: Execution, sources: ServiceSources) -> DAG:
    """The pipeline as the DAG of this process."""
    global _current
    from airflow_magnus.dags.builder import dag_of, run_settings, stores_of
    from airflow_magnus.dags.routing import Plan
    from airflow_magnus.operators.workspace import WorkspaceSettings

    beside = execution.pipeline.path.resolve().parent
    workspace = WorkspaceSettings(
        source=beside if execution.is_isolated else execution.folder,
        code=beside,
        is_private=execution.is_isolated,
        left_out=stores_of(sources),
    )
    plan = Plan(sources, workspace, run_settings(execution.pipeline))
    _current = dag_of(
        execution.pipeline, plan, dag_id=_DAG_ID, params={}, schedule=None, start_date=None, end_date=None
    )
    return _current


def _claimed(execution: Execution, services: OpenServices) -> RunHeader:
    """Take a run id, before anything runs."""
    from airflow_magnus.errors import RunIdTakenError
    from airflow_magnus.operators.run import NEW_PARAMETERS, USE_CACHED, complete

    header = RunHeader(
        run_id=execution.run_id or "",
        token=secrets.token_hex(16),
        dag_hash=execution.pipeline.dag_hash,
        pipeline=execution.pipeline.name,
        tag=execution.tag,
        parameters=dict(execution.parameters),
        given=list(execution.given),
        run_config=services.run_config,
        definition=dict(execution.pipeline.definition),
        sub_definitions={name: dict(section) for name, section in execution.pipeline.sub_definitions.items()},
        scheduler={
            "type": "command",
            **this_process(),
        },
    )
    conf = {USE_CACHED: execution.use_cached, NEW_PARAMETERS: execution.new_parameters_win}
    while True:
        candidate = header.model_copy(update={"run_id": execution.run_id or _new_run_id()})
        try:
            candidate = complete(conf, services, candidate)
            services.run_log.claim(candidate)
        except RunIdTakenError:
            if execution.run_id is not None:
                raise
        else:
            return candidate


def check_run_id(run_id: str) -> None:
    """Make sure that a run id can be the name of a folder and part of a key.

    :raises ConfigurationError: when it cannot.
    """
    is_good = (
        run_id.isprintable() and "/" not in run_id and "\\" not in run_id and not run_id.endswith(".json")
    )
    if not is_good or not run_id.strip() or run_id.startswith(".") or len(run_id.encode()) > _LONGEST_RUN_ID:
        raise ConfigurationError(
            f"{run_id!a} cannot be a run id, as the run's folder is called so: write 1 to {_LONGEST_RUN_ID} bytes of "
            "printable text without slashes, with no dot in front and no .json at the end"
        )


def _new_run_id() -> str:
    """A sortable time stamp that no other run has: local time, to the microsecond."""
    import pendulum

    return pendulum.now().strftime("%Y%m%d%H%M%S%f")


@contextmanager
def _airflow(log_level: str) -> Iterator[None]:
    """Airflow in a throw-away home, unless this process has one already."""
    if _home is not None:
        yield
        return
    if "airflow" in sys.modules:
        raise MagnusError("Airflow is imported already: run `magnus execute` in a process of its own")
    _sweep()
    prefix = f"{_HOME_PREFIX}{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        os.environ[SCRATCH] = name
        set_environment(Path(name), log_level)
        warnings.filterwarnings("ignore", message="Using `httpx` with `starlette.testclient`")
        make_home(Path(name))
        yield


def _sweep() -> None:
    """Remove what runs have left whose processes were killed."""
    for home in Path(tempfile.gettempdir()).glob(f"{_HOME_PREFIX}[0-9]*-*"):
        pid = int(home.name.removeprefix(_HOME_PREFIX).partition("-")[0])
        with suppress(OSError):
            if home.stat().st_uid == os.getuid() and not process_started(pid):
                shutil.rmtree(home, ignore_errors=True)


def set_environment(home: Path, log_level: str = "WARNING") -> None:
    """Point Airflow at ``home``, before it is imported.

    Of the caller's own settings only secrets backends and connections stay.
    """
    for variable in list(os.environ):
        if variable.startswith("AIRFLOW__") and not variable.startswith("AIRFLOW__SECRETS__"):
            del os.environ[variable]
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__MAX_MAP_LENGTH": "1000000",
        "AIRFLOW__CORE__FERNET_KEY": "",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": log_level,
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def make_home(home: Path) -> None:
    """Fill ``home``: a copy of the migrated database, and the DAG file that stands for what this process runs."""
    global _home
    shutil.copyfile(_migrated_database(), home / "airflow.db")
    (home / "dags").mkdir(exist_ok=True)
    (home / "dags" / "pipeline.py").write_text(_DAG_FILE)
    _serve_newest_api_only()
    _home = home


def _migrated_database() -> Path:
    """A metadata database that is made once for each version of Airflow, whoever asks first."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "airflow-provider-magnus"
    cache.mkdir(parents=True, exist_ok=True)
    database = cache / f"metadata-{version('apache-airflow-core')}.db"
    with (cache / f"{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not database.exists():
            _make_database(database)
    return database


def _make_database(database: Path) -> None:
    print("preparing Airflow's metadata database (once for each version of Airflow) …", file=sys.stderr)  # noqa: T201
    with tempfile.TemporaryDirectory(prefix="magnus-airflow-", dir=database.parent) as name:
        home = Path(name)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")}
        environment |= {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        }
        done = subprocess.run(
            [sys.executable, "-c", "from airflow.utils.db import initdb; initdb()"],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise MagnusError(f"Airflow's metadata database could not be made:\n{done.stderr[-4000:]}")
        os.replace(home / "airflow.db", database)
