"""The conditions of a request on the object that it is about, for buckets that the gateway itself keeps."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from airflow_magnus.gateway.faults import S3Error, no_such_key


def check_read(headers: Mapping[str, str], etag: str, modified: float) -> None:
    """Refuse a read whose conditions do not hold.

    :param headers: the ``If-…`` headers, by lower-case name.
    :param etag: of the object, with quotes.
    :raises S3Error: with status 304 or 412.
    """
    if "if-match" in headers:
        if not _names(headers["if-match"], etag):
            raise _failed("If-Match")
    elif "if-unmodified-since" in headers and _is_later(modified, headers["if-unmodified-since"]):
        raise _failed("If-Unmodified-Since")
    if "if-none-match" in headers:
        if _names(headers["if-none-match"], etag):
            raise S3Error("PreconditionFailed", "not modified", status=304)
    elif "if-modified-since" in headers and not _is_later(modified, headers["if-modified-since"], True):
        raise S3Error("PreconditionFailed", "not modified", status=304)


def check_write(headers: Mapping[str, str], key: str, etag: str | None) -> None:
    """Refuse a write whose conditions do not hold.

    :param etag: of what is at the key now, with quotes; None: nothing.
    :raises S3Error: when they do not.
    """
    none_match, match = headers.get("if-none-match", ""), headers.get("if-match", "")
    if none_match and etag is not None and _names(none_match, etag):
        raise _failed("If-None-Match")
    if match:
        if etag is None:
            raise no_such_key(key)
        if not _names(match, etag):
            raise _failed("If-Match")


def _names(value: str, etag: str) -> bool:
    items = [item.strip().removeprefix("W/").strip('"') for item in value.split(",")]
    return "*" in items or etag.strip('"') in items


def _is_later(modified: float, date: str, unknown: bool = False) -> bool:
    try:
        return int(modified) > parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return unknown


def _failed(condition: str) -> S3Error:
    return S3Error("PreconditionFailed", f"the condition {condition} does not hold")
