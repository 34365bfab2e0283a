"""From the bucket ``out`` to entries of the catalog, and what is left of attempts that died."""

from __future__ import annotations

import hashlib
import http.client
import io
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from airflow_magnus.errors import CatalogError
from airflow_magnus.gateway.commit import Place, clear_dead, commit, keep_failed, out_view
from airflow_magnus.gateway.process import Gateway
from airflow_magnus.gateway.views import Folder, Origin
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


def test_nothing_is_written_when_the_command_has_ended(catalog: Catalog) -> None:
    with catalog.gateway("attempt") as gateway:
        client = client_of(gateway)
        client.put_object(Bucket="out", Key="a", Body=b"x")
        upload = client.create_multipart_upload(Bucket="out", Key="late")["UploadId"]
        [entry] = commit(gateway, catalog.client, "somewhere", RUN, "attempt", {})
        for refused in (
            lambda: client.put_object(Bucket="out", Key="a", Body=b"late"),
            lambda: client.delete_object(Bucket="out", Key="a"),
            lambda: client.upload_part(Bucket="out", Key="late", UploadId=upload, PartNumber=1, Body=b"x"),
        ):
            with pytest.raises(ClientError, match="the step's command has ended"):
                refused()
        gateway.drop()
    assert catalog.stored() == {entry.catalog_relative_path}


def test_a_write_that_is_on_its_way_is_waited_for(catalog: Catalog) -> None:
    with catalog.gateway("attempt") as gateway:
        client = client_of(gateway)
        begun = threading.Event()

        def slowly() -> Iterator[bytes]:
            yield b"first"
            begun.set()
            time.sleep(3)
            yield b"second"

        url = client.generate_presigned_url("put_object", Params={"Bucket": "out", "Key": "slow"})
        answers: list[int] = []
        writer = threading.Thread(target=lambda: answers.append(_put_slowly(url, slowly(), 11)))
        writer.start()
        begun.wait(10)
        time.sleep(1)  # what was sent reaches the gateway
        [entry] = commit(gateway, catalog.client, "somewhere", RUN, "attempt", {})
        writer.join()
    assert (answers, entry.size) == ([200], 11)


def _put_slowly(url: str, blocks: Iterator[bytes], length: int) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    with closing(connection):
        connection.request(
            "PUT", f"{parts.path}?{parts.query}", body=blocks, headers={"Content-Length": str(length)}
        )
        return connection.getresponse().status


def test_an_object_that_somebody_has_removed_from_the_staging_fails_the_step(catalog: Catalog) -> None:
    with catalog.gateway("attempt") as gateway:
        client_of(gateway).put_object(Bucket="out", Key="a", Body=b"x")
        with catalog.gateway("attempt") as other:
            other.drop()
        said = "cannot be stored" if isinstance(catalog.place, Path) else "is not there any more"
        with pytest.raises(CatalogError, match=said):
            commit(gateway, catalog.client, "somewhere", RUN, "attempt", {})
    assert catalog.stored() == set()


def test_a_name_is_no_file_and_folder_on_a_disk(catalog: Catalog) -> None:
    with catalog.gateway("attempt") as gateway:
        client = client_of(gateway)
        for key in ("a", "a/b"):
            client.put_object(Bucket="out", Key=key, Body=b"x")
        if isinstance(catalog.place, Path):
            with pytest.raises(CatalogError, match="cannot be a file and a folder"):
                commit(gateway, catalog.client, "somewhere", RUN, "attempt", {})
            keep_failed(gateway, catalog.client, "somewhere", RUN, "attempt")
            kept = {path.rpartition("/")[2] for path in catalog.stored()}
            assert kept == {"a", "1~a%2Fb"}
        else:
            entries = commit(gateway, catalog.client, "somewhere", RUN, "attempt", {})
            assert [entry.name for entry in entries] == ["a", "a/b"]


def test_a_full_disk_is_an_answer(tmp_path: Path) -> None:
    """What is cut short would else be taken for whole."""
    with Gateway({}, Folder(tmp_path / "out")) as gateway:
        assert gateway._process is not None
        resource.prlimit(gateway._process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
        with pytest.raises(ClientError) as error:
            client_of(gateway).put_object(Bucket="out", Key="a", Body=bytes(300_000))
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
        assert gateway.outputs() == []
