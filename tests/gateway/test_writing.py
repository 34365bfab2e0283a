"""What a step may do with its bucket ``out``."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import urllib.request
import zlib
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from gateway_stage import OBJECTS, STAGING, Stage, code_of

PART = 5 * 1024 * 1024


def _read(stage: Stage, key: str) -> bytes:
    return stage.client.get_object(Bucket="out", Key=key)["Body"].read()


@pytest.mark.parametrize("size", [0, 1, 4096, 262_144, 262_145, 3_000_000])
def test_what_is_written_is_read_again(stage: Stage, key: str, size: int) -> None:
    data = os.urandom(size)
    etag = stage.client.put_object(Bucket="out", Key=key, Body=data)["ETag"]
    assert etag == f'"{hashlib.md5(data).hexdigest()}"'
    assert _read(stage, key) == data
    assert key in [
        item["Key"] for item in stage.client.list_objects_v2(Bucket="out", Prefix="test-")["Contents"]
    ]


@pytest.mark.parametrize(
    "name", ["ä ö", "a+b", "100%", "a&b=c?d", "quote'\"", "x//y", " lead", "a\\b", "<&>", "%41"]
)
def test_any_key_is_kept_as_it_is(stage: Stage, key: str, name: str) -> None:
    if stage.kind == "moto" and "//" in name:
        pytest.skip("moto itself folds slashes")
    stage.client.put_object(Bucket="out", Key=f"{key}/{name}", Body=b"x")
    assert _read(stage, f"{key}/{name}") == b"x"
    listed = stage.client.list_objects_v2(Bucket="out", Prefix=key)["Contents"]
    assert [item["Key"] for item in listed] == [f"{key}/{name}"]


def test_headers_and_metadata_stay(stage: Stage, key: str) -> None:
    kept = {
        "ContentType": "text/csv",
        "CacheControl": "max-age=5",
        "ContentDisposition": "attachment",
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "Metadata": {"colour": "blue", "two-words": "a b"},
    }
    stage.client.put_object(Bucket="out", Key=key, Body=b"x", **kept)
    found = stage.client.head_object(Bucket="out", Key=key)
    assert {name: found.get(name) for name in kept} == kept


def test_a_write_takes_the_place_of_the_one_before(stage: Stage, key: str) -> None:
    for data in (b"one", b"two"):
        stage.client.put_object(Bucket="out", Key=key, Body=data)
    assert _read(stage, key) == b"two"


def test_a_write_that_must_be_the_first_is_refused_as_second(stage: Stage, key: str) -> None:
    stage.client.put_object(Bucket="out", Key=key, Body=b"one", IfNoneMatch="*")
    with pytest.raises(ClientError) as error:
        stage.client.put_object(Bucket="out", Key=key, Body=b"two", IfNoneMatch="*")
    assert code_of(error) == (412, "PreconditionFailed")
    assert _read(stage, key) == b"one"


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_checksums_are_verified_and_kept(stage: Stage, key: str, algorithm: str) -> None:
    data = os.urandom(100_000)
    stage.client.put_object(Bucket="out", Key=key, Body=data, ChecksumAlgorithm=algorithm)
    assert _read(stage, key) == data


def test_a_wrong_checksum_is_refused(stage: Stage, key: str) -> None:
    wrong = base64.b64encode(zlib.crc32(b"other").to_bytes(4, "big")).decode()
    with pytest.raises(ClientError) as error:
        stage.client.put_object(Bucket="out", Key=key, Body=b"data", ChecksumCRC32=wrong)
    assert code_of(error) == (400, "BadDigest")
    with pytest.raises(ClientError):
        stage.client.head_object(Bucket="out", Key=key)


@pytest.mark.parametrize("size", [4, 400_000])
def test_a_wrong_md5_is_refused(stage: Stage, key: str, size: int) -> None:
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    with pytest.raises(ClientError) as error:
        stage.client.put_object(Bucket="out", Key=key, Body=bytes(size), ContentMD5=wrong)
    assert code_of(error) == (400, "BadDigest")
    with pytest.raises(ClientError):
        stage.client.head_object(Bucket="out", Key=key)


def test_a_presigned_url_writes(stage: Stage, key: str) -> None:
    url = stage.client.generate_presigned_url("put_object", Params={"Bucket": "out", "Key": key})
    headers = {"Content-Type": "text/plain"}  # moto takes urllib's own for a form
    with urllib.request.urlopen(urllib.request.Request(url, b"by url", headers, method="PUT")) as answer:
        assert answer.status == 200
    assert _read(stage, key) == b"by url"


def test_parts_become_one_object(stage: Stage, key: str) -> None:
    parts = [os.urandom(PART), os.urandom(1000)]
    upload = stage.client.create_multipart_upload(
        Bucket="out", Key=key, Metadata={"a": "b"}, ContentType="text/x"
    )
    common = {"Bucket": "out", "Key": key, "UploadId": upload["UploadId"]}
    assert (upload["Bucket"], upload["Key"]) == ("out", key)
    sent = [
        {
            "PartNumber": number,
            "ETag": stage.client.upload_part(**common, PartNumber=number, Body=data)["ETag"],
        }
        for number, data in enumerate(parts, 1)
    ]
    listed = stage.client.list_parts(**common)
    assert [(part["PartNumber"], part["Size"], part["ETag"]) for part in listed["Parts"]] == [
        (number, len(data), sent[number - 1]["ETag"]) for number, data in enumerate(parts, 1)
    ]
    uploads = stage.client.list_multipart_uploads(Bucket="out")["Uploads"]
    assert (key, upload["UploadId"]) in [(item["Key"], item["UploadId"]) for item in uploads]
    done = stage.client.complete_multipart_upload(**common, MultipartUpload={"Parts": sent})
    assert (done["Bucket"], done["Key"]) == ("out", key)
    digests = b"".join(hashlib.md5(data).digest() for data in parts)
    etag = stage.client.head_object(Bucket="out", Key=key)["ETag"]  # Ceph's answer to the completion has none
    assert etag == f'"{hashlib.md5(digests).hexdigest()}-2"'
    assert _read(stage, key) == b"".join(parts)
    head = stage.client.head_object(Bucket="out", Key=key)
    assert (head["Metadata"], head["ContentType"]) == ({"a": "b"}, "text/x")
    assert not [
        item
        for item in stage.client.list_multipart_uploads(Bucket="out").get("Uploads", [])
        if item["Key"] == key
    ]


def test_an_upload_that_is_given_up_leaves_nothing(stage: Stage, key: str) -> None:
    upload = stage.client.create_multipart_upload(Bucket="out", Key=key)["UploadId"]
    stage.client.upload_part(Bucket="out", Key=key, UploadId=upload, PartNumber=1, Body=b"x")
    stage.client.abort_multipart_upload(Bucket="out", Key=key, UploadId=upload)
    with pytest.raises(ClientError) as error:
        stage.client.list_parts(Bucket="out", Key=key, UploadId=upload)
    assert code_of(error) in ((404, "NoSuchUpload"), (404, "NoSuchKey"))  # the latter is Ceph's
    with pytest.raises(ClientError):
        stage.client.head_object(Bucket="out", Key=key)


def test_an_upload_with_a_wrong_part_is_refused(stage: Stage, key: str) -> None:
    upload = stage.client.create_multipart_upload(Bucket="out", Key=key)["UploadId"]
    stage.client.upload_part(Bucket="out", Key=key, UploadId=upload, PartNumber=1, Body=b"x")
    parts = [{"PartNumber": 1, "ETag": '"00000000000000000000000000000000"'}]
    with pytest.raises(ClientError) as error:
        stage.client.complete_multipart_upload(
            Bucket="out", Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
        )
    assert code_of(error) == (400, "InvalidPart")


def test_a_part_can_be_copied_from_an_input(stage: Stage, key: str) -> None:
    upload = stage.client.create_multipart_upload(Bucket="out", Key=key)["UploadId"]
    common = {"Bucket": "out", "Key": key, "UploadId": upload}
    etag = stage.client.upload_part_copy(
        **common,
        PartNumber=1,
        CopySource={"Bucket": "lab", "Key": "dir/sub/c.bin"},
        CopySourceRange="bytes=256-511",
    )["CopyPartResult"]["ETag"]
    parts = [{"PartNumber": 1, "ETag": etag}]
    stage.client.complete_multipart_upload(**common, MultipartUpload={"Parts": parts})
    assert _read(stage, key) == OBJECTS["dir/sub/c.bin"][256:512]


def test_large_files_go_in_parts_at_a_time(stage: Stage, key: str) -> None:
    data = os.urandom(23_000_000)
    stage.client.upload_fileobj(io.BytesIO(data), "out", key)
    found = io.BytesIO()
    stage.client.download_fileobj("out", key, found, Config=TransferConfig(multipart_threshold=PART))
    assert found.getvalue() == data


@pytest.mark.parametrize("source", [("lab", "dir/b.txt"), ("chosen", "deep/y.txt")])
def test_inputs_are_copied(stage: Stage, key: str, source: tuple[str, str]) -> None:
    answer = stage.client.copy_object(
        Bucket="out", Key=key, CopySource={"Bucket": source[0], "Key": source[1]}
    )
    assert answer["CopyObjectResult"]["ETag"].strip('"') == f"{hashlib.md5(OBJECTS['dir/b.txt']).hexdigest()}"
    assert _read(stage, key) == OBJECTS["dir/b.txt"]


def test_objects_with_odd_names_are_copied(stage: Stage, key: str) -> None:
    name = next(name for name in OBJECTS if name.startswith("odd/"))
    stage.client.copy_object(Bucket="out", Key=f"{key}/{name}", CopySource={"Bucket": "lab", "Key": name})
    assert _read(stage, f"{key}/{name}") == b"odd"


def test_a_copy_keeps_or_replaces_the_metadata(stage: Stage, key: str) -> None:
    stage.client.put_object(Bucket="out", Key=key, Body=b"x", Metadata={"a": "1"})
    source = {"Bucket": "out", "Key": key}
    stage.client.copy_object(Bucket="out", Key=f"{key}-kept", CopySource=source)
    stage.client.copy_object(
        Bucket="out", Key=f"{key}-new", CopySource=source, Metadata={"a": "2"}, MetadataDirective="REPLACE"
    )
    found = [stage.client.head_object(Bucket="out", Key=key + end)["Metadata"] for end in ("-kept", "-new")]
    assert found == [{"a": "1"}, {"a": "2"}]


def test_objects_are_deleted(stage: Stage, key: str) -> None:
    stage.client.put_object(Bucket="out", Key=key, Body=b"x")
    stage.client.delete_object(Bucket="out", Key=key)
    stage.client.delete_object(Bucket="out", Key=key)
    with pytest.raises(ClientError) as error:
        stage.client.get_object(Bucket="out", Key=key)
    assert code_of(error) == (404, "NoSuchKey")


def test_an_upload_that_has_ended_ends_again(stage: Stage, key: str) -> None:
    upload = stage.client.create_multipart_upload(Bucket="out", Key=key)["UploadId"]
    common = {"Bucket": "out", "Key": key, "UploadId": upload}
    part = stage.client.upload_part(**common, PartNumber=1, Body=b"x")["ETag"]
    common["MultipartUpload"] = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    first, again = (stage.client.complete_multipart_upload(**common)["ETag"] for _ in range(2))
    assert first in ("", again)  # Ceph has it the second time only
    assert _read(stage, key) == b"x"


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [("0-2", 400, "InvalidArgument"), ("bytes=0-2,3-5", 400, "InvalidArgument"),
     ("bytes=2-1", 400, "InvalidArgument"), ("bytes=0-9999", 416, "InvalidRange"),
     ("bytes=9999-10000", 416, "InvalidRange")],
)  # fmt: skip
def test_a_part_is_copied_whole_or_not_at_all(
    stage: Stage, key: str, asked: str, status: int, code: str
) -> None:
    if stage.kind != "folder":
        pytest.skip("the store behind copies, and decides")
    upload = stage.client.create_multipart_upload(Bucket="out", Key=key)["UploadId"]
    with pytest.raises(ClientError) as error:
        stage.client.upload_part_copy(
            Bucket="out",
            Key=key,
            UploadId=upload,
            PartNumber=1,
            CopySource="lab/dir/b.txt",
            CopySourceRange=asked,
        )
    assert code_of(error) == (status, code)


@pytest.mark.parametrize("is_quiet", [False, True])
def test_objects_are_deleted_together(stage: Stage, key: str, is_quiet: bool) -> None:
    names = [f"{key}/{name}" for name in ("a", "b c", "ä&<")]
    for name in names:
        stage.client.put_object(Bucket="out", Key=name, Body=b"x")
    asked: dict[str, Any] = {"Objects": [{"Key": name} for name in names], "Quiet": is_quiet}
    answer = stage.client.delete_objects(Bucket="out", Delete=asked)
    assert "Errors" not in answer
    if not is_quiet:
        assert sorted(item["Key"] for item in answer["Deleted"]) == sorted(names)
    assert stage.client.list_objects_v2(Bucket="out", Prefix=key)["KeyCount"] == 0


def test_the_real_store_has_it_below_the_staging_alone(stage: Stage, key: str) -> None:
    if stage.real is None:
        pytest.skip("there is no other store")
    stage.client.put_object(Bucket="out", Key=key, Body=b"x")
    listed = stage.real.list_objects_v2(Bucket=stage.bucket)["Contents"]
    [place] = [item["Key"] for item in listed if item["Key"].endswith(key)]
    assert place.startswith(STAGING)
