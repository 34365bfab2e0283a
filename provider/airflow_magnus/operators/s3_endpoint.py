"""An S3 endpoint, or folders, around any code: for tasks that are no steps of a pipeline."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from airflow_magnus.gateway.ledger import Passed
from airflow_magnus.gateway.process import Gateway
from airflow_magnus.hooks.services import ServiceSources
from airflow_magnus.operators.around_code import Source, Wanted, serving
from airflow_magnus.operators.endpoint_environment import in_use
from airflow_magnus.runlog.records import WRITTEN


class S3Endpoint:
    """What code inside the block may ask.

    :ivar endpoint: ``http://127.0.0.1:port``.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.endpoint = gateway.endpoint

    def passed(self) -> list[Passed]:
        """What was read and written until now, one entry for each object."""
        return self._gateway.ledger()


class MountedBuckets:
    """What code inside the block may ask.

    :ivar folder: the buckets lie below it, each under its name.
    """

    def __init__(self, gateway: Gateway, folder: Path) -> None:
        self._gateway = gateway
        self.folder = folder

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def passed(self) -> list[Passed]:
        """What was read and written until now, one entry for each object."""
        return self._gateway.ledger()


@contextmanager
def s3_endpoint(
    inputs: Mapping[str, Source] | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    conn_id: str = "",
    services: ServiceSources | None = None,
) -> Iterator[S3Endpoint]:
    """Run the block with an S3 endpoint: its code and the programs that it starts find the inputs as read-only buckets.

    The environment has what the clients of S3 look for (``AWS_ENDPOINT_URL_S3``, keys, region) and ``S3_ENDPOINT``. A
    step of a pipeline has ``s3`` instead, whose ``out`` goes to the catalog.

    :param inputs: name of a bucket to what is in it.
    :param out: ``s3://bucket/prefix`` or a folder. The bucket ``out`` is empty at first; what lies in it goes there when the
        block ends well, over files of the same names, and nowhere when it raises. None: there is no such bucket.
    :param conn_id: Airflow connection that opens the buckets; "": what opens the catalog.
    :param services: where run log and catalog are, for inputs that are files of runs; default: the default connections.
    :raises ConfigurationError: when an input or ``out`` cannot be used as it is given.
    """
    with serving(Wanted(inputs, out, conn_id, services)) as gateway, in_use(gateway):
        yield S3Endpoint(gateway)


@contextmanager
def mounted_buckets(
    folder: str | os.PathLike[str],
    inputs: Mapping[str, Source] | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    conn_id: str = "",
    services: ServiceSources | None = None,
    engine: str = "rclone",
) -> Iterator[MountedBuckets]:
    """Run the block with buckets as folders: ``<folder>/<name>`` for each input, read-only, and ``<folder>/out``.

    What was written is in the store when the block has ended well. A step of a pipeline has ``mount`` instead.

    Parameters: as of :func:`s3_endpoint`.

    :param folder: made where it is not; those of the buckets are empty before.
    :param engine: ``rclone`` or ``s3fs``.
    :raises MountError: when nothing can be mounted here, or what was written is not saved.
    """
    from airflow_magnus.mount.janitor import clear_stale
    from airflow_magnus.mount.mount import Mount
    from airflow_magnus.mount.places import Access

    clear_stale()
    access = dict.fromkeys(inputs or {}, Access.READ_ONLY)
    if out is not None:
        access[WRITTEN] = Access.WRITABLE
    place = Path(folder).absolute()
    with serving(Wanted(inputs, out, conn_id, services)) as gateway, Mount(gateway, place, access, engine):
        yield MountedBuckets(gateway, place)
