"""Names of the branches of a map, made of its items. Source: contract 8.

Text is its own name. What names cannot hold is escaped with ``~``: ``~~`` is "~", ``~d`` ".", ``~p`` "%", ``~m`` the
placeholder of maps, ``~uXXXX`` half of a surrogate pair, ``~e`` empty text; ``~b`` stands before blank text. ``~2``,
``~3`` … at the end tell items of equal text apart. No escape is ``~`` and a digit, so no item can be taken for another.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from airflow_magnus.pipeline.model import MAP_PLACEHOLDER

_LETTERS = {"~": "~", ".": "d", "%": "p", MAP_PLACEHOLDER: "m"}
_ESCAPED = re.compile(rf"{MAP_PLACEHOLDER}|[~.%\ud800-\udfff]")
_ESCAPE = re.compile(r"~(?:(?P<letter>[~dpm])|u(?P<code>d[89a-f][0-9a-f]{2})|[eb]|[0-9]+\Z)")


def item_text(value: Any) -> str:
    """Give an item as text: text as it is, any other JSON value as compact JSON, keys of mappings sorted.

    >>> item_text(True), item_text({"b": "ö", "a": [1, None]})
    ('true', '{"a":[1,null],"b":"ö"}')
    """
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def branch_names(items: Sequence[Any]) -> list[str]:
    """Give the name of each item's branch, in the order of the items.

    :returns: all different, none blank, none holding "." or "%"; a name depends on the item and on how many of equal
        text stand before it.
    """
    seen: Counter[str] = Counter()
    names: list[str] = []
    for item in items:
        text = item_text(item)
        seen[text] += 1
        names.append(_escaped(text) + (f"~{seen[text]}" if seen[text] > 1 else ""))
    return names


def text_of(branch_name: str) -> str:
    """Give the text of the item that :func:`branch_names` gave this name."""
    return _ESCAPE.sub(_unescaped, branch_name)


def _escaped(text: str) -> str:
    if not text:
        return "~e"
    blank = "" if text.strip() else "~b"
    return blank + _ESCAPED.sub(lambda match: f"~{_letter(match[0])}", text)


def _letter(found: str) -> str:
    return _LETTERS.get(found) or f"u{ord(found):04x}"


def _unescaped(match: re.Match[str]) -> str:
    if match["code"]:
        return chr(int(match["code"], 16))
    return next((text for text, letter in _LETTERS.items() if letter == match["letter"]), "")
