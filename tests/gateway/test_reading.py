"""What a step finds in its inputs."""

from __future__ import annotations

import hashlib
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_magnus.gateway.views import REGION
from gateway_stage import OBJECTS, SEVERAL, Stage, code_of


def test_buckets_are_those_of_the_step(stage: Stage) -> None:
    assert [bucket["Name"] for bucket in stage.client.list_buckets()["Buckets"]] == ["chosen", "lab", "out"]


@pytest.mark.parametrize("bucket", ["chosen", "lab", "out"])
def test_a_bucket_is_there(stage: Stage, bucket: str) -> None:
    stage.client.head_bucket(Bucket=bucket)
    assert stage.client.get_bucket_location(Bucket=bucket)["LocationConstraint"] == REGION


def test_a_bucket_that_was_not_given_is_not_there(stage: Stage) -> None:
    name = stage.bucket or "catalog"
    with pytest.raises(ClientError) as error:
        stage.client.list_objects_v2(Bucket=name)
    assert code_of(error) == (404, "NoSuchBucket")
    with pytest.raises(ClientError) as error:
        stage.client.get_object(Bucket=name, Key="cat/run/a.txt")
    assert code_of(error) == (404, "NoSuchBucket")
    with pytest.raises(ClientError) as error:
        stage.client.head_bucket(Bucket=name)
    assert code_of(error)[0] == 404


def etag_of(stage: Stage, name: str) -> str:
    """The MD5 in quotes; of a file, which is not read for that, whatever it has."""
    if stage.kind == "folder":
        tag: str = stage.client.head_object(Bucket="lab", Key=name)["ETag"]
        return tag
    return f'"{hashlib.md5(OBJECTS[name]).hexdigest()}"'


@pytest.mark.parametrize("name", sorted(OBJECTS.keys() - SEVERAL.keys()))
def test_an_object_is_given_whole(stage: Stage, name: str) -> None:
    answer = stage.client.get_object(Bucket="lab", Key=name)
    assert answer["Body"].read() == OBJECTS[name]
    assert answer["ETag"] == etag_of(stage, name)
    head = stage.client.head_object(Bucket="lab", Key=name)
    assert (head["ContentLength"], head["ETag"]) == (len(OBJECTS[name]), answer["ETag"])


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
def test_lists_have_all_keys_in_order(stage: Stage, operation: str) -> None:
    found = getattr(stage.client, operation)(Bucket="lab")["Contents"]
    assert [item["Key"] for item in found] == sorted(OBJECTS)
    assert [item["Size"] for item in found] == [len(OBJECTS[name]) for name in sorted(OBJECTS)]
    assert {item["Key"]: item["ETag"] for item in found}["a.txt"] == etag_of(stage, "a.txt")


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_pages_join_to_the_whole(stage: Stage, operation: str, size: int) -> None:
    pages = stage.client.get_paginator(operation).paginate(Bucket="lab", PaginationConfig={"PageSize": size})
    assert [item["Key"] for page in pages for item in page.get("Contents", [])] == sorted(OBJECTS)


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
@pytest.mark.parametrize(
    ("prefix", "keys", "prefixes"),
    [
        ("", ["a.txt", "empty"], ["dir/", "many/", "odd/"]),
        ("dir/", ["dir/b.txt"], ["dir/sub/"]),
        ("dir", [], ["dir/"]),
        ("many/00", [f"many/00{number}.txt" for number in range(10)], []),
        ("nothing", [], []),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_delimiters_fold_keys(
    stage: Stage, operation: str, prefix: str, keys: list[str], prefixes: list[str], size: int
) -> None:
    if (stage.kind, operation, size, prefix) == ("moto", "list_objects", 1, ""):
        pytest.skip("moto itself gives prefixes again on each page")
    paginator = stage.client.get_paginator(operation)
    pages = list(
        paginator.paginate(Bucket="lab", Prefix=prefix, Delimiter="/", PaginationConfig={"PageSize": size})
    )
    assert [item["Key"] for page in pages for item in page.get("Contents", [])] == keys
    assert [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", [])] == prefixes
    assert all(page["Name"] == "lab" and page.get("Prefix", "") == prefix for page in pages)


def test_lists_begin_behind_a_key(stage: Stage) -> None:
    behind = [name for name in sorted(OBJECTS) if name > "many/020.txt"]
    second = stage.client.list_objects_v2(Bucket="lab", StartAfter="many/020.txt")
    assert [item["Key"] for item in second["Contents"]] == behind
    first = stage.client.list_objects(Bucket="lab", Marker="many/020.txt")
    assert [item["Key"] for item in first["Contents"]] == behind


def test_chosen_objects_alone_are_visible(stage: Stage) -> None:
    listed = [item["Key"] for item in stage.client.list_objects_v2(Bucket="chosen")["Contents"]]
    assert listed == ["deep/y.txt", "x.txt"]
    assert stage.client.get_object(Bucket="chosen", Key="deep/y.txt")["Body"].read() == OBJECTS["dir/b.txt"]
    for name in ("a.txt", "run/a.txt", "gone.txt", "dir/b.txt"):
        with pytest.raises(ClientError) as error:
            stage.client.get_object(Bucket="chosen", Key=name)
        assert code_of(error) == (404, "NoSuchKey")


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("bytes=300000-", 300000, 307199),
        ("bytes=-5", 307195, 307199),
        ("bytes=307000-999999", 307000, 307199),
    ],
)
def test_ranges_are_given(stage: Stage, asked: str, first: int, last: int) -> None:
    answer = stage.client.get_object(Bucket="lab", Key="dir/sub/c.bin", Range=asked)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert answer["ContentRange"] == f"bytes {first}-{last}/307200"
    assert answer["Body"].read() == OBJECTS["dir/sub/c.bin"][first : last + 1]


def test_a_range_behind_the_end_is_refused(stage: Stage) -> None:
    with pytest.raises(ClientError) as error:
        stage.client.get_object(Bucket="lab", Key="a.txt", Range="bytes=100-200")
    assert code_of(error) == (416, "InvalidRange")


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ({"IfMatch": '"00000000000000000000000000000000"'}, 412),
        ({"IfNoneMatch": "its own"}, 304),
        ({"IfModifiedSince": datetime.now(UTC) + timedelta(hours=1)}, 304),
        ({"IfUnmodifiedSince": datetime.now(UTC) - timedelta(days=1)}, 412),
        ({"IfMatch": "its own"}, 200),
        ({"IfNoneMatch": '"00000000000000000000000000000000"'}, 200),
        ({"IfModifiedSince": datetime.now(UTC) - timedelta(days=1)}, 200),
    ],
)
@pytest.mark.parametrize("operation", ["get_object", "head_object"])
def test_conditions_decide(stage: Stage, condition: dict[str, Any], status: int, operation: str) -> None:
    if status == 304 and "IfModifiedSince" in condition and stage.kind != "folder":
        condition = {"IfModifiedSince": datetime.now(UTC)}  # times to come are passed over by some
    condition = {
        name: etag_of(stage, "a.txt") if value == "its own" else value for name, value in condition.items()
    }
    try:
        found = getattr(stage.client, operation)(Bucket="lab", Key="a.txt", **condition)
        answered = found["ResponseMetadata"]["HTTPStatusCode"]
    except ClientError as error:
        answered = error.response["ResponseMetadata"]["HTTPStatusCode"]
    assert answered == status


