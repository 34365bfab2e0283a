"""Names of a real store as the step sees them, however the store writes them."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from airflow_magnus.gateway.documents import parse
from airflow_magnus.gateway.process import Gateway
from airflow_magnus.gateway.rewriting import Names, rewritten
from airflow_magnus.gateway.views import Origin, Prefix
from gateway_stage import STAGING, Stage, client_of
from servers.s3 import S3Server

KEYS = ["a b", "a%2Bb", "a+b", "c+d/x", "e%20f/x", "ä/x"]


@pytest.fixture(params=["moto", pytest.param("ceph", marks=pytest.mark.external)], name="server")
def _server(request: pytest.FixtureRequest) -> S3Server:
    server: S3Server = request.getfixturevalue(request.param)
    return server


@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize("version", ["list_objects", "list_objects_v2"])
def test_pages_follow_each_other(stage: Stage, key: str, version: str, delimiter: str) -> None:
    if stage.kind == "moto" and version == "list_objects" and delimiter:
        pytest.skip("moto itself gives prefixes again on each page")
    for name in KEYS:
        stage.client.put_object(Bucket="out", Key=f"{key}/{name}", Body=b"x")
    pages = stage.client.get_paginator(version).paginate(
        Bucket="out", Prefix=f"{key}/", Delimiter=delimiter, PaginationConfig={"PageSize": 1}
    )
    found = [
        item.get("Key", item.get("Prefix")).removeprefix(f"{key}/")
        for page in pages
        for item in (*page.get("Contents", ()), *page.get("CommonPrefixes", ()))
    ]
    assert found == [name.partition("/")[0] + "/" if delimiter and "/" in name else name for name in KEYS]


@pytest.mark.parametrize("prefix", ["cat/", "manual__00:00+00:00/"])
@pytest.mark.parametrize("name", ["a+b", "a%2Bb", "plain"])
def test_what_ceph_leaves_as_it_is_in_an_encoded_list(prefix: str, name: str) -> None:
    key = name.replace("%", "%25").replace("+", "%2B")
    document = f"""<ListBucketResult><EncodingType>url</EncodingType><Prefix>{prefix}a+</Prefix>
        <Marker>{prefix}b+</Marker><NextMarker>{prefix}{name}</NextMarker>
        <Contents><Key>{prefix.replace("+", "%2B").replace(":", "%3A")}{key}</Key></Contents></ListBucketResult>"""
    asked = {"Prefix": "a+", "Marker": "b+"}
    root = parse(rewritten(document.encode(), Names("out", prefix, asked=asked)))
    texts = {element.tag: element.text for element in root.iter()}
    assert texts["Key"] == texts["NextMarker"] == name
    assert (texts["Prefix"], texts["Marker"]) == ("a+", "b+")


def test_uploads_below_the_prefix_are_listed_and_dropped(server: S3Server) -> None:
    bucket, real = server.make_bucket(), server.client()
    kept = real.create_multipart_upload(Bucket=bucket, Key="aside")["UploadId"]
    with Gateway({}, Prefix(Origin.of(bucket, server.options), STAGING)) as gateway:
        client = client_of(gateway)
        for name in KEYS:
            client.create_multipart_upload(Bucket="out", Key=name)
        for written, options in ((str, {}), (quote, {"EncodingType": "url"})):
            listed = client.list_multipart_uploads(Bucket="out", **options)["Uploads"]
            assert [item["Key"] for item in listed] == [written(name) for name in KEYS]
        gateway.drop()
    left = real.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    assert [item["UploadId"] for item in left] == [kept]


def test_keys_of_tags_are_no_names(stage: Stage, key: str) -> None:
    if stage.kind == "folder":
        pytest.skip("files have no tags")
    tags = [{"Key": "colour", "Value": "blue"}, {"Key": "shape", "Value": ""}]
    stage.client.put_object(Bucket="out", Key=key, Body=b"x")
    stage.client.put_object_tagging(Bucket="out", Key=key, Tagging={"TagSet": tags})
    assert stage.client.get_object_tagging(Bucket="out", Key=key)["TagSet"] == tags
