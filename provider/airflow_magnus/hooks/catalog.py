"""The catalog as an Airflow connection."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow_magnus.hooks.base import ServiceHook
from airflow_magnus.hooks.settings import ServiceKind
from airflow_magnus.pipeline.model import ServiceSettings
from airflow_magnus.stores.objects import MAX_RETRIES, open_object_store, probe

_TEST_RETRIES = 1


class CatalogHook(ServiceHook):
    """A connection of type ``magnus_catalog``: a bucket, or a folder that all workers share."""

    conn_name_attr = "catalog_conn_id"
    default_conn_name = "magnus_catalog_default"
    conn_type = "magnus_catalog"
    hook_name = "Magnus catalog"
    kind: ClassVar[ServiceKind] = "catalog"

    def __init__(self, catalog_conn_id: str = default_conn_name) -> None:
        super().__init__(catalog_conn_id)

    def get_conn(self) -> Any:
        """Open the obstore store of the catalog; only in a process that does not fork afterwards."""
        return self._open(MAX_RETRIES)

    def _open(self, max_retries: int) -> Any:
        return open_objects(self, max_retries)

    def _try(self) -> str:
        return probe(self._open(_TEST_RETRIES), location_of(self.get_settings())).message


def open_objects(hook: ServiceHook, max_retries: int) -> Any:
    """Open the object store that a catalog's or run log's connection stands for."""
    from airflow_magnus.stores.aws import AwsOptions

    settings = hook.get_settings()
    return open_object_store(
        location_of(settings),
        AwsOptions.from_config(settings.config),
        session=hook.get_session(),
        max_retries=max_retries,
    )


def location_of(settings: ServiceSettings) -> str:
    """Give the URL or the folder of a catalog or of a run log that is not in a database."""
    config = settings.config
    if settings.type != "s3":
        return str(config.get("catalog_location") or config.get("log_folder"))
    return f"s3://{config['s3_bucket']}/{config.get('prefix', '')}".rstrip("/")
