"""Pictures. They are sent as what an ``img`` element shows, which runs nothing; opened by themselves they are saved."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import ClassVar

from airflow_magnus.ui.previews.sample import Sample, text_of

LARGEST = 20 * 1024 * 1024
"""Bytes of a picture that is shown."""
_MOST_PIXELS = 100_000_000
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_SVG = re.compile(r"\s*(?:<\?xml[^>]*>|<!--.*?-->|<!DOCTYPE[^>]*>|\s)*<svg[\s>]", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class ImagePreview:
    """A picture.

    :param what: kind and size, for people.
    :param refusal: why it is not shown; "" when it is.
    """

    template: ClassVar[str] = "previews/image.html"
    what: str
    refusal: str = ""


def image_type(sample: Sample) -> str:
    """The media type of a picture by its first bytes, whatever it is called; "" when it is none that is shown."""
    if sample.is_unpacked:
        return ""  # the browser would get it compressed
    if sample.data.startswith(_PNG):
        return "image/png"
    if sample.data.startswith(_JPEG):
        return "image/jpeg"
    if sample.ending == "svg" and (found := text_of(sample)) and _SVG.match(found[0][:10_000]):
        return "image/svg+xml"
    return ""


def image_preview(sample: Sample, size: int) -> ImagePreview | None:
    """Show a picture; None when the file is none.

    :param size: bytes of the file.
    """
    kind = image_type(sample)
    if not kind:
        return None
    what = {"image/png": "PNG picture", "image/jpeg": "JPEG picture"}.get(kind, "SVG picture")
    if size > LARGEST:
        return ImagePreview(what, "It is too large to be shown here.")
    if kind == "image/png" and len(sample.data) >= 24:
        width, height = struct.unpack(">II", sample.data[16:24])
        what += f", {width:,} × {height:,}"
        if width * height > _MOST_PIXELS:
            return ImagePreview(what, "It has too many pixels to be shown here.")
    return ImagePreview(what)
