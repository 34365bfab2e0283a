"""The pure parts of the gateway."""

from __future__ import annotations

import base64
import random

import pytest

from airflow_magnus.gateway.checksums import checksum
from airflow_magnus.gateway.faults import S3Error
from airflow_magnus.gateway.ledger import MOST_RANGES, Ledger
from airflow_magnus.gateway.listing import page_of
from airflow_magnus.gateway.opened import requested
from airflow_magnus.gateway.rewriting import Names, rewritten
from airflow_magnus.gateway.target import checked_key, encoded_query, parse_copy_source, parse_target


@pytest.mark.parametrize(
    ("name", "expected"),
    [("crc32", "cbf43926"), ("crc32c", "e3069283"), ("crc64nvme", "ae8b14860a799888")],
)
def test_checksums_of_the_standard_text(name: str, expected: str) -> None:
    for pieces in ([b"123456789"], [b"1234", b"", b"56789"]):
        taken = checksum(name)
        assert taken is not None
        for piece in pieces:
            taken.update(piece)
        assert base64.b64decode(taken.text()).hex() == expected


def test_an_unknown_checksum_is_none() -> None:
    assert checksum("crc128") is None


@pytest.mark.parametrize(
    ("text", "bucket", "key"),
    [
        ("/", "", ""),
        ("/lab", "lab", ""),
        ("/lab/", "lab", ""),
        ("/lab/a%20b", "lab", "a b"),
        ("/lab/a+b", "lab", "a+b"),
        ("/lab//a", "lab", "/a"),
        ("/lab/%2541", "lab", "%41"),
        ("/lab/a?x=1&y", "lab", "a"),
    ],
)
def test_targets_are_decoded_once(text: str, bucket: str, key: str) -> None:
    target = parse_target(text)
    assert (target.bucket, target.key) == (bucket, key)


@pytest.mark.parametrize(
    "key", ["a/../b", "..", "./a", "a\\..\\b", "%2e%2e/a", "%25252e%25252e", "a/%2e", "\0", "k" * 1025]
)
def test_keys_that_lead_elsewhere_are_refused(key: str) -> None:
    with pytest.raises(S3Error):
        checked_key(key)


@pytest.mark.parametrize("key", ["a..b", "...", "a/.../b", ".hidden", "100%", "%zz", "k" * 1024])
def test_other_keys_are_not(key: str) -> None:
    assert checked_key(key) == key


def test_copy_sources_are_read() -> None:
    assert parse_copy_source("/lab/a%20b?versionId=v%201") == ("lab", "a b", "v%201")
    assert parse_copy_source("lab%2Fa") == ("lab", "a", "")
    assert encoded_query([("b", "ä /"), ("a", "")]) == "a=&b=%C3%A4%20%2F"


@pytest.mark.parametrize("seed", range(20))
def test_pages_of_any_size_join_to_the_whole(seed: int) -> None:
    chance = random.Random(seed)
    keys = sorted({"".join(chance.choices("ab/", k=chance.randint(1, 6))) for _ in range(60)})
    for prefix in ("", "a", "a/", "b/a"):
        for delimiter in ("", "/", "a/"):
            whole = page_of(keys, prefix, delimiter, "", 1000)
            for most in (1, 2, 7):
                after, found_keys, found_prefixes = "", [], []
                while True:
                    page = page_of(keys, prefix, delimiter, after, most)
                    found_keys += page.keys
                    found_prefixes += page.prefixes
                    after = page.last
                    if not page.is_truncated:
                        break
                assert (found_keys, found_prefixes) == (whole.keys, whole.prefixes)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-9", (0, 9)),
        ("bytes=5-", (5, 99)),
        ("bytes=-10", (90, 99)),
        ("bytes=-1000", (0, 99)),
        ("bytes=90-1000", (90, 99)),
        ("bytes=0-1,3-4", None),
        ("bytes=9-3", None),
        ("lines=1-2", None),
        ("bytes=-", None),
    ],
)
def test_ranges(header: str, expected: tuple[int, int] | None) -> None:
    assert requested(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=-0", "bytes=500-600"])
def test_ranges_without_a_byte_are_refused(header: str) -> None:
    with pytest.raises(S3Error):
        requested(header, 100)


def test_the_ledger_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_magnus.gateway.ledger.MOST_OBJECTS", 1000)
    ledger = Ledger()
    for number in range(1005):
        ledger.read("lab", str(number), size=1, etag="e")
    for number in range(1000):
        ledger.read("lab", "0", size=10_000, etag="other", part=(number * 10, number * 10 + 1))
    found = ledger.as_json()
    assert (len(found["entries"]), found["left_out"]) == (1000, 1005)
    ledger = Ledger()
    for number in range(1000):
        ledger.read("lab", "0", size=10_000, etag="e", part=(number * 10, number * 10 + 1))
    [entry] = ledger.as_json()["entries"]
    assert len(entry["ranges"]) <= MOST_RANGES


def test_a_read_of_all_in_parts_is_a_whole_one() -> None:
    ledger = Ledger()
    for part in ((5, 9), (0, 4)):
        ledger.read("lab", "a", size=10, etag='"e"', part=part)
    [entry] = ledger.as_json()["entries"]
    assert (entry["ranges"], entry["etag"], entry["times"]) == ([], "e", 2)


def test_documents_lose_what_is_real() -> None:
    document = b"""<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>real</Name>
    <Prefix>cat/run/</Prefix><EncodingType>url</EncodingType><Contents><Key>cat/run/a%2Bb+c</Key>
    <Owner><ID>someone</ID></Owner></Contents><Contents><Key>elsewhere/x</Key></Contents>
    <CommonPrefixes><Prefix>cat/run/d/</Prefix></CommonPrefixes></ListBucketResult>"""
    found = rewritten(document, Names("lab", "cat/run/")).decode()
    assert "<Name>lab</Name>" in found
    assert "<Prefix></Prefix>" in found
    assert "<Key>a+b c</Key>" in found
    assert "<CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes>" in found
    assert not {"real", "someone", "elsewhere", "cat/"} & {
        word for word in ("real", "someone", "elsewhere", "cat/") if word in found
    }
