"""Every way in which a client may send the bytes of an object."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import zlib
from collections.abc import Callable

import pytest

from airflow_magnus.gateway.checksums import checksum
from airflow_magnus.gateway.documents import parse
from gateway_stage import Stage

EMPTY = hashlib.sha256(b"").hexdigest()
SIGNED, SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
DATA = os.urandom(150_000)


def _crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def _checksum(name: str, data: bytes) -> str:
    taken = checksum(name)
    assert taken is not None
    taken.update(data)
    return taken.text()


def _framed(
    stage: Stage,
    key: str,
    payload: str,
    data: bytes = DATA,
    *,
    chunk: int = 65_536,
    trailer: str = "x-amz-checksum-crc32",
    value: str = "",
    change: Callable[[bytes], bytes] = lambda body: body,
    length: int | None = None,
) -> int:
    """Send an object in frames; gives the status."""
    headers = {
        "host": stage.gateway.endpoint.removeprefix("http://"),
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": str(len(data) if length is None else length),
    }
    if payload.endswith("TRAILER"):
        headers["x-amz-trailer"] = trailer
    signed = stage.signed("PUT", f"/out/{key}", headers, payload)
    before, scope = _seed(signed["Authorization"])
    signing = _signing_key(stage.gateway.token, scope)
    lines = f"{signed['X-Amz-Date']}\n{scope}\n"
    body = b""
    for at in [*range(0, len(data), chunk), len(data)]:
        block = data[at : at + chunk]
        head = f"{len(block):x}"
        if payload != UNSIGNED_TRAILER:
            text = f"AWS4-HMAC-SHA256-PAYLOAD\n{lines}{before}\n{EMPTY}\n{hashlib.sha256(block).hexdigest()}"
            before = hmac.new(signing, text.encode(), hashlib.sha256).hexdigest()
            head += f";chunk-signature={before}"
        body += head.encode() + b"\r\n" + (block + b"\r\n" if block else b"")
    if payload.endswith("TRAILER"):
        value = value or _checksum(trailer.removeprefix("x-amz-checksum-"), data)
        body += f"{trailer}:{value}\r\n".encode()
        if payload == SIGNED_TRAILER:
            digest = hashlib.sha256(f"{trailer}:{value}\n".encode()).hexdigest()
            text = f"AWS4-HMAC-SHA256-TRAILER\n{lines}{before}\n{digest}"
            signature = hmac.new(signing, text.encode(), hashlib.sha256).hexdigest()
            body += f"x-amz-trailer-signature:{signature}\r\n".encode()
    return stage.raw("PUT", f"/out/{key}", headers=signed, body=change(body + b"\r\n"), signs=False)[0]


def _seed(authorization: str) -> tuple[str, str]:
    fields = dict(item.strip().split("=", 1) for item in authorization.split(" ", 1)[1].split(","))
    return fields["Signature"], fields["Credential"].partition("/")[2]


def _signing_key(token: str, scope: str) -> bytes:
    key = b"AWS4" + token.encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _stored(stage: Stage, key: str) -> bytes | None:
    status, body, headers = stage.raw("GET", f"/out/{key}")
    assert status in (200, 404)
    assert "aws-chunked" not in str(headers.get("content-encoding"))
    return body if status == 200 else None


@pytest.mark.parametrize("payload", [SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER])
@pytest.mark.parametrize(
    ("size", "chunk"), [(0, 10), (1, 10), (150_000, 65_536), (150_000, 8_192), (1_500_000, 262_144)]
)
def test_frames_become_the_object(stage: Stage, key: str, payload: str, size: int, chunk: int) -> None:
    data = os.urandom(size)
    assert _framed(stage, key, payload, data, chunk=chunk) == 200
    assert _stored(stage, key) == data
    assert stage.client.head_object(Bucket="out", Key=key)["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'


@pytest.mark.parametrize("algorithm", ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"])
@pytest.mark.parametrize("payload", [SIGNED_TRAILER, UNSIGNED_TRAILER])
def test_trailing_checksums_are_verified(stage: Stage, key: str, algorithm: str, payload: str) -> None:
    name, data = f"x-amz-checksum-{algorithm}", DATA[:20_000]
    assert _framed(stage, key, payload, data, trailer=name) == 200
    assert _stored(stage, key) == data
    wrong = _checksum(algorithm, b"other")
    assert _framed(stage, f"{key}-wrong", payload, data, trailer=name, value=wrong) == 400
    assert _stored(stage, f"{key}-wrong") is None


@pytest.mark.parametrize("algorithm", ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"])
def test_checksums_in_front_are_verified(stage: Stage, key: str, algorithm: str) -> None:
    data = DATA[:20_000]
    for value, status in ((_checksum(algorithm, data), 200), (_checksum(algorithm, b"other"), 400)):
        place = f"{key}-{status}"
        headers = {f"x-amz-checksum-{algorithm}": value}
        assert stage.raw("PUT", f"/out/{place}", headers=headers, body=data)[0] == status
        assert _stored(stage, place) == (data if status == 200 else None)


@pytest.mark.parametrize("size", [10, 1_000_000])
@pytest.mark.parametrize("payload", ["UNSIGNED-PAYLOAD", ""])
def test_bodies_at_once(stage: Stage, key: str, size: int, payload: str) -> None:
    data = os.urandom(size)
    assert stage.raw("PUT", f"/out/{key}", body=data, payload=payload)[0] == 200
    assert _stored(stage, key) == data


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_body_that_was_not_signed_is_never_stored(stage: Stage, key: str, size: int) -> None:
    wrong = hashlib.sha256(b"other").hexdigest()
    status, body, _ = stage.raw("PUT", f"/out/{key}", body=bytes(size), payload=wrong)
    assert (status, b"XAmzContentSHA256Mismatch" in body) == (400, True)
    assert _stored(stage, key) is None


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("no length", lambda body: b"\r\n" + body),
        ("no number", lambda body: b"zz" + body),
        ("negative", lambda body: b"-" + body),
        ("very long number", lambda body: b"0" * 100 + body),
        ("head without end", lambda body: b"1" * 100_000),
        ("huge", lambda body: b"ffffffffffffffff" + body[5:]),
        ("cut", lambda body: body[:-70_000]),
        ("cut at the end", lambda body: body[: -len(body) % 65_536 or -200]),
        ("more behind", lambda body: body + b"more"),
        ("only LF", lambda body: body.replace(b"\r\n", b"\n", 1)),
        ("empty", lambda body: b""),
    ],
)
@pytest.mark.parametrize("payload", [SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER])
def test_malformed_frames_are_refused(
    stage: Stage, key: str, name: str, change: Callable[[bytes], bytes], payload: str
) -> None:
    assert _framed(stage, key, payload, change=change) in (400, 403), name
    assert _stored(stage, key) is None


@pytest.mark.parametrize("payload", [SIGNED, SIGNED_TRAILER])
def test_a_changed_byte_is_refused(stage: Stage, key: str, payload: str) -> None:
    def change(body: bytes) -> bytes:
        return body[:1000] + bytes([body[1000] ^ 1]) + body[1001:]

    assert _framed(stage, key, payload, change=change) in (400, 403)
    assert _stored(stage, key) is None


@pytest.mark.parametrize("length", [10, 10_000_000])
@pytest.mark.parametrize("payload", [SIGNED, UNSIGNED_TRAILER])
def test_another_length_than_announced_is_refused(stage: Stage, key: str, length: int, payload: str) -> None:
    assert _framed(stage, key, payload, length=length) == 400
    assert _stored(stage, key) is None


@pytest.mark.parametrize("payload", ["STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "STREAMING-OTHER", "abc"])
def test_an_unknown_kind_of_body_is_refused(stage: Stage, key: str, payload: str) -> None:
    assert stage.raw("PUT", f"/out/{key}", body=b"x", payload=payload)[0] == 400


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("content-md5", "", "InvalidDigest"),
        ("content-md5", "YWJyYWNhZGFicmE=", "InvalidDigest"),
        ("content-md5", "rL0Y20xC+Fzt72VPzMSk2A==", "BadDigest"),
        ("x-amz-checksum-sha256", "bad", "InvalidRequest"),
        ("x-amz-checksum-crc32", _crc32(b"other"), "BadDigest"),
    ],
)
def test_a_digest_that_is_none_is_told_from_a_wrong_one(
    stage: Stage, key: str, name: str, value: str, code: str
) -> None:
    status, body, _ = stage.raw("PUT", f"/out/{key}", headers={name: value}, body=b"x")
    assert (status, parse(body).findtext("Code")) == (400, code)


def test_a_trailer_that_does_not_come_is_refused(stage: Stage, key: str) -> None:
    def change(body: bytes) -> bytes:
        return body[: body.rindex(b"x-amz-checksum")] + b"\r\n"

    assert _framed(stage, key, UNSIGNED_TRAILER, change=change) == 400
    assert _stored(stage, key) is None
