"""The beginning of a file, which most kinds of preview are made of."""

from __future__ import annotations

import codecs
import hashlib
import zlib
from dataclasses import dataclass, replace

from airflow_magnus.stores.reading import StoredFile

MOST = 256 * 1024
"""Bytes of a file that are read for a look at it."""
_GZIP = b"\x1f\x8b\x08"
_MARKS = (
    (codecs.BOM_UTF8, "UTF-8"),
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\r\f\x1b")
_MOST_CONTROLS = 0.01


@dataclass(frozen=True)
class Sample:
    """The first bytes of a file.

    :param name: of the file; of one that was compressed without the ending that says so.
    :param is_whole: whether there is no more.
    :param is_unpacked: the file is compressed, and these are the bytes inside.
    :param digest: sha256 hex of the file; "" when not all of it was read.
    """

    name: str
    data: bytes
    is_whole: bool
    is_unpacked: bool = False
    digest: str = ""

    @property
    def ending(self) -> str:
        """What follows the last dot of the name, in small letters; "" for none."""
        stem, dot, ending = self.name.rpartition("/")[2].rpartition(".")
        return ending.lower() if dot and stem else ""


def sample_of(file: StoredFile, most: int = MOST) -> Sample:
    """The beginning of a file; of one that gzip has compressed, that of what is inside. Cost: 1 request."""
    data = file.head(most)
    is_whole = len(data) == file.size
    digest = hashlib.sha256(data).hexdigest() if is_whole else ""
    sample = Sample(file.entry.name, data, is_whole, digest=digest)
    return _unpacked(sample, most) if data.startswith(_GZIP) else sample


def text_of(sample: Sample) -> tuple[str, str] | None:
    """The text of a file, and how it is encoded; None when it is no text."""
    data = sample.data
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decoded(data, "utf-8-sig" if encoding == "UTF-8" else encoding), encoding
    if b"\0" in data:
        return None
    try:
        # What was cut may end amid a character.
        return codecs.getincrementaldecoder("utf-8")().decode(data, final=sample.is_whole), "UTF-8"
    except UnicodeDecodeError:
        pass
    if sum(data.count(byte) for byte in _CONTROLS) > _MOST_CONTROLS * len(data):
        return None
    return data.decode("cp1252", "replace"), "Windows-1252, by guess"


def _decoded(data: bytes, encoding: str) -> str:
    return codecs.getincrementaldecoder(encoding)("replace").decode(data)


def _unpacked(sample: Sample, most: int) -> Sample:
    unpacking = zlib.decompressobj(wbits=31)
    try:
        data = unpacking.decompress(sample.data, most)
    except zlib.error:
        return sample
    name = sample.name[:-3] if sample.name.lower().endswith(".gz") else sample.name
    is_whole = sample.is_whole and unpacking.eof and not unpacking.unused_data
    return replace(sample, name=name, data=data, is_whole=is_whole, is_unpacked=True)
