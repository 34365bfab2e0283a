"""Buckets of files that the run log names, markers of folders, and other things that stores hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from airflow_magnus.gateway.process import Gateway
from airflow_magnus.gateway.views import Folder, Prefix, View
from gateway.conftest import filled, origin_of
from gateway_stage import Stage, client_of, code_of
from servers.s3 import S3Server


@pytest.fixture(params=["moto", "folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path, moto: S3Server) -> tuple[str, View, View]:
    """A bucket of two files of which one is gone: as the run log has it, and as somebody has chosen them."""
    keys = {"there.txt": "run/a.txt", "gone.txt": "run/gone.txt"}
    if request.param == "folder":
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "a.txt").write_text("alpha")
        return "folder", Folder(tmp_path, keys, is_recorded=True), Folder(tmp_path, keys)
    _, bucket = filled(moto)
    origin = origin_of(moto, bucket)
    return "moto", Prefix(origin, "cat/", keys, is_recorded=True), Prefix(origin, "cat/", keys)


def test_a_recorded_file_that_is_gone_is_missed(place: tuple[str, View, View]) -> None:
    with Gateway({"lab": place[1], "chosen": place[2]}) as gateway:
        client = client_of(gateway)
        assert client.get_object(Bucket="lab", Key="there.txt")["Body"].read() == b"alpha"
        with pytest.raises(ClientError, match=r"'gone\.txt' is in the run log, and its file is gone"):
            client.list_objects_v2(Bucket="lab")
        assert [item["Key"] for item in client.list_objects_v2(Bucket="chosen")["Contents"]] == ["there.txt"]


def test_versions_of_recorded_files_are_refused(moto: S3Server) -> None:
    _, bucket = filled(moto)
    with Gateway({"lab": Prefix(origin_of(moto, bucket), "cat/", {"a": "run/a.txt"})}) as gateway:
        with pytest.raises(ClientError) as error:
            client_of(gateway).get_object(Bucket="lab", Key="a", VersionId="1")
        assert code_of(error) == (501, "NotImplemented")


def test_a_marker_of_the_prefix_is_no_object(moto: S3Server) -> None:
    client, bucket = filled(moto)
    client.put_object(Bucket=bucket, Key="marked/")
    client.put_object(Bucket=bucket, Key="marked/a", Body=b"a")
    with Gateway({"lab": Prefix(origin_of(moto, bucket), "marked/")}) as gateway:
        found = client_of(gateway).list_objects_v2(Bucket="lab")
        assert ([item["Key"] for item in found["Contents"]], found["KeyCount"]) == (["a"], 1)


def test_many_flat_keys_cost_few_requests(moto: S3Server) -> None:
    client, bucket = filled(moto)
    keys = {f"{n}.csv": f"{n}.csv" for n in range(50)}
    for key in keys:
        client.put_object(Bucket=bucket, Key=f"flat/{key}", Body=b"x")
    with Gateway({"lab": Prefix(origin_of(moto, bucket), "flat/", keys)}) as gateway:
        assert client_of(gateway).list_objects_v2(Bucket="lab")["KeyCount"] == 50


def test_checksum_of_a_completion_is_that_of_the_object(stage: Stage, key: str) -> None:
    """As s3transfer sends it for ``upload_file(…, ExtraArgs={"ChecksumCRC32": …})``."""
    client = stage.client
    upload = client.create_multipart_upload(
        Bucket="out", Key=key, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT"
    )
    number = upload["UploadId"]
    part = client.upload_part(Bucket="out", Key=key, UploadId=number, PartNumber=1, Body=b"123456789")
    made = client.complete_multipart_upload(
        Bucket="out", Key=key, UploadId=number, ChecksumCRC32="y/Q5Jg==", ChecksumType="FULL_OBJECT",
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )  # fmt: skip
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert client.get_object(Bucket="out", Key=key)["Body"].read() == b"123456789"


def test_only_the_objects_of_a_removal_reach_the_store(stage: Stage, key: str) -> None:
    """Elements that S3 does not know, and a second key in an object, are not passed on."""
    stage.client.put_object(Bucket="out", Key=key, Body=b"x")
    document = (
        f"<Delete><Object><Key>{key}</Key><Key>../secret.txt</Key></Object>"
        "<X><Object><Key>secret.txt</Key></Object></X></Delete>"
    ).encode()
    status, body, _ = stage.raw("POST", "/out?delete=", body=document)
    assert status == 200, body
    assert re.findall(rb"<Key>([^<]*)</Key>", body) in ([key.encode()], [])
    if stage.real is not None:
        stage.real.head_object(Bucket=stage.bucket, Key="secret.txt")


def test_etag_of_an_input_file_changes_with_the_file(folder_stage: Stage) -> None:
    first = folder_stage.client.head_object(Bucket="lab", Key="a.txt")["ETag"]
    again = folder_stage.client.head_object(Bucket="lab", Key="a.txt")["ETag"]
    assert (first, first.strip('"')[-2:]) == (again, "-1"), "no MD5, and clients see that"
