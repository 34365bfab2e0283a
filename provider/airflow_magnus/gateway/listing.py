"""Pages of a list of keys, made here: of folders, and of buckets that hold chosen objects."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from airflow_magnus.gateway.documents import rendered
from airflow_magnus.gateway.faults import S3Error
from airflow_magnus.gateway.rewriting import OWNER

MOST = 1_000
"""Keys of one page."""


@dataclass(frozen=True)
class Fact:
    """What is known of an object.

    :param modified: seconds since 1970.
    :param etag: with quotes.
    """

    size: int
    etag: str
    modified: float


def refuse_gaps(recorded: Iterable[str], there: Container[str]) -> None:
    """Make sure that all files are there which the run log names: a list without them would look whole.

    :raises S3Error: naming one that is not.
    """
    gone = next((key for key in recorded if key not in there), None)
    if gone is not None:
        raise S3Error(
            "NoSuchKey",
            f"{gone!r} is in the run log, and its file is gone from the catalog: run the step again that put it",
        )


@dataclass
class Page:
    """One page: keys and common prefixes in their order, and where the next one begins."""

    keys: list[str]
    prefixes: list[str]
    last: str = ""
    is_truncated: bool = False


def page_of(keys: Sequence[str], prefix: str, delimiter: str, after: str, most: int) -> Page:
    """One page of sorted keys.

    :param keys: sorted by their bytes.
    :param after: what the page begins behind: a key or a common prefix.
    """
    page = Page([], [])
    at = max(bisect_left(keys, prefix), bisect_right(keys, after) if after else 0)
    while at < len(keys) and keys[at].startswith(prefix):
        key = keys[at]
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        common = key[: cut + len(delimiter)] if cut >= 0 else ""
        if common and after.startswith(common):
            at = _behind(keys, common)
            continue
        if len(page.keys) + len(page.prefixes) >= most:
            page.is_truncated = most > 0
            break
        if common:
            page.prefixes.append(common)
            at = _behind(keys, common)
        else:
            page.keys.append(key)
            at += 1
        page.last = common or key
    return page


def list_document(
    bucket: str, query: Mapping[str, str], keys: Sequence[str], facts: Mapping[str, Fact]
) -> bytes:
    """The answer to ListObjects and ListObjectsV2.

    :raises S3Error: for a page size or a token that is none.
    """
    is_second = query.get("list-type") == "2"
    is_url = _is_url(query)
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    most = page_size(query)
    token = query.get("continuation-token", "")
    after = query.get("start-after", "") if is_second else query.get("marker", "")
    if is_second and token:
        after = _from_token(token)
    page = page_of(keys, prefix, delimiter, after, most)

    def written(text: str) -> str:
        return quote(text, safe="/") if is_url else text

    fields: list[tuple[str, Any]] = [("Name", bucket), ("Prefix", written(prefix)), ("MaxKeys", most)]
    if delimiter:
        fields.append(("Delimiter", written(delimiter)))
    if is_url:
        fields.append(("EncodingType", "url"))
    fields.append(("IsTruncated", page.is_truncated))
    if is_second:
        fields.append(("KeyCount", len(page.keys) + len(page.prefixes)))
        fields += [("ContinuationToken", token)] if "continuation-token" in query else []
        fields += [("StartAfter", written(query["start-after"]))] if query.get("start-after") else []
        fields += [("NextContinuationToken", _as_token(page.last))] if page.is_truncated else []
    else:
        fields.append(("Marker", written(after)))
        fields += [("NextMarker", written(page.last))] if page.is_truncated else []
    with_owner = not is_second or query.get("fetch-owner") == "true"
    fields += [("Contents", _content(written(key), facts[key], with_owner=with_owner)) for key in page.keys]
    fields += [("CommonPrefixes", [("Prefix", written(common))]) for common in page.prefixes]
    return rendered("ListBucketResult", fields)


def page_size(query: Mapping[str, str], name: str = "max-keys") -> int:
    """How many keys a page has at most.

    :raises S3Error: when that is no number.
    """
    text = query.get(name) or str(MOST)
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise S3Error("InvalidArgument", f"{name} is a number, not {text!r}")
    return min(int(text), MOST)


def timestamp(seconds: float) -> str:
    """A time as S3's documents have it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _content(key: str, fact: Fact, *, with_owner: bool) -> list[tuple[str, Any]]:
    return [
        ("Key", key),
        ("LastModified", timestamp(fact.modified)),
        ("ETag", fact.etag),
        ("Size", fact.size),
        *([("Owner", OWNER)] if with_owner else []),
        ("StorageClass", "STANDARD"),
    ]


def _behind(keys: Sequence[str], common: str) -> int:
    """Where the keys below a common prefix end."""
    return (
        bisect_left(keys, common[:-1] + chr(ord(common[-1]) + 1)) if common[-1] < "\U0010ffff" else len(keys)
    )


def _is_url(query: Mapping[str, str]) -> bool:
    kind = query.get("encoding-type", "")
    if kind not in ("", "url"):
        raise S3Error("InvalidArgument", f"encoding-type is url, not {kind!r}")
    return kind == "url"


def _as_token(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _from_token(token: str) -> str:
    try:
        key = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        key = ""
    if not key:
        raise S3Error("InvalidArgument", "the continuation token is not one of this gateway")
    return key
