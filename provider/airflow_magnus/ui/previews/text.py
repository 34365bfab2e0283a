"""Text, and JSON with its lines set out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from airflow_magnus.ui.previews.sample import Sample, text_of

_LONGEST = 100_000
"""Characters that are shown."""
_JSON = ("json", "geojson", "webmanifest")


@dataclass(frozen=True)
class TextPreview:
    """The beginning of a text.

    :param what: kind and encoding, for people.
    """

    template: ClassVar[str] = "previews/text.html"
    what: str
    text: str
    is_cut: bool


def text_preview(sample: Sample) -> TextPreview | None:
    """Show a text; None when the file is none."""
    found = text_of(sample)
    if found is None:
        return None
    text, encoding = found
    what = f"Text, {encoding}"
    if sample.ending in _JSON and (indented := _indented(sample, text)):
        text, what = indented, "JSON"
    return TextPreview(what, text[:_LONGEST], not sample.is_whole or len(text) > _LONGEST)


def _indented(sample: Sample, text: str) -> str:
    """JSON with its lines set out; "" when it is none, or not all of it was read."""
    if not sample.is_whole:
        return ""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return ""
