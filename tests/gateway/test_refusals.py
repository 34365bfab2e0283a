"""What a step cannot do: with its inputs, with other buckets, without the token, with malformed requests."""

from __future__ import annotations

import hashlib
import secrets
import socket
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from gateway_stage import OBJECTS, Stage, code_of

WRITES: list[tuple[str, dict[str, Any]]] = [
    ("put_object", {"Key": "a.txt", "Body": b"x"}),
    ("put_object", {"Key": "new", "Body": b"x"}),
    ("delete_object", {"Key": "a.txt"}),
    ("delete_objects", {"Delete": {"Objects": [{"Key": "a.txt"}]}}),
    ("create_multipart_upload", {"Key": "a.txt"}),
    ("upload_part", {"Key": "a.txt", "UploadId": "1", "PartNumber": 1, "Body": b"x"}),
    ("complete_multipart_upload", {"Key": "a.txt", "UploadId": "1", "MultipartUpload": {"Parts": []}}),
    ("abort_multipart_upload", {"Key": "a.txt", "UploadId": "1"}),
    ("copy_object", {"Key": "a.txt", "CopySource": "out/x"}),
    ("put_object_tagging", {"Key": "a.txt", "Tagging": {"TagSet": []}}),
    ("put_object_acl", {"Key": "a.txt", "ACL": "public-read"}),
]


@pytest.mark.parametrize("bucket", ["lab", "chosen"])
@pytest.mark.parametrize(("operation", "arguments"), WRITES)
def test_inputs_are_read_only(stage: Stage, bucket: str, operation: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ClientError) as error:
        getattr(stage.client, operation)(Bucket=bucket, **arguments)
    assert code_of(error) == (403, "AccessDenied")
    assert stage.client.get_object(Bucket="lab", Key="a.txt")["Body"].read() == OBJECTS["a.txt"]


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("create_bucket", {"Bucket": "mine"}),
        ("create_bucket", {"Bucket": "out"}),
        ("delete_bucket", {"Bucket": "out"}),
        ("delete_bucket", {"Bucket": "lab"}),
        ("put_bucket_policy", {"Bucket": "out", "Policy": "{}"}),
        ("put_bucket_acl", {"Bucket": "out", "ACL": "public-read"}),
        ("put_bucket_versioning", {"Bucket": "out", "VersioningConfiguration": {"Status": "Enabled"}}),
        ("put_object", {"Bucket": "out", "Key": "public", "Body": b"", "ACL": "public-read"}),
        ("put_object", {"Bucket": "out", "Key": "public", "Body": b"", "GrantRead": "id=1"}),
        ("put_object_acl", {"Bucket": "out", "Key": "public", "ACL": "public-read"}),
    ],
)
def test_buckets_stay_as_they_are(stage: Stage, operation: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ClientError) as error:
        getattr(stage.client, operation)(**arguments)
    assert code_of(error) == (403, "AccessDenied")


