"""The list that a map iterates on: what is wrong with one, and what to do."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Mapping
from typing import Any

from airflow.providers.common.compat.sdk import conf

_SHOWN = 60
"""Characters of a value."""


def no_parameter(name: str, there: Collection[str]) -> str:
    """Say that there is no such parameter."""
    return (
        f"there is no parameter {name!r} to iterate on; this run has: {', '.join(sorted(there)) or 'none'}. "
        "Give it at the start, or return it from a step before"
    )


def no_list(name: str, value: Any, initial: Mapping[str, Any]) -> str:
    """Say that a value is no list; of a text that the run was given, as by an option of the command line, how to give one.

    :param initial: parameters that the run began with.
    """
    fault = (
        f"parameter {name!r} is no list but {type(value).__name__} ({str(value)[:_SHOWN]!r}): "
        "a map iterates on a list"
    )
    if not isinstance(value, str) or initial.get(name) != value:
        return fault
    text = _as_list(value)
    if len(text) > _SHOWN:
        text = "[…]"
    return (
        f"{fault}. Give one in a file (--parameters-file), on Airflow in the run's configuration ({{{json.dumps(name)}: "
        f"{text}}}), or by --{name} {shlex.quote(text)}, which is a list only where the pipeline file declares {name} "
        "below parameters with a list as its default, or with type: array"
    )


def _as_list(text: str) -> str:
    """The JSON of the list that somebody may have meant by a text."""
    try:
        meant = json.loads(text)
    except (ValueError, RecursionError):
        meant = None
    if not isinstance(meant, list):
        meant = [part.strip() for part in text.strip("[]()").split(",")]
    return json.dumps(meant, ensure_ascii=False)


def too_many(items: int) -> str:
    """Say what to do when a map has more items than Airflow allows; "" when it has not. Looked at before Airflow does."""
    limit = conf.getint("core", "max_map_length", fallback=1024)
    if items <= limit:
        return ""
    return (
        f"the map has {items} items, and this Airflow allows {limit} (of maps inside maps all tuples count): set "
        f"[core] max_map_length (AIRFLOW__CORE__MAX_MAP_LENGTH) to {items} or more for scheduler and workers, "
        "or give the map fewer items"
    )
