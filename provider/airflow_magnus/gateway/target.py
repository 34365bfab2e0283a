"""What a request is about: bucket, key and query, read from the text of its request line without any normalising."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, unquote_to_bytes

from airflow_magnus.gateway.faults import S3Error

UNRESERVED = "-._~"
LONGEST_KEY = 1_024
"""Bytes of UTF-8."""
_SEPARATORS = re.compile(r"[/\\]")
_DECODINGS = 8


@dataclass(frozen=True)
class Target:
    """What a request is about.

    :param bucket: "" for the service itself.
    :param key: "" for the bucket itself.
    :param query: decoded; the last value of a name counts.
    :param path: as it stands in the request line.
    :param pairs: the query, decoded, in its order.
    """

    bucket: str
    key: str
    query: Mapping[str, str]
    path: str
    pairs: tuple[tuple[str, str], ...]


def parse_target(text: str) -> Target:
    """Read the target of a request line; what is decoded is decoded once.

    :raises S3Error: when it is an address of another server, no text, or leads out of the bucket.
    """
    if not text.startswith("/") or "#" in text:
        raise S3Error("InvalidURI", "the target of a request begins with / and has no #")
    path, _, query = text.partition("?")
    bucket, _, key = path[1:].partition("/")
    pairs = tuple(_pair(item) for item in query.split("&") if item)
    return Target(_decoded(bucket), checked_key(_decoded(key)), dict(pairs), path, pairs)


def parse_copy_source(value: str) -> tuple[str, str, str]:
    """Give bucket, key and version ("" for the newest) of an ``x-amz-copy-source`` header.

    :raises S3Error: as of :func:`parse_target`.
    """
    place, _, version = value.partition("?versionId=")
    bucket, _, key = _decoded(place).removeprefix("/").partition("/")
    if not bucket or not key:
        raise S3Error("InvalidArgument", "x-amz-copy-source is bucket/key, percent-encoded")
    return bucket, checked_key(key), version


def checked_key(key: str) -> str:
    """A key that stays in its bucket whatever the store behind makes of it.

    :raises S3Error: for segments ``.`` and ``..``, however often they are encoded and whichever slash divides them.
    """
    if len(key.encode()) > LONGEST_KEY:
        raise S3Error("KeyTooLongError", f"a key has at most {LONGEST_KEY} bytes")
    if "\0" in key or _climbs(key):
        raise S3Error("InvalidURI", "a key has no segments '.' and '..' and no zero bytes, encoded or not")
    return key


def encoded(key: str) -> str:
    """A key as it stands in a URL."""
    return quote(key, safe="/" + UNRESERVED)


def encoded_query(pairs: list[tuple[str, str]]) -> str:
    """A query as AWS signs it: sorted, everything encoded but the unreserved characters."""
    items = sorted((quote(name, safe=UNRESERVED), quote(value, safe=UNRESERVED)) for name, value in pairs)
    return "&".join(f"{name}={value}" for name, value in items)


def _climbs(key: str) -> bool:
    for _ in range(_DECODINGS):
        if any(segment in (".", "..") for segment in _SEPARATORS.split(key)):
            return True
        plain = unquote(key)
        if plain == key:
            return False
        key = plain
    return True


def _pair(item: str) -> tuple[str, str]:
    name, _, value = item.partition("=")
    return _decoded(name.replace("+", " ")), _decoded(value.replace("+", " "))


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode()
    except UnicodeDecodeError:
        raise S3Error("InvalidURI", "names are UTF-8, percent-encoded") from None
