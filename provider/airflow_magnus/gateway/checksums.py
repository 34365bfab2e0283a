"""The checksums that S3 knows, taken while bytes pass."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable
from functools import cache
from typing import Protocol

_CRC32C = 0x82F63B78
_CRC64NVME = 0x9A6C9329AC4BC9B5

Step = Callable[[bytes, int], int]
"""Gives the checksum of some bytes that follow those of an earlier checksum."""


class Checksum(Protocol):
    """Takes bytes, and gives what S3 writes of them: base64."""

    def update(self, data: bytes, /) -> None:
        """Take the next bytes."""

    def text(self) -> str:
        """Give the checksum so far."""


class _Crc:
    def __init__(self, step: Step, size: int) -> None:
        self._step, self._size, self._value = step, size, 0

    def update(self, data: bytes, /) -> None:
        self._value = self._step(data, self._value)

    def text(self) -> str:
        return base64.b64encode(self._value.to_bytes(self._size, "big")).decode()


class _Digest:
    def __init__(self, name: str) -> None:
        self._hash = hashlib.new(name, usedforsecurity=False)
        self.update = self._hash.update

    def text(self) -> str:
        return base64.b64encode(self._hash.digest()).decode()


def checksum(name: str) -> Checksum | None:
    """A checksum by the name that S3's headers have: ``crc32c``; None for one that is not known."""
    if name in ("sha1", "sha256", "md5"):
        return _Digest(name)
    if name in ("crc32", "crc32c", "crc64nvme"):
        return _Crc(_step(name), 8 if name == "crc64nvme" else 4)
    return None


@cache
def _step(name: str) -> Step:
    if name == "crc32":
        return zlib.crc32
    try:
        from awscrt import checksums  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return _by_table(_CRC32C, 32) if name == "crc32c" else _by_table(_CRC64NVME, 64)
    step: Step = checksums.crc32c if name == "crc32c" else checksums.crc64nvme
    return step


def _by_table(polynomial: int, bits: int) -> Step:
    """In plain Python, some MB a second: what there is without awscrt."""
    mask = (1 << bits) - 1
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
        table.append(value)

    def step(data: bytes, before: int) -> int:
        value = before ^ mask
        for byte in data:
            value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
        return value ^ mask

    return step
