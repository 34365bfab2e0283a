"""The first bytes of what is no other kind of file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from airflow_magnus.ui.previews.sample import Sample

_SHOWN, _LINE = 512, 16


@dataclass(frozen=True)
class BinaryPreview:
    """Bytes in hexadecimal, sixteen a line, and beside them what is ASCII."""

    template: ClassVar[str] = "previews/text.html"
    what: str
    text: str
    is_cut: bool


def binary_preview(sample: Sample) -> BinaryPreview:
    """Show the first bytes."""
    data = sample.data[:_SHOWN]
    lines = [_line(start, data[start : start + _LINE]) for start in range(0, len(data), _LINE)]
    is_cut = not sample.is_whole or len(sample.data) > _SHOWN
    return BinaryPreview("No text: its first bytes in hexadecimal", "\n".join(lines), is_cut)


def _line(start: int, data: bytes) -> str:
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)
    return f"{start:08x}  {data.hex(' '):<{_LINE * 3 - 1}}  {text}"
