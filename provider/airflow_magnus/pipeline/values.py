"""Checks of single values by the kind that a table of keys gives them."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow_magnus.pipeline.cursor import Cursor, described, unknown
from airflow_magnus.pipeline.durations import FORMS, parse_duration
from airflow_magnus.pipeline.patches import check_patches

ADDRESSING_STYLES = ("auto", "path", "virtual")


def check_values(section: Cursor, kinds: Mapping[str, str], *, allow_null: bool = True) -> None:
    """Check every value of a mapping by its kind in ``kinds``; keys that are not there are passed over.

    :param allow_null: null counts as not given.
    """
    for key, entry in section.items():
        if key in kinds and not (allow_null and entry.value is None):
            KINDS[kinds[key]](entry)


def given(section: Cursor, kinds: Mapping[str, str]) -> dict[str, Any]:
    """Give the settings of a checked mapping that are not null; flags that are written as text become booleans."""
    values = {key: entry.value for key, entry in section.items() if entry.value is not None}
    return {
        key: str(value).lower() == "true" if kinds.get(key) == "flag" else value
        for key, value in values.items()
    }


def is_outside(path: str) -> bool:
    """True for a path that is absolute, or that leaves its folder by ``..`` somewhere on the way."""
    depth = 0
    for part in PurePosixPath(path).parts:
        depth += {"..": -1, "/": 0, "//": 0, ".": 0}.get(part, 1)
        if depth < 0:
            return True
    return PurePosixPath(path).is_absolute()


def check_folder(entry: Cursor) -> None:
    """Check a folder: text, relative, not leading out of the working folder."""
    folder = entry.as_text()
    if folder is not None and is_outside(folder):
        entry.fault(f'"{folder}" leads out of the working folder; write a relative path without ".."')


def check_pattern(entry: Cursor) -> None:
    """Check a glob pattern of the catalog: below the compute data folder."""
    pattern = entry.value
    if not isinstance(pattern, str):
        return
    parts = PurePosixPath(pattern).parts
    if pattern.startswith("/") or ".." in parts:
        entry.fault(
            f'"{pattern}" leads out of the compute data folder; write a pattern relative to it, without ".."'
        )


def check_duration(entry: Cursor) -> None:
    """Check a length of time."""
    if isinstance(entry.value, str | int | float) and not isinstance(entry.value, bool):
        try:
            parse_duration(entry.value)
        except ValueError as error:
            entry.fault(str(error))
    else:
        entry.fault(f"must be a length of time, not {described(entry.value)}: write {FORMS}")


def check_moment(entry: Cursor) -> None:
    """Check a date, with or without a time."""
    if isinstance(entry.value, datetime.date):
        return
    try:
        datetime.datetime.fromisoformat(entry.value)
    except (TypeError, ValueError):
        entry.fault(
            f"must be a date such as 2024-01-31 or 2024-01-31T06:00:00+00:00, not {described(entry.value)}"
        )


def check_timezone(entry: Cursor) -> None:
    """Check the name of a time zone."""
    name = entry.as_text()
    if name is None:
        return
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        entry.fault(f'"{name}" is no time zone; write a name such as UTC or Europe/Berlin')


def _check_backoff(entry: Cursor) -> None:
    value = entry.value
    if not isinstance(value, bool | int | float) or value < 0:
        entry.fault(f"must be true, false or a factor, not {described(value)}")


def _check_style(entry: Cursor) -> None:
    style = entry.as_text()
    if style is not None and style not in ADDRESSING_STYLES:
        entry.fault(unknown("addressing style", style, ADDRESSING_STYLES))


def _check_json_mapping(entry: Cursor) -> None:
    if entry.as_mapping() is not None:
        entry.is_json()


def _check_text_mapping(entry: Cursor) -> None:
    if entry.as_mapping() is not None:
        for _, item in entry.items():
            item.as_text()


def _check_path_inside(entry: Cursor) -> None:
    path = entry.as_text()
    if path is not None and (not path.startswith("/") or ".." in path.split("/") or not path.strip("/")):
        entry.fault(f'"{path}" must be an absolute path in the container, below /, without ".."')


KINDS: Mapping[str, Callable[[Cursor], object]] = {
    "text": Cursor.as_text,
    "any text": lambda entry: entry.as_text(empty=True),
    "texts": Cursor.as_texts,
    "text mapping": _check_text_mapping,
    "integer": Cursor.as_integer,
    "count": lambda entry: entry.as_integer(0),
    "positive": lambda entry: entry.as_integer(1),
    "flag": Cursor.as_flag,
    "mapping": _check_json_mapping,
    "folder": check_folder,
    "path inside": _check_path_inside,
    "patches": check_patches,
    "duration": check_duration,
    "moment": check_moment,
    "timezone": check_timezone,
    "backoff": _check_backoff,
    "style": _check_style,
}
"""Kind of a value to its check."""