def test_what_was_not_modified_is_named(stage: Stage) -> None:
    if stage.kind == "ceph":
        pytest.skip("Ceph itself leaves out the ETag")
    etag = etag_of(stage, "a.txt")
    with pytest.raises(ClientError) as error:
        stage.client.get_object(Bucket="lab", Key="a.txt", IfNoneMatch=etag)
    assert error.value.response["ResponseMetadata"]["HTTPHeaders"]["etag"] == etag


def test_an_empty_token_begins_a_list(stage: Stage) -> None:
    listed = stage.client.list_objects_v2(Bucket="chosen", ContinuationToken="")
    assert [item["Key"] for item in listed["Contents"]] == ["deep/y.txt", "x.txt"]
    assert listed["ContinuationToken"] == ""


def test_headers_of_the_answer_can_be_chosen(stage: Stage) -> None:
    answer = stage.client.get_object(
        Bucket="lab",
        Key="a.txt",
        ResponseContentType="text/x-test",
        ResponseContentDisposition="attachment; filename=b",
        ResponseCacheControl="no-cache",
    )
    assert answer["ContentType"] == "text/x-test"
    assert answer["ContentDisposition"] == "attachment; filename=b"
    assert answer["CacheControl"] == "no-cache"


@pytest.mark.parametrize("operation", ["get_object", "head_object"])
def test_a_key_that_holds_nothing_is_not_found(stage: Stage, operation: str) -> None:
    with pytest.raises(ClientError) as error:
        getattr(stage.client, operation)(Bucket="lab", Key="nothing")
    assert code_of(error)[0] == 404


def test_a_presigned_url_needs_no_keys(stage: Stage) -> None:
    url = stage.client.generate_presigned_url("get_object", Params={"Bucket": "lab", "Key": "dir/b.txt"})
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == OBJECTS["dir/b.txt"]


def test_nothing_of_the_real_store_shows(stage: Stage) -> None:
    for target in ("/lab?list-type=2", "/lab?prefix=dir/", "/lab/nothing", "/lab/a.txt", "/out?uploads"):
        _, body, headers = stage.raw("GET", target)
        text = body.decode() + str(headers)
        assert "cat/" not in text
        assert not stage.bucket or stage.bucket not in text


def test_odd_questions_have_the_usual_answers(stage: Stage) -> None:
    assert stage.client.get_bucket_versioning(Bucket="lab").get("Status") is None
    assert stage.client.get_bucket_acl(Bucket="lab")["Owner"]["ID"] == "magnus"
    with pytest.raises(ClientError) as error:
        stage.client.get_bucket_policy(Bucket="lab")
    assert code_of(error) == (404, "NoSuchBucketPolicy")
