"""An S3 server in this process (moto: S3, STS, Secrets Manager), and buckets in it."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator

import pytest

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """The server's endpoint URL. It checks no signatures; any keys do."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def make_bucket(moto_server: str) -> Callable[..., str]:
    """Make an empty bucket of a name that no other test has; returns its name."""

    def make(name: str = "") -> str:
        bucket = name or f"bucket-{next(_numbers)}"
        s3_client(moto_server).create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        return bucket

    return make


def s3_client(endpoint_url: str, service: str = "s3"):  # type: ignore[no-untyped-def]
    """A boto3 client of the server, beside the code under test."""
    import boto3

    return boto3.client(
        service,
        endpoint_url=endpoint_url,
        region_name="eu-west-1",
        aws_access_key_id="test-access",
        aws_secret_access_key="test-secret",
    )
