"""The run log and the catalog whose runs are shown. All of this waits for stores: call it in a thread."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_magnus.errors import (
    CatalogEntryNotFoundError,
    ConfigurationError,
    DigestMismatchError,
    RecordError,
)
from airflow_magnus.jupyter.credentials import AwsCreds
from airflow_magnus.pipeline.model import ServiceSettings
from airflow_magnus.runlog.layout import header_key
from airflow_magnus.runlog.records import CatalogEntry, RunHeader
from airflow_magnus.runlog.texts import record_of

if TYPE_CHECKING:
    import boto3

    from airflow_magnus.stores.catalog import CatalogStore
    from airflow_magnus.stores.runlogs import RunLogStore

log = logging.getLogger(__name__)
_SIGN_IN = ("aws_profile", "use_credentials", "role_arn", "aws_credentials_file")
_FRESH = 5.0
"""Seconds for which the files of a run are not read anew: pages ask for them many times in a row."""
_UNTOLD = timedelta(minutes=20)


@dataclass(frozen=True)
class RunFile:
    """A file of a run.

    :param entry: with the key where its bytes are now.
    :param recorded: when; None: not known.
    """

    entry: CatalogEntry
    recorded: datetime | None


class RunStores:
    """The stores of two settings.

    :param run_log: as of the setting ``run_log``, as ``catalog`` likewise.
    :param defaults: of the configuration of stores in S3: where the bucket of the notebooks is.
    :param authentication: gives what signs in to stores in S3 that say nothing of it.
    """

    def __init__(
        self, run_log: Any, catalog: Any, defaults: Mapping[str, Any], authentication: Callable[[], Any]
    ) -> None:
        self._settings = (
            _service(run_log, "log_folder", defaults),
            _service(catalog, "catalog_location", defaults),
        )
        self._authentication = authentication
        self._headers: dict[str, RunHeader] = {}
        self._files: dict[str, tuple[float, dict[str, RunFile]]] = {}

    @cached_property
    def run_log(self) -> RunLogStore:
        """The run log store, opened when it is first needed."""
        from airflow_magnus.stores.services import open_run_log

        settings = self._settings[0]
        return open_run_log(settings, folder=Path.cwd(), session=self._session(settings))

    @cached_property
    def catalog(self) -> CatalogStore:
        """The catalog, likewise."""
        from airflow_magnus.stores.catalog import CatalogStore
        from airflow_magnus.stores.services import open_catalog

        settings = self._settings[1]
        catalog = open_catalog(settings, folder=Path.cwd(), session=self._session(settings))
        if not isinstance(catalog, CatalogStore):
            raise ConfigurationError(
                f"the setting catalog is of type {settings.type!r}, which keeps no files"
            )
        return catalog

    def headers(self) -> list[RunHeader]:
        """The headers of all runs. Cost: 1 LIST for each 1,000 runs, and 1 read of each that is new."""
        run_ids = self.run_log.run_ids()
        new = {header_key(run_id): run_id for run_id in run_ids if run_id not in self._headers}
        for key, text in self.run_log.texts(new).items():
            try:
                self._headers[new[key]] = record_of(RunHeader, text, key)
            except RecordError as error:
                log.warning("left out: %s", error)
        return [self._headers[run_id] for run_id in run_ids if run_id in self._headers]

    def files(self, run_id: str) -> dict[str, RunFile]:
        """The files of a run by name. Cost: 2 LIST and the parts of the run; none within some seconds.

        :raises RunNotFoundError: when there is no such run.
        """
        from airflow_magnus.stores.contents import contents_of

        read, found = self._files.get(run_id, (0.0, {}))
        if time.monotonic() - read > _FRESH:
            held = contents_of(self.run_log, run_id)
            entries = self.catalog.located(run_id, [one.entry for one in held.values()])
            found = {entry.name: RunFile(entry, _moment(held[entry.name].recorded)) for entry in entries}
            self._files = {run_id: (time.monotonic(), found)}
        return found

    def read(self, file: RunFile) -> bytes:
        """The bytes of a file.

        :raises CatalogEntryNotFoundError: when they were removed.
        :raises DigestMismatchError: when they are not those that were recorded.
        """
        key, digest = file.entry.catalog_relative_path, file.entry.data_hash
        try:
            data = bytes(self.catalog.client.run(lambda store: store.get(key).bytes()))
        except FileNotFoundError as error:
            raise CatalogEntryNotFoundError(
                f"the catalog at {self.catalog.location} has it no more: `magnus catalog gc` may have removed the run's files"
            ) from error
        if digest and hashlib.sha256(data).hexdigest() != digest:
            raise DigestMismatchError(f"{self.catalog.location}/{key} has other bytes than the run log says")
        return data

    def _session(self, settings: ServiceSettings) -> boto3.Session | None:
        if settings.type not in ("s3", "chunked-s3") or any(settings.config.get(key) for key in _SIGN_IN):
            return None
        return _session_of(self._authentication(), str(settings.config["region"]))


def _service(setting: Any, path_key: str, defaults: Mapping[str, Any]) -> ServiceSettings:
    """The settings of a store as they are in a configuration file of magnus, from a text or such a mapping."""
    if not setting:
        name = "catalog" if path_key == "catalog_location" else "run_log"
        raise ConfigurationError(f"to show runs, both run_log and catalog are needed: set {name} too")
    if isinstance(setting, str) and not setting.startswith("s3://"):
        if not Path(setting).is_dir():
            raise ConfigurationError(
                f"{Path(setting).absolute()} is no folder of this machine: make it, or write s3://bucket/prefix"
                " in the settings run_log and catalog"
            )
        return ServiceSettings("file-system", {path_key: setting})
    given: Mapping[str, Any] = (
        {"type": "s3", "config": {"url": setting}} if isinstance(setting, str) else setting
    )
    kind, config = str(given.get("type", "")), dict(given.get("config") or {})
    return ServiceSettings(kind, {**defaults, **config} if kind in ("s3", "chunked-s3") else config)


def _session_of(authentication: Any, region: str) -> boto3.Session:
    """A session whose credentials are those of an authentication class, asked again before they end."""
    import boto3
    import botocore.session
    from botocore.credentials import RefreshableCredentials

    def ask() -> dict[str, str]:
        creds = asyncio.run(_asked(authentication))
        end = creds.expires_at or datetime.now(UTC) + _UNTOLD
        headers = {name.lower(): value for name, value in creds.pre_auth_headers.items()}
        return {
            "access_key": creds.access_key_id,
            "secret_key": creds.secret_access_key,
            "token": headers.get("x-amz-security-token", ""),
            "expiry_time": end.isoformat(),
        }

    core: Any = botocore.session.Session()
    core._credentials = RefreshableCredentials.create_from_metadata(
        ask(), refresh_using=ask, method="jupyter"
    )
    return boto3.Session(botocore_session=core, region_name=region)


async def _asked(authentication: Any) -> AwsCreds:
    found = authentication.get_credentials()
    return AwsCreds(*(await found if inspect.isawaitable(found) else found))


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC).replace(microsecond=0) if text else None
