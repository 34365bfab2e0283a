"""Where a gateway finds the catalog, and the buckets of connections."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_magnus.errors import ConfigurationError, MagnusError, StoreError
from airflow_magnus.gateway.views import Folder, Origin, Prefix
from airflow_magnus.hooks.services import ServiceSources, catalog_access
from airflow_magnus.pipeline.model import DataSource
from airflow_magnus.runlog.records import CatalogEntry
from airflow_magnus.stores.aws import AwsOptions
from airflow_magnus.stores.globs import matches
from airflow_magnus.stores.objects import explain, open_object_store, split_s3_url
from airflow_magnus.stores.services import catalog_folder, catalog_location

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import boto3

_ALL = ("**",)


@dataclass(frozen=True)
class CatalogPlace:
    """Where the objects of a catalog are.

    :param place: a bucket of a store, or a folder.
    :param prefix: in the bucket, without slashes around it.
    """

    place: Origin | Path
    prefix: str = ""

    def view(self, entries: Mapping[str, CatalogEntry], *, is_recorded: bool = True) -> Prefix | Folder:
        """Files of the catalog as a bucket.

        :param is_recorded: as of :class:`Prefix`.
        """
        keys = {name: entry.catalog_relative_path for name, entry in entries.items()}
        if isinstance(self.place, Path):
            return Folder(self.place, keys, is_recorded=is_recorded)
        digests = {name: entry.data_hash for name, entry in entries.items() if entry.data_hash}
        prefix = f"{self.prefix}/" if self.prefix else ""
        return Prefix(self.place, prefix, keys, digests, is_recorded=is_recorded)


@dataclass(frozen=True)
class Bucket:
    """A bucket of a connection, below a prefix.

    :param url: ``s3://bucket/prefix``.
    :param options: of the connection.
    """

    url: str
    options: AwsOptions
    session: boto3.Session | None = field(default=None, repr=False)

    def view(self, patterns: tuple[str, ...] = _ALL) -> Prefix:
        """What is below the prefix and matches a pattern. Cost: 1 LIST for each 1,000 keys, none without patterns."""
        keys = None if patterns == _ALL else {key: key for key in self.keys(patterns)}
        return Prefix.of(self.url, self.options, self.session, keys=keys)

    def keys(self, patterns: tuple[str, ...] = _ALL) -> Iterator[str]:
        """Keys below the prefix that match a pattern. Cost: 1 LIST for each 1,000 that are looked at.

        :raises StoreError: when the bucket does not answer, or not to these credentials.
        """
        import obstore

        store: Any = open_object_store(self.url, self.options, session=self.session)
        try:
            for page in obstore.list(store, chunk_size=1000):
                yield from (
                    item["path"]
                    for item in page
                    if any(matches(pattern, item["path"]) for pattern in patterns)
                )
        except Exception as error:
            raise StoreError(explain(error, self.url)) from error


def catalog_place(sources: ServiceSources) -> CatalogPlace:
    """Where the catalog of a task is, for a gateway. Asks Airflow for at most one connection.

    :raises ConfigurationError: when it keeps nothing, or no gateway can serve it.
    """
    chosen = catalog_access(sources)
    settings = chosen.settings
    folder = catalog_folder(settings, chosen.folder)
    if folder is not None:
        return CatalogPlace(folder.absolute())
    if settings.type != "s3":
        raise ConfigurationError(
            f"the catalog of type {settings.type!r} cannot be served to a step by s3: use file-system or s3, or give the step"
            " a bucket of a connection as its input, and no out"
        )
    bucket, prefix = split_s3_url(catalog_location(settings))
    return CatalogPlace(
        Origin.of(bucket, AwsOptions.from_config(settings.config), chosen.session), prefix.strip("/")
    )


@contextmanager
def told_of(name: str) -> Iterator[None]:
    """Let errors say which input they are about, as the step calls it."""
    try:
        yield
    except MagnusError as error:
        text = str(error)
        if text.startswith("s3: "):
            raise
        raise type(error)(f"s3: bucket {name!r}: {text}") from error


def bucket_view(name: str, source: DataSource, sources: ServiceSources, warnings: list[str]) -> Prefix:
    """What an input of a bucket is. Cost: 1 LIST at least.

    :param name: what the step calls it.
    :param warnings: gets a sentence when nothing lies there.
    :raises ConfigurationError: as of :func:`bucket_of`.
    :raises StoreError: when the bucket is not there, or does not answer.
    """
    with told_of(name):
        try:
            bucket = bucket_of(source, sources)
            view = bucket.view(source.files)
            is_empty = not view.keys if view.keys is not None else next(bucket.keys(), None) is None
        except ConfigurationError as error:
            if source.conn_id or "no AWS credentials" not in str(error):
                raise
            raise ConfigurationError(
                "there are no credentials for it on this machine, and the catalog is no bucket: write conn_id: beside bucket:, an"
                " Airflow connection of type Amazon Web Services"
            ) from error
    if is_empty:
        what = (
            f"no object below {bucket.url}/ matches"
            if source.files != _ALL
            else f"nothing lies below {bucket.url}/"
        )
        warnings.append(f"s3: bucket {name!r} is empty: {what}")
    return view


def bucket_of(source: DataSource, sources: ServiceSources) -> Bucket:
    """The bucket that a source names, opened by its connection; by what opens the catalog where it names none.

    :raises ConfigurationError: when there is no such connection, or it opens no buckets.
    """
    url = f"s3://{source.bucket}/{source.prefix.strip('/')}".rstrip("/")
    if not source.conn_id:
        chosen = catalog_access(sources)
        if chosen.settings.type != "s3":  # whatever the machine itself has
            return Bucket(url, AwsOptions())
        return Bucket(url, AwsOptions.from_config(chosen.settings.config), chosen.session)
    return Bucket(url, *bucket_access(source.conn_id))


def bucket_access(conn_id: str) -> tuple[AwsOptions, boto3.Session | None]:
    """How an Airflow connection signs in to buckets.

    :raises ConfigurationError: when there is no such connection, or it opens no buckets.
    """
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

    try:
        kind = BaseHook.get_connection(conn_id).conn_type
    except AirflowNotFoundException as error:
        raise ConfigurationError(
            f"conn_id names the connection {conn_id!r}, which is not defined: make it, of type Amazon Web Services or"
            " magnus_catalog, or correct the id"
        ) from error
    if kind == "aws":
        from airflow_magnus.hooks.connections import access_of_aws_connection

        access = access_of_aws_connection(conn_id, {})
        return AwsOptions.from_config(access.extra_config), access.session
    if kind == "magnus_catalog":
        from airflow_magnus.hooks.catalog import CatalogHook

        hook = CatalogHook(conn_id)
        settings = hook.get_settings()
        if settings.type == "s3":
            return AwsOptions.from_config(settings.config), hook.get_session()
    raise ConfigurationError(
        f"connection {conn_id!r} of type {kind!r} opens no bucket: name one of type Amazon Web Services (aws), or a"
        " magnus_catalog of type s3"
    )
