"""What the parent learns of what was read and written."""

from __future__ import annotations

import hashlib
import io

import pytest
from boto3.s3.transfer import TransferConfig

from airflow_magnus.gateway.ledger import Passed
from gateway_stage import OBJECTS, Stage
from servers.airflow import wait_for


def _of(stage: Stage, action: str, bucket: str, key: str) -> list[Passed]:
    return [
        entry
        for entry in stage.gateway.ledger()
        if (entry.action, entry.bucket, entry.key) == (action, bucket, key)
    ]


def test_a_whole_read_has_its_digest(stage: Stage) -> None:
    stage.client.get_object(Bucket="lab", Key="many/001.txt")["Body"].read()
    stage.client.get_object(Bucket="lab", Key="many/001.txt")["Body"].read()
    [entry] = _of(stage, "read", "lab", "many/001.txt")
    data = OBJECTS["many/001.txt"]
    assert (entry.size, entry.times, entry.ranges) == (len(data), 2, [])
    assert entry.sha256 == hashlib.sha256(data).hexdigest()
    assert entry.etag == hashlib.md5(data).hexdigest() or stage.kind == "folder"


def test_ranges_are_joined(stage: Stage) -> None:
    for part in ("0-9", "20-29", "10-19", "100-199"):
        stage.client.get_object(Bucket="lab", Key="dir/sub/c.bin", Range=f"bytes={part}")["Body"].read()
    [entry] = _of(stage, "read", "lab", "dir/sub/c.bin")
    assert (entry.ranges, entry.size, entry.sha256) == ([(0, 29), (100, 199)], 307200, "")


def test_heads_and_lists_are_no_reads(stage: Stage) -> None:
    stage.client.head_object(Bucket="lab", Key="many/002.txt")
    stage.client.list_objects_v2(Bucket="lab")
    assert not _of(stage, "read", "lab", "many/002.txt")


def test_a_large_read_has_its_digest(stage: Stage, key: str) -> None:
    data = bytes(range(256)) * 20_000
    stage.client.put_object(Bucket="out", Key=key, Body=data)
    assert stage.client.get_object(Bucket="out", Key=key)["Body"].read() == data
    [entry] = _of(stage, "read", "out", key)
    assert (entry.size, entry.sha256) == (len(data), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_write_has_its_digest(stage: Stage, key: str, size: int) -> None:
    stage.client.put_object(Bucket="out", Key=key, Body=b"before")
    stage.client.put_object(Bucket="out", Key=key, Body=bytes(size))
    [entry] = _of(stage, "write", "out", key)
    assert (entry.size, entry.sha256, entry.times) == (size, hashlib.sha256(bytes(size)).hexdigest(), 2)


def test_what_is_deleted_was_not_written(stage: Stage, key: str) -> None:
    stage.client.put_object(Bucket="out", Key=key, Body=b"x")
    stage.client.delete_object(Bucket="out", Key=key)
    assert not _of(stage, "write", "out", key)


def test_copies_are_reads_and_writes(stage: Stage, key: str) -> None:
    stage.client.copy_object(Bucket="out", Key=key, CopySource={"Bucket": "lab", "Key": "many/003.txt"})
    assert _of(stage, "read", "lab", "many/003.txt")
    assert _of(stage, "write", "out", key)


def test_outputs_are_what_lies_there(stage: Stage, key: str) -> None:
    stage.client.put_object(Bucket="out", Key=f"{key}/ä +%", Body=b"one")
    stage.client.upload_fileobj(
        io.BytesIO(bytes(6_000_000)),
        "out",
        f"{key}/two",
        Config=TransferConfig(multipart_threshold=5 * 1024 * 1024),
    )
    found = {output.name: output for output in stage.gateway.outputs() if output.name.startswith(key)}
    assert [(name, output.size) for name, output in found.items()] == [
        (f"{key}/two", 6_000_000),
        (f"{key}/ä +%", 3),
    ]
    assert found[f"{key}/ä +%"].sha256 == hashlib.sha256(b"one").hexdigest()
    assert found[f"{key}/two"].sha256 in ("", hashlib.sha256(bytes(6_000_000)).hexdigest())


def test_a_read_that_ends_early_is_noted(stage: Stage) -> None:
    body = stage.client.get_object(Bucket="lab", Key="dir/sub/c.bin")["Body"]
    body.read(10)
    body.close()
    wait_for(lambda: bool(_of(stage, "read", "lab", "dir/sub/c.bin")), "the note", 10)
    [*_, entry] = _of(stage, "read", "lab", "dir/sub/c.bin")
    assert entry.size == 307200