@pytest.mark.parametrize(
    "way",
    [
        "..",
        "%2e%2e",
        "%2E%2e",
        ".%2e",
        "%252e%252e",
        "%25252e%25252e",
        "..%5c..",
        "..\\..",
        "%2e%2e%5c%2e%2e",
        "dir/../../other",
        "dir/%2e%2e/%2e%2e/other",
        "./..",
        "/../other",
        "x%2f..%2f..",
        "%00",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_no_spelling_leads_out_of_a_bucket(stage: Stage, way: str, method: str) -> None:
    for bucket in ("lab", "out"):
        status, body, _ = stage.raw(method, f"/{bucket}/{way}/secret.txt")
        assert status in (400, 403)
        assert b"secret" not in body.replace(b"/secret.txt", b"")


@pytest.mark.parametrize(
    "target",
    [
        "/lab/..%2f..%2fsecret.txt",
        "/lab%2f..%2fsecret.txt",
        "/..%2flab/a.txt",
        "/../lab/a.txt",
        "/%2e/lab/a.txt",
    ],
)
def test_no_spelling_leads_out_by_the_bucket(stage: Stage, target: str) -> None:
    status, body, _ = stage.raw("GET", target)
    assert status in (400, 403, 404)
    assert body != b"secret"


def test_two_slashes_stay_below_the_prefix(stage: Stage) -> None:
    for target in ("/lab//secret.txt", "/lab//cat/other/secret.txt", "/lab///secret.txt", "//lab/a.txt"):
        status, body, _ = stage.raw("GET", target)
        assert status in (400, 404, 405)
        assert body != b"secret"


def test_a_key_that_is_too_long_is_refused(stage: Stage) -> None:
    assert stage.raw("GET", "/lab/" + "k" * 1025)[0] == 400


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.1:1/lab/a.txt", "https://example.org/", "lab/a.txt", "*", "/lab/a.txt#x", "/lab/%ff"],
)
def test_a_target_that_is_no_path_is_refused(stage: Stage, target: str) -> None:
    assert stage.raw("GET", target, signs=target.startswith("/"))[0] == 400


@pytest.mark.parametrize("prefix", ["..", "../", "/", "cat/", "../../"])
def test_a_list_has_nothing_of_other_prefixes(stage: Stage, prefix: str) -> None:
    for operation in ("list_objects", "list_objects_v2"):
        assert "Contents" not in getattr(stage.client, operation)(Bucket="lab", Prefix=prefix)


@pytest.mark.parametrize("name", ["", "0", "\x00", "a/../../"])
def test_a_list_begins_below_the_prefix(stage: Stage, name: str) -> None:
    found = stage.client.list_objects_v2(Bucket="lab", StartAfter=name).get("Contents", [])
    assert {item["Key"] for item in found} <= OBJECTS.keys()


@pytest.mark.parametrize(
    "source",
    [
        "{bucket}/secret.txt",
        "/{bucket}/cat/other/secret.txt",
        "{bucket}%2fsecret.txt",
        "lab/../other/secret.txt",
        "lab/%2e%2e/other/secret.txt",
        "lab/%252e%252e/other/secret.txt",
        "lab/..%5c..%5csecret.txt",
        "arn:aws:s3:::{bucket}/secret.txt",
        "lab",
        "lab/",
        "chosen/a.txt",
        "../{bucket}/secret.txt",
    ],
)
def test_copies_come_from_the_buckets_of_the_step(stage: Stage, key: str, source: str) -> None:
    source = source.format(bucket=stage.bucket or "catalog")
    status, _, _ = stage.raw("PUT", f"/out/{key}", headers={"x-amz-copy-source": source})
    assert status in (400, 403, 404)
    assert stage.raw("HEAD", f"/out/{key}")[0] == 404


def test_other_keys_of_uploads_are_not_reached(stage: Stage, key: str) -> None:
    if stage.kind == "moto":
        pytest.skip("moto itself takes any upload for any key")
    upload = stage.client.create_multipart_upload(Bucket="out", Key=key)["UploadId"]
    with pytest.raises(ClientError) as error:
        stage.client.upload_part(Bucket="out", Key=f"{key}-other", UploadId=upload, PartNumber=1, Body=b"x")
    assert code_of(error)[0] == 404


def test_unsigned_requests_are_refused(stage: Stage) -> None:
    for target in ("/", "/lab/a.txt", "/lab", "/nothing"):
        status, body, _ = stage.raw("GET", target, signs=False)
        assert (status, b"AccessDenied" in body) == (403, True)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "", "lab.localhost"]
)
def test_a_foreign_host_is_refused(stage: Stage, host: str) -> None:
    headers = stage.signed("GET", "/lab/a.txt", {"host": host or "x"}, "UNSIGNED-PAYLOAD")
    assert stage.raw("GET", "/lab/a.txt", headers={**headers, "host": host}, signs=False)[0] in (400, 403)


def test_the_name_localhost_is_no_foreign_host(stage: Stage) -> None:
    host = stage.gateway.endpoint.removeprefix("http://").replace("127.0.0.1", "localhost")
    assert stage.raw("GET", "/lab/a.txt", headers={"host": host})[0] == 200


@pytest.mark.parametrize("seconds", [-16 * 60, 16 * 60])
def test_a_wrong_clock_is_refused(stage: Stage, seconds: int) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    with mock.patch("botocore.auth.get_current_datetime", return_value=moment):
        status, body, _ = stage.raw("GET", "/lab/a.txt")
    assert (status, b"RequestTimeTooSkewed" in body) == (403, True)


@pytest.mark.parametrize("change", ["target", "query", "method", "body", "header", "unsigned", "twice"])
def test_what_was_not_signed_is_refused(stage: Stage, key: str, change: str) -> None:
    headers = {"host": stage.gateway.endpoint.removeprefix("http://"), "x-amz-meta-a": "1"}
    target, method, body = f"/out/{key}", "PUT", b"good"
    signed = stage.signed(method, target, headers, hashlib.sha256(body).hexdigest())
    if change == "target":
        target += "-other"
    elif change == "query":
        target += "?tagging"
    elif change == "method":
        method = "DELETE"
    elif change == "body":
        body = b"evil"
    elif change == "header":
        signed["x-amz-meta-a"] = "2"
    elif change == "unsigned":
        signed["x-amz-meta-b"] = "2"
    else:
        signed["X-AMZ-Meta-A"] = "1"
    status, _, _ = stage.raw(method, target, headers=signed, body=body, signs=False)
    assert status in (400, 403)
    assert stage.raw("HEAD", f"/out/{key}")[0] == 404


