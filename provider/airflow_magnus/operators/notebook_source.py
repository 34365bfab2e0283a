"""Notebooks that are no files of the working folder: objects of a bucket, or files of the run's catalog."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow_magnus.errors import StepFailedError
from airflow_magnus.pipeline.model import DataSource
from airflow_magnus.pipeline.notebooks import CATALOG, is_remote
from airflow_magnus.runlog.records import ObjectAccess
from airflow_magnus.stores.objects import explain, split_s3_url

if TYPE_CHECKING:
    from airflow_magnus.hooks.services import ServiceSources
    from airflow_magnus.operators.session import StepSession


def fetched(
    command: str, conn_id: str, session: StepSession, sources: ServiceSources, folder: Path
) -> tuple[Path, str]:
    """The notebook that a command names as a file below ``folder``, and its sha256 hex.

    The run log has it as something that the step has read.

    :param command: one for which :func:`is_remote` holds.
    :param conn_id: Airflow connection that opens the bucket; "": what opens the catalog does.
    :raises StepFailedError: when there is no such notebook.
    :raises MagnusError: when the store cannot be read.
    """
    assert is_remote(command)
    if command.startswith(CATALOG):
        return _from_catalog(command.removeprefix(CATALOG), session, folder)
    return _from_bucket(command, conn_id, session, sources, folder)


def local_name(command: str) -> str:
    """What the executed copy of a notebook is named after: its path, without the place where it is kept."""
    return PurePosixPath(command).name if is_remote(command) else command


def _from_catalog(name: str, session: StepSession, folder: Path) -> tuple[Path, str]:
    entry = session.entries.get(name)
    if entry is None:
        notebooks = sorted(known for known in session.entries if known.endswith(".ipynb"))
        raise StepFailedError(
            f"no step before this one has put the notebook {name!r} into the catalog; notebooks there:"
            f" {', '.join(notebooks) or 'none'}"
        )
    moved = session.services.catalog.get({name: entry}, folder, ["**"])
    session.got += moved.entries
    return folder / name, entry.data_hash


def _from_bucket(
    url: str, conn_id: str, session: StepSession, sources: ServiceSources, folder: Path
) -> tuple[Path, str]:
    from airflow_magnus.hooks.buckets import bucket_of
    from airflow_magnus.stores.objects import open_object_store

    name, key = split_s3_url(url)
    prefix, _, last = key.rpartition("/")
    bucket = bucket_of(DataSource(bucket=name, prefix=prefix, conn_id=conn_id), sources)
    store: Any = open_object_store(bucket.url, bucket.options, session=bucket.session)
    try:
        result = store.get(last)
        data, etag = bytes(result.bytes()), str(result.meta.get("e_tag") or "").strip('"')
    except FileNotFoundError as error:
        raise StepFailedError(
            f"there is no notebook {url!r}: correct the command, or put it there"
        ) from error
    except Exception as error:
        hint = "" if conn_id else "; command_config: {conn_id: …} names the Airflow connection that opens it"
        raise StepFailedError(f"the notebook cannot be read: {explain(error, url)}{hint}") from error
    digest = hashlib.sha256(data).hexdigest()
    path = folder / last
    path.write_bytes(data)
    access = ObjectAccess(
        bucket=name, key=key, action="read", source=url, size=len(data), etag=etag, data_hash=digest
    )
    session.read.append(access)
    return path, digest
