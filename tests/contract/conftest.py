"""The back ends that every contract is tried on, by fixture parameter. Those of real servers are marked ``external``."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_magnus.stores.database import DatabaseParts
from airflow_magnus.stores.objects import open_object_store
from airflow_magnus.stores.parts import ObjectParts, PartStore
from contract_backends import CountedParts, ObjectBackend
from servers.fixtures import ceph, postgres, rclone
from servers.s3 import S3Server

__all__ = ["ceph", "postgres", "rclone"]

_EXTERNAL = pytest.mark.external
_S3 = ["moto", pytest.param("ceph", marks=_EXTERNAL), pytest.param("rclone", marks=_EXTERNAL)]
OBJECT_STORES = ["memory", "folder", *_S3]
PART_STORES = [*OBJECT_STORES, "sqlite", pytest.param("postgres", marks=_EXTERNAL)]


@pytest.fixture(scope="session")
def moto(moto_server: str) -> S3Server:
    """The server in this process, in the shape of the others."""
    return S3Server(moto_server, "test-access", "test-secret")


@pytest.fixture(params=OBJECT_STORES)
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectBackend:
    """An empty object store of each kind."""
    return _objects(request, str(request.param), tmp_path)


@pytest.fixture(params=["memory", "folder", "moto", pytest.param("ceph", marks=_EXTERNAL)])
def conditional_objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectBackend:
    """An empty object store of each kind that honours create-only writes."""
    return _objects(request, str(request.param), tmp_path)


@pytest.fixture(params=PART_STORES)
def parts(request: pytest.FixtureRequest, tmp_path: Path) -> PartStore:
    """An empty part store of each kind, told what its server can do, as a run's tasks are."""
    return _parts(request, str(request.param), tmp_path)


def _objects(request: pytest.FixtureRequest, name: str, tmp_path: Path) -> ObjectBackend:
    if name == "memory":
        return ObjectBackend(name, open_object_store("memory://"))
    if name == "folder":
        return ObjectBackend(name, open_object_store(str(tmp_path / "store")))
    server: S3Server = request.getfixturevalue(name)
    bucket = server.make_bucket()
    return ObjectBackend(
        name,
        server.open(bucket, "some/prefix"),
        is_known=False,
        is_conditional=server.is_conditional,
        client=server.client(),
        bucket=bucket,
    )


def _parts(request: pytest.FixtureRequest, name: str, tmp_path: Path) -> PartStore:
    if name == "sqlite":
        return DatabaseParts(f"sqlite:///{tmp_path}/runs.db")
    if name == "postgres":
        return DatabaseParts(request.getfixturevalue("postgres").make_database())
    backend = _objects(request, name, tmp_path)
    opened = ObjectParts(backend.store, name, is_known=backend.is_known)
    opened.is_conditional = opened.find_out_conditional()
    opened.settling = 0.02  # nobody else bids; test_many_writers.py is about those who do
    return opened


@pytest.fixture
def counted() -> CountedParts:
    """A part store in memory that counts its calls."""
    return CountedParts(ObjectParts(open_object_store("memory://"), "memory"))
