"""A gateway around code that is no step of a pipeline: what it is given, and where what it writes goes."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from airflow_magnus.errors import ConfigurationError, StoreError
from airflow_magnus.gateway.process import Gateway
from airflow_magnus.gateway.views import Folder, View
from airflow_magnus.hooks.buckets import bucket_of, bucket_view, catalog_place
from airflow_magnus.hooks.services import ServiceSources, open_services
from airflow_magnus.pipeline.model import DataSource
from airflow_magnus.pipeline.sources import endpoint_of, name_fault
from airflow_magnus.stores.client import ObjectClient
from airflow_magnus.stores.objects import explain, open_object_store, split_s3_url
from airflow_magnus.stores.owners import is_gone, this_process
from airflow_magnus.stores.sources import LATEST, FileFinder
from airflow_magnus.stores.staging import publish

log = logging.getLogger(__name__)

Source = str | os.PathLike[str] | Mapping[str, Any]
"""``s3://bucket/prefix``, a folder, or a mapping as below ``from`` in a pipeline file."""
_STAGING = ".s3-endpoints"


@dataclass(frozen=True)
class Wanted:
    """What code asks for; see :func:`airflow_magnus.s3_endpoint`."""

    inputs: Mapping[str, Source] | None
    out: str | os.PathLike[str] | None
    conn_id: str
    services: ServiceSources | None


@contextmanager
def serving(wanted: Wanted) -> Iterator[Gateway]:
    """A gateway for the block; what lies in ``out`` goes where it is to be when the block ends well.

    :raises ConfigurationError: when an input or ``out`` cannot be used as it is given.
    """
    inputs, out = wanted.inputs, wanted.out
    if not isinstance(inputs or {}, Mapping) or not (inputs or out):
        raise ConfigurationError(
            'give inputs, a mapping of a bucket\'s name to what is in it, such as {"lab": "s3://lab/2026"}, or out, or both'
        )
    if out is not None and not isinstance(out, str | os.PathLike):
        raise ConfigurationError(
            f"out is {out!r}: write s3://bucket/prefix or a folder; only a step has a catalog that takes it"
        )
    given = _Given(wanted.services or ServiceSources(), wanted.conn_id)
    views = {name: given.view(name, source) for name, source in (inputs or {}).items()}
    target = given.target(out) if out is not None else None
    if target is not None:
        target.clear_dead()
        target.mark()
    with Gateway(views, target.view if target else None) as gateway:
        try:
            yield gateway
            gateway.check()
            if target is not None:
                target.publish(gateway)
        finally:
            if target is not None:
                target.drop(gateway)


class _Given:
    """What was given, as views."""

    def __init__(self, sources: ServiceSources, conn_id: str) -> None:
        self._sources = sources
        self._conn_id = conn_id

    def view(self, name: str, source: Source) -> View:
        if reason := name_fault(name):
            raise ConfigurationError(reason)
        if not isinstance(source, Mapping):
            url = os.fspath(source)
            if url.startswith("s3://"):
                return self._bucket_view(name, self._bucket(url))
            folder = Path(url).expanduser()
            if not folder.is_dir():
                raise ConfigurationError(
                    f"input {name!r}: there is no folder {folder.absolute()}; of a bucket write s3://bucket/prefix"
                )
            return Folder(folder)
        found = endpoint_of({"inputs": {name: {"from": dict(source)}}}).inputs[name]
        if found.bucket:
            return self._bucket_view(name, found if found.conn_id else replace(found, conn_id=self._conn_id))
        if not (found.pipeline or found.digest or found.run not in ("", LATEST)):
            raise ConfigurationError(
                f"input {name!r}: code that is no step has no run of its own: write pipeline, the id of a run, digest or bucket"
                " too"
            )
        return self._files(name, found)

    def _bucket_view(self, name: str, source: DataSource) -> View:
        warnings: list[str] = []
        view = bucket_view(name, source, self._sources, warnings)
        for warning in warnings:
            log.warning("%s", warning)
        return view

    def _files(self, name: str, source: DataSource) -> View:
        opened = open_services(self._sources)
        finder = FileFinder(opened.run_log, opened.catalog)
        entries = finder.find(name, source)
        for warning in finder.warnings:
            log.warning("%s", warning)
        return catalog_place(self._sources).view(entries)

    def target(self, out: str | os.PathLike[str]) -> _Target:
        url = os.fspath(out).rstrip("/")
        if url.startswith("s3://"):
            place = bucket_of(self._bucket(url), self._sources)
            store = open_object_store(url, place.options, session=place.session)
            return _Target(
                url, store, lambda name: bucket_of(self._bucket(f"{url}/{name}"), self._sources).view()
            )
        folder = Path(url).expanduser().absolute()
        folder.mkdir(parents=True, exist_ok=True)
        return _Target(url, open_object_store(str(folder)), lambda name: Folder(folder / name))

    def _bucket(self, url: str) -> DataSource:
        bucket, prefix = split_s3_url(url)
        return DataSource(bucket=bucket, prefix=prefix, conn_id=self._conn_id)


class _Target:
    """Where ``out`` goes, and where it is staged until then."""

    def __init__(self, url: str, store: Any, view_of: Callable[[str], View]) -> None:
        self._url = url
        self._client = ObjectClient(store)
        self._staging = f"{_STAGING}/{uuid4().hex}"
        self._view_of = view_of
        self.view = view_of(self._staging)

    def mark(self) -> None:
        """Say whose staging it is, for :meth:`clear_dead` of others."""
        self._client.run(
            lambda store: store.put(f"{self._staging}.json", json.dumps(this_process()).encode())
        )

    def drop(self, gateway: Gateway) -> None:
        """Remove the staging. Never raises: the next one tries again."""
        try:
            gateway.drop()
            self._client.run(lambda store: store.delete(f"{self._staging}.json"))
            if isinstance(self.view, Folder):
                with suppress(OSError):  # there are others
                    self.view.path.parent.rmdir()
        except Exception as error:  # noqa: BLE001 - what counts has been done, or has failed otherwise
            log.warning("s3: what was staged could not be removed yet: %s", error)

    def clear_dead(self) -> None:
        """Remove what processes of this machine have staged that were killed. Cost: 1 LIST where there is nothing."""
        try:
            found = self._client.run(_marks)
        except Exception as error:
            raise StoreError(f"out: {explain(error, self._url)}") from error
        for path in found:
            try:
                self._clear_if_dead(path)
            except Exception as error:  # noqa: BLE001 - of another task
                log.warning("s3: %s could not be cleared: %s", path, error)

    def _clear_if_dead(self, path: str) -> None:
        owner = json.loads(bytes(self._client.run(lambda store: store.get(path).bytes())))
        if is_gone(owner):
            with Gateway({}, self._view_of(path.removesuffix(".json"))) as gateway:
                gateway.drop()
            self._client.run(lambda store: store.delete(path))
            log.info("s3: what a killed process had staged is removed: %s", path)

    def publish(self, gateway: Gateway) -> None:
        gateway.seal()
        written = [item for item in gateway.outputs() if item.size or not item.name.endswith("/")]
        names = {item.name: item.below for item in written}
        publish(self._client, f"{self._staging}/", "", names)
        log.info("s3: %d files written to %s", len(names), self._url)


def _marks(store: Any) -> list[str]:
    import obstore

    try:
        found = obstore.list_with_delimiter(store, prefix=f"{_STAGING}/")["objects"]
    except FileNotFoundError:
        return []
    return [item["path"] for item in found if item["path"].endswith(".json")]
