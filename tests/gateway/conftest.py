"""Gateways over each kind of store."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.gateway.process import Gateway
from airflow_magnus.gateway.views import Folder, Origin, Prefix
from airflow_magnus.stores.aws import AwsOptions
from gateway_stage import CHOSEN, OBJECTS, STAGING, Stage, client_of
from servers.s3 import S3Server

_numbers = count(1)


@pytest.fixture(scope="session")
def moto(moto_server: str) -> S3Server:
    """The server in this process, in the shape of the others."""
    return S3Server(moto_server, "test-access", "test-secret")


def filled(server: S3Server) -> tuple[Any, str]:
    """A client and a bucket of the real store, with known objects below ``cat/run/`` and others beside."""
    bucket, client = server.make_bucket(), server.client()
    for key, data in OBJECTS.items():
        client.put_object(Bucket=bucket, Key=f"cat/run/{key}", Body=data)
    for key in ("cat/other/secret.txt", "cat/run-2/secret.txt", "secret.txt"):
        client.put_object(Bucket=bucket, Key=key, Body=b"secret")
    return client, bucket


def origin_of(server: S3Server, bucket: str) -> Origin:
    """The origin of a bucket of a server."""
    options = AwsOptions(
        access_key=server.access_key,
        secret_key=server.secret_key,
        region=server.region,
        endpoint_url=server.endpoint,
    )
    return Origin.of(bucket, options)


def views_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> tuple[dict[str, Any], Any, Any, str]:
    """Inputs and output of a gateway over one kind of store, a client of that and its bucket."""
    if kind == "folder":
        for key, data in OBJECTS.items():
            path = folder / "catalog" / "run" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (folder / "catalog" / "secret.txt").write_bytes(b"secret")
        (folder / "catalog" / "run" / "link").symlink_to(folder / "catalog" / "secret.txt")
        run = folder / "catalog" / "run"
        inputs = {"lab": Folder(run), "chosen": Folder(run, CHOSEN)}
        return inputs, Folder(folder / "staging"), None, ""
    server: S3Server = request.getfixturevalue(kind)
    client, bucket = filled(server)
    origin = origin_of(server, bucket)
    chosen = {name: f"run/{key}" for name, key in CHOSEN.items()}
    inputs = {"lab": Prefix(origin, "cat/run/"), "chosen": Prefix(origin, "cat/", chosen)}
    return inputs, Prefix(origin, f"{STAGING}{next(_numbers)}/"), client, bucket


@pytest.fixture(
    scope="module", params=["moto", "folder", pytest.param("ceph", marks=pytest.mark.external)], name="stage"
)
def _stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    kind = str(request.param)
    inputs, out, real, bucket = views_of(kind, request, tmp_path_factory.mktemp(kind))
    with Gateway(inputs, out) as gateway:
        yield Stage(gateway, client_of(gateway), real, bucket, kind)


@pytest.fixture
def folder_stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A gateway over a folder, for one test alone."""
    inputs, out, _, _ = views_of("folder", request, tmp_path)
    with Gateway(inputs, out) as gateway:
        yield Stage(gateway, client_of(gateway), None, "", "folder")


@pytest.fixture
def key() -> str:
    """A key that no other test has."""
    return f"test-{next(_numbers)}/object.bin"
