"""Open the stores that a configuration names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.pipeline.model import ServiceSettings
from airflow_magnus.stores.catalog import CatalogStore
from airflow_magnus.stores.database import DatabaseParts
from airflow_magnus.stores.do_nothing import DoNothingCatalog
from airflow_magnus.stores.parallel import MOST
from airflow_magnus.stores.parts import ObjectParts
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


@dataclass(frozen=True)
class CatalogObjects:
    """The objects of a catalog, open.

    :param store: of obstore.
    :param location: as configured; recorded with every entry.
    :param is_known: as of :class:`CatalogStore`.
    """

    store: Any
    location: str
    is_known: bool = True


def open_catalog(
    settings: ServiceSettings,
    *,
    folder: Path,
    session: boto3.Session | None = None,
) -> CatalogStore | DoNothingCatalog:
    """The catalog of ``settings``; parameters as of :func:`open_run_log`."""
    opened = open_catalog_objects(settings, folder=folder, session=session)
    if opened is None:
        return DoNothingCatalog()
    threads = int(settings.config.get("max_concurrency") or MOST) if settings.type == "s3" else MOST
    return CatalogStore(opened.store, opened.location, is_known=opened.is_known, threads=threads)


def open_catalog_objects(
    settings: ServiceSettings,
    *,
    folder: Path,
    session: boto3.Session | None = None,
) -> CatalogObjects | None:
    """The objects of the catalog of ``settings``; None of one that keeps nothing."""
    from airflow_magnus.stores.objects import open_object_store

    location = catalog_location(settings)
    if settings.type == "do-nothing":
        return None
    path = catalog_folder(settings, folder)
    if path is not None:
        return CatalogObjects(open_object_store(str(path)), location)
    if settings.type == "s3":
        store, is_known = _s3_store(location, settings.config, session)
        return CatalogObjects(store, location, is_known)
    opened = _third_party("airflow_magnus.catalogs", settings.type)(settings, folder=folder, session=session)
    return CatalogObjects(opened, location)


def catalog_folder(settings: ServiceSettings, folder: Path) -> Path | None:
    """The folder of a catalog that is one; None of others. ``folder``: as of :func:`open_run_log`."""
    location = catalog_location(settings)
    if settings.type == "file-system" or (settings.type == "s3" and not location.startswith("s3://")):
        return _below(folder, location.removeprefix("file://"))
    return None


def catalog_location(settings: ServiceSettings) -> str:
    """Where the catalog of ``settings`` is, as its entries say; "" of one that keeps nothing."""
    if settings.type == "do-nothing":
        return ""
    if settings.type == "file-system":
        return str(settings.config.get("catalog_location") or ".catalog")
    if settings.type == "s3":
        return s3_url(settings.config)
    return str(settings.config.get("url", settings.type))


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
