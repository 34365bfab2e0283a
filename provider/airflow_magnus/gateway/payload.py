"""The body of a request, checked against everything that its headers and trailers claim before its last bytes are given."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import tempfile
from collections.abc import AsyncIterator
from typing import IO, Protocol

from airflow_magnus.gateway.checksums import Checksum, checksum
from airflow_magnus.gateway.faults import S3Error
from airflow_magnus.gateway.frames import FrameReader
from airflow_magnus.gateway.signatures import UNSIGNED, Headers, Signed

CHECKSUM = "x-amz-checksum-"
MOST = 5 * 1024**3
"""Largest body, in bytes: what S3 takes in one request."""
_NO_CHECKSUMS = ("x-amz-checksum-type", "x-amz-checksum-mode", "x-amz-checksum-algorithm")
_PATIENCE = 60.0
"""Seconds to wait for the next bytes of a client."""
_IN_MEMORY = 1024 * 1024
_FRAMED = {
    # signed, with trailer
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": (True, False),
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": (True, True),
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER": (False, True),
}


class Source(Protocol):
    """Where bytes of a request come from."""

    async def readany(self) -> bytes:
        """Give what has arrived; nothing at the end."""


class Body:
    """The content of a request.

    :param length: of the content, in bytes.
    :param trailers: checksums that came behind the content, by header; whole when the content was read.
    :param with_md5: take the MD5 too.

    ``fault`` is what was wrong, for those who hand the blocks on to something that hides errors.
    """

    def __init__(self, source: Source, headers: Headers, signed: Signed, *, with_md5: bool = False) -> None:
        self.trailers: dict[str, str] = {}
        self.fault: S3Error | None = None
        self._source = source
        self._payload = signed.payload
        self._frames, self.length = _framing(headers, signed)
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if with_md5 or "content-md5" in headers else None
        self._wanted_md5 = _md5_of(headers)
        self._checks: dict[str, tuple[Checksum, str]] = {}
        self.announced = _announced(headers)
        for name, value in self.announced.items():
            taken = checksum(name.removeprefix(CHECKSUM))
            if taken is not None:
                if value and len(_decoded(value)) != len(_decoded(taken.text())):
                    raise S3Error("InvalidRequest", f"the value of {name} is no such checksum")
                self._checks[name] = (taken, value)

    @property
    def sha256(self) -> str:
        """Hex, of the content that was read."""
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str:
        """Hex, of the content that was read; only where it was asked for."""
        return self._md5.hexdigest() if self._md5 else ""

    @property
    def has_trailer(self) -> bool:
        """Whether checksums are known at the end only."""
        return "" in self.announced.values()

    async def blocks(self) -> AsyncIterator[bytes]:
        """Give the content; the last block only when all of it was right, so that nothing wrong is ever whole.

        :raises S3Error: when it is not what was signed or announced.
        """
        held = b""
        try:
            async for block in self._content():
                if held:
                    yield held
                held = block
            self._check()
        except S3Error as fault:
            self.fault = fault
            raise
        if held:
            yield held

    async def whole(self, most: int) -> bytes:
        """Give the content at once.

        :raises S3Error: when it is longer than ``most`` bytes, or wrong.
        """
        if self.length > most:
            raise S3Error("MalformedXML", f"the body of this request has at most {most} bytes")
        return b"".join([block async for block in self.blocks()])

    async def spooled(self) -> IO[bytes]:
        """Give the content as a file that is gone when it is closed: in memory when it is small."""
        file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - the caller closes it
        try:
            async for block in self.blocks():
                file.write(block)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    async def _content(self) -> AsyncIterator[bytes]:
        read = 0
        async for data in self._received():
            for block in self._frames.feed(data) if self._frames else (data,):
                read += len(block)
                self._take(block)
                yield block
        if self._frames:
            self._frames.finish()
            self.trailers = self._frames.trailers
        if read != self.length:
            raise S3Error("IncompleteBody", f"the body has {read} bytes and was announced with {self.length}")

    async def _received(self) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(_PATIENCE):
                    data = await self._source.readany()
            except TimeoutError:
                raise S3Error("RequestTimeout", f"nothing of the body came for {_PATIENCE:.0f} s") from None
            if not data:
                return
            yield data

    def _take(self, block: bytes) -> None:
        self._sha256.update(block)
        if self._md5:
            self._md5.update(block)
        for taken, _ in self._checks.values():
            taken.update(block)

    def _check(self) -> None:
        if self._payload != UNSIGNED and not self._frames and self._payload != self.sha256:
            raise S3Error("XAmzContentSHA256Mismatch", "the body is not the one that was signed")
        if self._wanted_md5 and self._wanted_md5 != self.md5:
            raise S3Error("BadDigest", "the body does not have the Content-MD5 that was announced")
        for name, (taken, announced) in self._checks.items():
            expected = announced or self.trailers.get(name, "")
            if not expected:
                raise S3Error("InvalidRequest", f"the trailer {name} was announced and did not come")
            if taken.text() != expected:
                raise S3Error("BadDigest", f"the body does not have the {name} that was announced")


def _framing(headers: Headers, signed: Signed) -> tuple[FrameReader | None, int]:
    payload = signed.payload
    if not payload.startswith("STREAMING-"):
        if payload != UNSIGNED and (len(payload) != 64 or payload.strip("0123456789abcdef")):
            raise S3Error("InvalidArgument", "x-amz-content-sha256 is a sha256 or one of the words of S3")
        return None, _length(headers, "content-length")
    if payload not in _FRAMED:
        raise S3Error("InvalidRequest", f"bodies of kind {payload} are not known here")
    is_signed, has_trailer = _FRAMED[payload]
    length = _length(headers, "x-amz-decoded-content-length")
    return FrameReader(signed if is_signed else None, has_trailer=has_trailer, length=length), length


def _length(headers: Headers, name: str) -> int:
    values = headers.get(name, ())
    if not values:
        if name == "content-length" and "transfer-encoding" not in headers:
            return 0
        raise S3Error("MissingContentLength", f"the header {name} is missing")
    if len(values) > 1 or not values[0].isascii() or not values[0].isdigit() or len(values[0]) > 15:
        raise S3Error("InvalidArgument", f"{name} is a number of bytes")
    length = int(values[0])
    if length > MOST:
        raise S3Error("InvalidRequest", f"a request has at most {MOST} bytes", status=400)
    return length


def _announced(headers: Headers) -> dict[str, str]:
    """The checksums that come with the content: their values, or "" where they follow it."""
    found = {
        name: values[0].strip()
        for name, values in headers.items()
        if name.startswith(CHECKSUM) and name not in _NO_CHECKSUMS
    }
    for name in ",".join(headers.get("x-amz-trailer", ())).lower().split(","):
        if name.strip().startswith(CHECKSUM):
            found[name.strip()] = ""
    return found


def _md5_of(headers: Headers) -> str:
    if "content-md5" not in headers:
        return ""
    raw = _decoded(headers["content-md5"][0].strip())
    if len(raw) != 16:
        raise S3Error("InvalidDigest", "Content-MD5 is the base64 of 16 bytes")
    return raw.hex()


def _decoded(value: str) -> bytes:
    """The bytes of a base64; none where it is not one."""
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return b""
