"""A writable bucket over files that stay as they are: both are seen as one, and only the upper one changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_magnus.gateway.process import Gateway, GatewayError
from airflow_magnus.gateway.views import Folder, Overlay, Prefix
from gateway.conftest import views_of
from gateway_stage import OBJECTS, Stage, client_of, code_of

BELOW = {
    "a.txt": "a.txt",
    "dir/b.txt": "dir/b.txt",
    "dir/sub/c.bin": "dir/sub/c.bin",
    "gone.txt": "not-there",
}
PART = 5 << 20


@pytest.fixture(params=["moto", "folder", pytest.param("ceph", marks=pytest.mark.external)])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """A gateway whose bucket ``out`` lies over four files, of which one is gone."""
    kind = str(request.param)
    inputs, out, real, bucket = views_of(kind, request, tmp_path)
    lab = inputs["lab"]
    if isinstance(lab, Folder):
        below: Prefix | Folder = Folder(lab.path, BELOW)
    else:
        below = Prefix(lab.origin, lab.prefix, BELOW, {"a.txt": "0" * 64})
    with Gateway({"lab": lab}, Overlay(out, below)) as gateway:
        yield Stage(gateway, client_of(gateway), real, bucket, kind)


def keys(client: Any, **options: Any) -> list[str]:
    return [item["Key"] for item in client.list_objects_v2(Bucket="out", **options).get("Contents", [])]


def body(client: Any, key: str, **options: Any) -> bytes:
    data: bytes = client.get_object(Bucket="out", Key=key, **options)["Body"].read()
    return data


def test_both_layers_are_one_list(stage: Stage) -> None:
    client = stage.client
    client.put_object(Bucket="out", Key="dir/a.new", Body=b"new")
    client.put_object(Bucket="out", Key="a.txt", Body=b"alpha again")
    assert keys(client) == ["a.txt", "dir/a.new", "dir/b.txt", "dir/sub/c.bin"]
    folder = client.list_objects_v2(Bucket="out", Prefix="dir/", Delimiter="/")
    assert [item["Key"] for item in folder["Contents"]] == ["dir/a.new", "dir/b.txt"]
    assert folder["CommonPrefixes"] == [{"Prefix": "dir/sub/"}]
    first = client.list_objects_v2(Bucket="out", MaxKeys=3)
    rest = keys(client, ContinuationToken=first["NextContinuationToken"])
    assert [item["Key"] for item in first["Contents"]] + rest == keys(client)
    sizes = {item["Key"]: item["Size"] for item in client.list_objects_v2(Bucket="out")["Contents"]}
    assert sizes["a.txt"] == len(b"alpha again")


def test_what_is_written_hides_what_lies_below_and_leaves_it(stage: Stage) -> None:
    client = stage.client
    assert body(client, "a.txt") == b"alpha"
    client.put_object(Bucket="out", Key="a.txt", Body=b"other")
    assert body(client, "a.txt") == b"other"
    assert client.head_object(Bucket="out", Key="a.txt")["ContentLength"] == 5
    assert client.get_object(Bucket="lab", Key="a.txt")["Body"].read() == b"alpha"
    assert [one.name for one in stage.gateway.outputs()] == ["a.txt"]


@pytest.mark.parametrize("is_many", [False, True])
def test_what_is_removed_is_hidden_and_comes_again_when_it_is_written(stage: Stage, is_many: bool) -> None:
    client = stage.client
    if is_many:
        gone = {"Objects": [{"Key": "a.txt"}, {"Key": "never"}]}
        assert "Errors" not in client.delete_objects(Bucket="out", Delete=gone)
    else:
        client.delete_object(Bucket="out", Key="a.txt")
    assert keys(client) == ["dir/b.txt", "dir/sub/c.bin"]
    with pytest.raises(ClientError) as error:
        body(client, "a.txt")
    assert code_of(error) == (404, "NoSuchKey")
    assert client.get_object(Bucket="lab", Key="a.txt")["Body"].read() == b"alpha"
    client.put_object(Bucket="out", Key="a.txt", Body=b"again")
    assert body(client, "a.txt") == b"again"
    client.delete_object(Bucket="out", Key="a.txt")  # what lay below does not come back
    assert keys(client) == ["dir/b.txt", "dir/sub/c.bin"]


def test_copies_take_what_is_seen(stage: Stage) -> None:
    client = stage.client
    client.copy_object(Bucket="out", Key="copy", CopySource={"Bucket": "out", "Key": "dir/b.txt"})
    assert body(client, "copy") == OBJECTS["dir/b.txt"]
    client.put_object(Bucket="out", Key="dir/b.txt", Body=b"new")
    client.copy_object(Bucket="out", Key="copy", CopySource={"Bucket": "out", "Key": "dir/b.txt"})
    assert body(client, "copy") == b"new"
    client.copy_object(
        Bucket="out", Key="a.txt", CopySource={"Bucket": "out", "Key": "a.txt"},
        Metadata={"mode": "33188"}, MetadataDirective="REPLACE",
    )  # fmt: skip
    assert client.head_object(Bucket="out", Key="a.txt")["Metadata"] == {"mode": "33188"}
    assert {one.name for one in stage.gateway.outputs()} == {"a.txt", "copy", "dir/b.txt"}


def test_parts_take_ranges_of_what_lies_below(stage: Stage) -> None:
    client = stage.client
    upload = client.create_multipart_upload(Bucket="out", Key="dir/sub/c.bin")["UploadId"]
    names = {"Bucket": "out", "Key": "dir/sub/c.bin", "UploadId": upload}
    one = client.upload_part(**names, PartNumber=1, Body=b"x" * PART)["ETag"]
    source = {"Bucket": "out", "Key": "dir/sub/c.bin"}
    two = client.upload_part_copy(**names, PartNumber=2, CopySource=source, CopySourceRange="bytes=1-255")
    parts = [
        {"PartNumber": 1, "ETag": one},
        {"PartNumber": 2, "ETag": two["CopyPartResult"]["ETag"]},
    ]
    assert body(client, "dir/sub/c.bin", Range="bytes=0-2") == b"\x00\x01\x02"
    client.complete_multipart_upload(**names, MultipartUpload={"Parts": parts})
    assert body(client, "dir/sub/c.bin", Range=f"bytes={PART - 1}-") == b"x" + bytes(range(1, 256))


def test_conditions_look_at_both_layers(stage: Stage) -> None:
    client = stage.client
    with pytest.raises(ClientError) as error:
        client.put_object(Bucket="out", Key="a.txt", Body=b"x", IfNoneMatch="*")
    assert code_of(error) == (412, "PreconditionFailed")
    with pytest.raises(ClientError) as error:
        client.put_object(Bucket="out", Key="a.txt", Body=b"x", IfMatch='"0"')
    assert code_of(error) == (501, "NotImplemented")
    client.put_object(Bucket="out", Key="new", Body=b"x", IfNoneMatch="*")
    assert body(client, "a.txt") == b"alpha"


def test_the_ledger_tells_what_was_there_before_from_what_was_written(stage: Stage) -> None:
    client = stage.client
    body(client, "a.txt")
    client.put_object(Bucket="out", Key="new", Body=b"new")
    body(client, "new")
    passed = {(one.action, one.bucket, one.key) for one in stage.gateway.ledger()}
    assert passed == {("read", "catalog", "a.txt"), ("write", "out", "new"), ("read", "out", "new")}


def test_all_that_is_seen_is_told(stage: Stage) -> None:
    stage.client.put_object(Bucket="out", Key="new", Body=b"new")
    stage.client.delete_object(Bucket="out", Key="dir/b.txt")
    shown = {one.name: (one.size, one.sha256) for one in stage.gateway.shown()}
    assert set(shown) == {"a.txt", "dir/sub/c.bin", "new"}
    assert shown["a.txt"] == (5, "" if stage.kind == "folder" else "0" * 64)
    stage.gateway.drop()
    assert [one.name for one in stage.gateway.outputs()] == []
    assert "a.txt" in {one.name for one in stage.gateway.shown()}


def test_copies_of_what_lies_below_can_be_refused(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.txt").write_bytes(b"alpha")
    below = Folder(tmp_path / "below", {"a.txt": "a.txt"})
    with Gateway({}, Overlay(Folder(tmp_path / "out"), below, has_copies=False)) as gateway:
        client = client_of(gateway)
        with pytest.raises(ClientError) as error:
            client.copy_object(Bucket="out", Key="b.txt", CopySource={"Bucket": "out", "Key": "a.txt"})
        assert code_of(error) == (403, "AccessDenied")
        client.put_object(Bucket="out", Key="a.txt", Body=b"new")
        client.copy_object(Bucket="out", Key="b.txt", CopySource={"Bucket": "out", "Key": "a.txt"})
        assert body(client, "b.txt") == b"new"
        with pytest.raises(GatewayError, match=r"'a\.txt' is a file of the catalog and was to be renamed"):
            gateway.shown()
