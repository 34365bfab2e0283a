"""Records as texts and back: what cannot be read is an error that names the object, and is never written."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from airflow_magnus.errors import RecordError
from airflow_magnus.runlog.records import Record

MAX_LEVELS = 100
"""How deep a value of a run may be nested: readers of JSON take 200 levels, and the records around it need some."""

_LARGE = 1_000_000
"""Characters from which on reading takes two thirds of its time for the search for garbage, of which it makes none."""
_pausing = threading.Lock()
_pauses = 0

R = TypeVar("R", bound=Record)


def record_of(kind: type[R], text: str, place: str) -> R:
    """The record that a text holds.

    :param place: of the object, for people.
    :raises RecordError: when it holds none, or a key is there twice: readers would not agree what it says.
    """
    try:
        with _paused(len(text) > _LARGE):
            found = kind.model_validate_json(text)
            json.loads(text, object_pairs_hook=_once)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        at = ".".join(map(str, first["loc"]))
        raise unreadable(place, f"{at}: {first['msg']}" if at else first["msg"]) from error
    except (ValueError, RecursionError) as error:
        raise unreadable(place, error) from error
    return found


@contextmanager
def _paused(is_large: bool) -> Iterator[None]:
    """Let Python search for no garbage meanwhile; of threads that ask for it the last one to end lets it go on."""
    global _pauses
    with _pausing:
        is_mine = is_large and (_pauses > 0 or gc.isenabled())
        if is_mine:
            gc.disable()
            _pauses += 1
    try:
        yield
    finally:
        with _pausing:
            if is_mine:
                _pauses -= 1
                if not _pauses:
                    gc.enable()


def unreadable(place: str, reason: object) -> RecordError:
    """The error of an object that is no record."""
    return RecordError(
        f"{place} cannot be read: {' '.join(str(reason).split())[:300]}. Nothing of magnus writes such an object: bring "
        "back the one that was there, or move it away (a run's <run id>.json is made anew from its folder)"
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:100]!r} is there twice")
    return found


def text_of(record: Record, what: str) -> str:
    """The text of a record that can be read again.

    :param what: of the run is written, for people.
    :raises RecordError: when its values are of a kind or depth that nobody could read again.
    """
    try:
        text = record.model_dump_json()
        from_json(text)
    except ValueError as error:
        raise RecordError(
            f"{what} cannot be recorded: {error}; values may be nested {MAX_LEVELS} levels deep"
        ) from error
    return text


def is_deeper(value: Any, levels: int = MAX_LEVELS) -> bool:
    """Whether lists and mappings are nested deeper than so many levels."""
    inside = [value]
    for _ in range(levels + 1):
        nested = [one for one in inside if isinstance(one, list | tuple | dict)]
        inside = [item for one in nested for item in (one.values() if isinstance(one, dict) else one)]
    return bool(nested)
