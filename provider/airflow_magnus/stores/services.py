"""Open the stores that a configuration names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.pipeline.model import ServiceSettings
from airflow_magnus.stores.catalog import CatalogStore
from airflow_magnus.stores.do_nothing import DoNothingCatalog
from airflow_magnus.stores.parallel import MOST
from airflow_magnus.stores.parts import DatabaseParts, ObjectParts
from airflow_magnus.stores.runlogs import RunLogStore
from airflow_magnus.stores.secrets import SecretsStore

if TYPE_CHECKING:
    import boto3

DEFAULTS: Mapping[str, ServiceSettings] = {
    "executor": ServiceSettings("local"),
    "run_log_store": ServiceSettings("file-system"),
    "catalog": ServiceSettings("file-system"),
    "secrets": ServiceSettings("do-nothing"),
}
"""What the command line uses for a service that no file names."""

_buffers: dict[str, Any] = {}


def open_run_log(
    settings: ServiceSettings,
    *,
    folder: Path,
    session: boto3.Session | None = None,
    secrets: SecretsStore | None = None,
) -> RunLogStore:
    """The run-log store of ``settings``.

    :param folder: what relative paths of the configuration are relative to.
    :param secrets: fills ``${name}`` in a database's connection string.
    """
    config = settings.config
    kind = settings.type
    if kind == "buffered":
        return RunLogStore(_buffer(str(folder)))
    if kind in ("file-system", "chunked-fs"):
        return RunLogStore(_folder_parts(_below(folder, config.get("log_folder") or ".run_log_store")))
    if kind in ("s3", "chunked-s3"):
        url = s3_url(config)
        if url.startswith("s3://"):
            store, is_known = _s3_store(url, config, session)
            return RunLogStore(ObjectParts(store, url, is_known=is_known))
        return RunLogStore(_folder_parts(_below(folder, url.removeprefix("file://"))))
    if kind == "db":
        return RunLogStore(DatabaseParts(_filled(str(config["connection_string"]), secrets)))
    return RunLogStore(
        _third_party("airflow_magnus.run_logs", kind)(settings, folder=folder, session=session)
    )


def open_catalog(
    settings: ServiceSettings,
    *,
    folder: Path,
    session: boto3.Session | None = None,
) -> CatalogStore | DoNothingCatalog:
    """The catalog of ``settings``; parameters as of :func:`open_run_log`."""
    from airflow_magnus.stores.objects import open_object_store

    config = settings.config
    if settings.type == "do-nothing":
        return DoNothingCatalog()
    if settings.type == "file-system":
        location = str(config.get("catalog_location") or ".catalog")
        store = open_object_store(str(_below(folder, location)))
        return CatalogStore(store, location)
    if settings.type == "s3":
        url = s3_url(config)
        if not url.startswith("s3://"):
            return CatalogStore(open_object_store(str(_below(folder, url.removeprefix("file://")))), url)
        store, is_known = _s3_store(url, config, session)
        return CatalogStore(store, url, is_known=is_known, threads=int(config.get("max_concurrency") or MOST))
    opened = _third_party("airflow_magnus.catalogs", settings.type)(settings, folder=folder, session=session)
    return CatalogStore(opened, str(config.get("url", settings.type)))


def compute_data_folder(settings: ServiceSettings) -> str:
    """The folder that a step's data is in, unless the step says otherwise."""
    return str(settings.config.get("compute_data_folder") or "data").rstrip("/") or "data"


def s3_url(config: Mapping[str, Any]) -> str:
    """``s3://bucket/prefix`` of a configuration that gives a URL, or bucket and prefix apart."""
    if config.get("url"):
        return str(config["url"]).rstrip("/")
    prefix = str(config.get("prefix") or "").strip("/")
    return f"s3://{config['s3_bucket']}" + (f"/{prefix}" if prefix else "")


def _s3_store(url: str, config: Mapping[str, Any], session: boto3.Session | None) -> tuple[Any, bool]:
    """The store, and whether it is AWS's own, which is known to honour create-only writes."""
    from airflow_magnus.stores.aws import AwsOptions, boto3_session
    from airflow_magnus.stores.objects import open_object_store, s3_endpoint

    options = AwsOptions.from_config(config)
    session = session or boto3_session(options)
    return open_object_store(url, options, session=session), not s3_endpoint(options, session)


def _folder_parts(path: Path) -> ObjectParts:
    from airflow_magnus.stores.objects import open_object_store

    return ObjectParts(open_object_store(str(path)), str(path))


def _below(folder: Path, path: Any) -> Path:
    return folder / Path(str(path)).expanduser()


def _buffer(key: str) -> ObjectParts:
    from obstore.store import MemoryStore

    if key not in _buffers:
        _buffers[key] = MemoryStore()
    return ObjectParts(_buffers[key], "memory")


def _filled(connection_string: str, secrets: SecretsStore | None) -> str:
    """Replace ``${name}`` by the secret of that name (Source: spec §13)."""

    def secret(match: re.Match[str]) -> str:
        if secrets is None:
            raise ConfigurationError(f"{match[0]} in connection_string needs a secrets store")
        return secrets.get(match[1])

    return re.sub(r"\$\{(\w+)\}", secret, connection_string)


def _third_party(group: str, kind: str) -> Callable[..., Any]:
    for entry in entry_points(group=group, name=kind):
        loaded: Callable[..., Any] = entry.load()
        return loaded
    raise ConfigurationError(f"no installed package gives a store of type {kind!r} (entry points {group!r})")
