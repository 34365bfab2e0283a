"""The run log store as an Airflow connection."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from airflow_magnus.errors import ConfigurationError, MissingExtraError
from airflow_magnus.hooks.base import ServiceHook
from airflow_magnus.hooks.catalog import location_of, open_objects
from airflow_magnus.hooks.settings import ServiceKind
from airflow_magnus.stores.objects import MAX_RETRIES, probe

_TEST_RETRIES = 1
_TEST_PATIENCE = 2.0


class RunLogHook(ServiceHook):
    """A connection of type ``magnus_run_log``: a bucket, a folder that all workers share, or a database."""

    conn_name_attr = "run_log_conn_id"
    default_conn_name = "magnus_run_log_default"
    conn_type = "magnus_run_log"
    hook_name = "Magnus run log"
    kind: ClassVar[ServiceKind] = "run_log"

    def __init__(self, run_log_conn_id: str = default_conn_name) -> None:
        super().__init__(run_log_conn_id)

    def get_conn(self) -> Any:
        """Open the obstore store; of a database the run log store itself. Not in a process that forks afterwards."""
        settings = self.get_settings()
        if settings.type != "db":
            return open_objects(self, MAX_RETRIES)
        from airflow_magnus.stores.services import open_run_log

        return open_run_log(settings, folder=Path.cwd(), session=None)

    def _try(self) -> str:
        settings = self.get_settings()
        if settings.type != "db":
            return probe(open_objects(self, _TEST_RETRIES), location_of(settings)).message
        return _try_database(str(settings.config["connection_string"]))


def _try_database(url: str) -> str:
    import sqlalchemy as sa

    from airflow_magnus.stores.database import DatabaseParts

    try:
        parts = DatabaseParts(url, patience=_TEST_PATIENCE)
    except sa.exc.NoSuchModuleError as error:
        raise ConfigurationError(
            f"url names a kind of database that SQLAlchemy does not know: {error}"
        ) from error
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"a run log in this database ({error})", "database") from error
    parts.read(["connection-test"])  # makes the table when it is not there
    return f"{parts.location}: connected; table {DatabaseParts.TABLE} is there"