def test_a_presigned_url_ends(stage: Stage) -> None:
    moment = datetime.now(UTC) - timedelta(hours=2)
    with mock.patch("botocore.auth.get_current_datetime", return_value=moment):
        url = stage.client.generate_presigned_url("get_object", Params={"Bucket": "lab", "Key": "a.txt"})
    for changed in (
        url,
        url.replace("X-Amz-Expires=3600", "X-Amz-Expires=999999"),
        url.replace("a.txt", "empty"),
    ):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(changed)
        assert error.value.code in (400, 403)
        error.value.close()


def test_ten_thousand_wrong_tokens_are_refused_quickly(stage: Stage) -> None:
    if stage.kind != "folder":
        pytest.skip("the store behind has no part in it")
    host = stage.gateway.endpoint.removeprefix("http://")
    began, refused = time.monotonic(), 0
    template = stage.signed("GET", "/lab/a.txt", {"host": host}, "UNSIGNED-PAYLOAD")
    with stage.connect() as connection:
        for _ in range(100):
            requests = []
            for _ in range(100):
                wrong = secrets.token_hex(20)
                authorization = template["Authorization"].replace(stage.gateway.token, wrong)
                lines = {**template, "Authorization": authorization}
                requests.append(
                    "GET /lab/a.txt HTTP/1.1\r\n"
                    + "".join(f"{n}: {v}\r\n" for n, v in lines.items())
                    + "\r\n"
                )
            connection.sendall("".join(requests).encode())
            refused += _answers(connection, 100)
    assert refused == 10_000
    assert time.monotonic() - began < 60
    assert stage.raw("GET", "/lab/a.txt")[0] == 200


def _answers(connection: socket.socket, wanted: int) -> int:
    data = b""
    while data.count(b"</Error>") < wanted:
        block = connection.recv(1 << 16)
        assert block
        data += block
    assert data.count(b"HTTP/1.1 403") == wanted
    return data.count(b"InvalidAccessKeyId</Code>")


@pytest.mark.parametrize(
    "document",
    [
        b'<!DOCTYPE a [<!ENTITY b "c">]><Delete><Object><Key>&b;</Key></Object></Delete>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><Delete><Object><Key>a</Key></Object></Delete>',
        '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a><Delete/>'.encode("utf-16"),
        b'<?xml version="1.0" encoding="cp037"?>\x4c\x5a',
        b"<Delete><Object><Key>a</Key></Object>",
        b"<Delete></Delete>",
        b"",
        b"<Delete><Object><Key>a</Key></Object></Delete>" + b" " * 3_000_000,
        b"<Delete>" + b"<Object><Key>a</Key></Object>" * 1001 + b"</Delete>",
        b"<Delete><Object><Key>../other/secret.txt</Key></Object></Delete>",
    ],
)
def test_a_document_that_is_none_is_refused(stage: Stage, document: bytes) -> None:
    assert stage.raw("POST", "/out?delete", body=document)[0] == 400


def test_headers_without_end_are_refused(stage: Stage) -> None:
    refusals = (b"HTTP/1.1 400", b"HTTP/1.0 400")
    with stage.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n")
        assert connection.recv(100).startswith(refusals)
    with stage.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(500)))
        assert connection.recv(100).startswith(refusals)


def test_a_request_that_drips_in_is_cut(folder_stage: Stage) -> None:
    began = time.monotonic()
    with folder_stage.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(OSError):  # noqa: PT012
            while time.monotonic() - began < 60:
                connection.sendall(b"X")
                time.sleep(0.5)
    assert time.monotonic() - began < 30


def test_connections_that_say_nothing_do_not_hinder_others(folder_stage: Stage) -> None:
    idle = [folder_stage.connect() for _ in range(200)]
    try:
        assert folder_stage.raw("GET", "/lab/a.txt")[1] == b"alpha"
    finally:
        for connection in idle:
            connection.close()


@pytest.mark.parametrize("query", ["torrent", "retention", "legal-hold", "select&select-type=2", "restore"])
def test_what_is_not_there_says_so(stage: Stage, query: str) -> None:
    assert stage.raw("GET", f"/lab/a.txt?{query}")[0] == 501


@pytest.mark.parametrize("method", ["PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_other_methods_are_refused(stage: Stage, method: str) -> None:
    assert stage.raw(method, "/out/x")[0] == 405
