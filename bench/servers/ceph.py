"""Ceph's S3 gateway, as the tests start it: what a real server makes of the same requests."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.client import BUCKET
from bench.running import ROOT
from bench.servers.endpoint import Endpoint


def is_installed() -> bool:
    """Whether ``tests/servers/install.sh`` was run."""
    return all(shutil.which(name) for name in ("radosgw", "ceph-mon", "ceph-osd", "ceph-mgr"))


@contextmanager
def ceph_gateway() -> Iterator[Endpoint]:
    """A cluster in memory, with a bucket, while the block goes on."""
    if str(ROOT / "tests") not in sys.path:
        sys.path.append(str(ROOT / "tests"))
    from servers.ceph import ceph_server

    with (
        tempfile.TemporaryDirectory(prefix="ceph-", dir="/tmp") as folder,
        ceph_server(Path(folder)) as (found, _),
    ):
        client = found.client()
        client.create_bucket(Bucket=BUCKET)
        client.close()
        yield Endpoint(
            "Ceph RGW",
            found.endpoint,
            key=found.access_key,
            secret=found.secret_key,
            config=Path(folder, "ceph.conf"),
        )


def signed_path(endpoint: Endpoint, verb: str, key: str) -> str:
    """The path of a request that needs no further signature."""
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=endpoint.url,
        region_name="us-east-1",
        aws_access_key_id=endpoint.key,
        aws_secret_access_key=endpoint.secret,
        config=Config(s3={"addressing_style": "path"}, signature_version="s3v4"),
    )
    call = {"PUT": "put_object", "GET": "get_object"}[verb]
    url: str = client.generate_presigned_url(call, Params={"Bucket": BUCKET, "Key": key}, ExpiresIn=3600)
    return url.removeprefix(endpoint.url)


def forget_removed(endpoint: Endpoint) -> None:
    """Let the gateway give back the memory of objects that were removed; by itself it does so hours later."""
    if endpoint.config is not None:
        subprocess.run(
            ["radosgw-admin", "-c", str(endpoint.config), "gc", "process", "--include-all"],
            capture_output=True,
            check=False,
            timeout=120,
        )
