"""From the bucket ``out`` to entries of the catalog, and what is left of attempts that died."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from airflow_magnus.errors import CatalogError
from airflow_magnus.gateway.commit import Place, clear_dead, commit, out_view
from airflow_magnus.gateway.process import Gateway
from airflow_magnus.gateway.views import Origin
from airflow_magnus.stores.client import ObjectClient
from airflow_magnus.stores.objects import open_object_store
from airflow_magnus.stores.staging import mark, marked, staging_of, unmark
from gateway_stage import client_of
from servers.s3 import S3Server

RUN = "run-1"
LARGE = bytes(range(256)) * 30_000


@dataclass
class Catalog:
    """A catalog of some kind."""

    client: ObjectClient
    place: Place
    prefix: str

    def gateway(self, attempt: str) -> Gateway:
        return Gateway({}, out_view(self.place, self.prefix, RUN, attempt))

    def stored(self, prefix: str = RUN) -> set[str]:
        return {meta["path"] for batch in obstore.list(self.client.store, prefix=prefix) for meta in batch}


@pytest.fixture(params=["moto", "folder", pytest.param("ceph", marks=pytest.mark.external)], name="catalog")
def _catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    if request.param == "folder":
        yield Catalog(ObjectClient(open_object_store(str(tmp_path / "catalog"))), tmp_path / "catalog", "")
        return
    server: S3Server = request.getfixturevalue(request.param)
    bucket = server.make_bucket()
    store = open_object_store(f"s3://{bucket}/some/catalog", server.options)
    yield Catalog(ObjectClient(store), Origin.of(bucket, server.options), "some/catalog")


def _write(gateway: Gateway) -> dict[str, bytes]:
    client = client_of(gateway)
    written = {"a.txt": b"alpha", "dir/b c+ä.txt": b"beta", "empty": b""}
    for key, data in written.items():
        client.put_object(Bucket="out", Key=key, Body=data)
    client.upload_fileobj(
        io.BytesIO(LARGE), "out", "dir/large", Config=TransferConfig(multipart_threshold=5 * 1024 * 1024)
    )
    client.put_object(Bucket="out", Key="gone", Body=b"x")
    client.delete_object(Bucket="out", Key="gone")
    client.put_object(Bucket="out", Key="marker/", Body=b"")
    return {**written, "dir/large": LARGE}


def test_what_was_written_becomes_entries(catalog: Catalog) -> None:
    with catalog.gateway("attempt") as gateway:
        written = _write(gateway)
        entries = commit(gateway, catalog.client, "somewhere", RUN, "attempt", {})
        gateway.drop()
    assert {entry.name: (entry.data_hash, entry.size) for entry in entries} == {
        name: (hashlib.sha256(data).hexdigest(), len(data)) for name, data in written.items()
    }
    for entry in entries:
        assert (
            bytes(obstore.get(catalog.client.store, entry.catalog_relative_path).bytes())
            == written[entry.name]
        )
    assert catalog.stored() == {entry.catalog_relative_path for entry in entries}


def test_what_is_committed_already_is_not_copied(catalog: Catalog) -> None:
    with catalog.gateway("first") as gateway:
        client_of(gateway).put_object(Bucket="out", Key="a", Body=b"same")
        [before] = commit(gateway, catalog.client, "somewhere", RUN, "first", {})
    with catalog.gateway("second") as gateway:
        client_of(gateway).put_object(Bucket="out", Key="a", Body=b"same")
        client_of(gateway).put_object(Bucket="out", Key="b", Body=b"new")
        entries = commit(gateway, catalog.client, "somewhere", RUN, "second", {"a": before})
    assert [entry.catalog_relative_path for entry in entries] == [
        before.catalog_relative_path,
        f"{RUN}/.versions/second/b",
    ]


@pytest.mark.parametrize("key", ["a//b", "/a", ".versions/x", "new\nline"])
def test_a_key_that_is_no_name_fails_the_step_and_leaves_nothing(catalog: Catalog, key: str) -> None:
    with catalog.gateway("attempt") as gateway:
        client: Any = client_of(gateway)
        client.put_object(Bucket="out", Key="good", Body=b"x")
        with suppress(ClientError):
            client.put_object(Bucket="out", Key=key, Body=b"x")
        if key not in [output.name for output in gateway.outputs()]:
            pytest.skip("moto itself changes or refuses such a key")
        with pytest.raises(CatalogError):
            commit(gateway, catalog.client, "somewhere", RUN, "attempt", {})
        gateway.drop()
        assert gateway.outputs() == []
    assert catalog.stored() == set()


def test_the_staging_of_a_failed_attempt_is_dropped(catalog: Catalog) -> None:
    with catalog.gateway("attempt") as gateway:
        _write(gateway)
        client = client_of(gateway)
        upload = client.create_multipart_upload(Bucket="out", Key="half")["UploadId"]
        client.upload_part(Bucket="out", Key="half", UploadId=upload, PartNumber=1, Body=b"x")
        gateway.drop()
        assert client.list_objects_v2(Bucket="out")["KeyCount"] == 0
        assert not client.list_multipart_uploads(Bucket="out").get("Uploads")
    assert catalog.stored() == set()


def test_the_staging_of_dead_attempts_is_cleared(catalog: Catalog) -> None:
    for attempt in ("dead", "alive"):
        with catalog.gateway(attempt) as gateway:
            client_of(gateway).put_object(Bucket="out", Key="a", Body=b"x")
        mark(catalog.client, RUN, attempt)
    assert marked(catalog.client) == [(RUN, "alive"), (RUN, "dead")]
    clear_dead(catalog.client, catalog.place, catalog.prefix, [(RUN, "dead")])
    assert marked(catalog.client) == [(RUN, "alive")]
    unmark(catalog.client, RUN, "alive")
    unmark(catalog.client, RUN, "alive")
    assert all(key.startswith(staging_of(RUN, "alive")) for key in catalog.stored())
