"""Bodies in frames (``aws-chunked``): each with its length and perhaps its signature, at the end perhaps checksums."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

from airflow_magnus.gateway.faults import S3Error
from airflow_magnus.gateway.signatures import Signed

_LONGEST_HEAD = 512
_LONGEST_TRAILER = 4_096
_EMPTY = hashlib.sha256(b"").hexdigest()


class FrameReader:
    """Takes the bytes of a body as they arrive and gives those of the content.

    :param signed: signs the frames; None when they are not signed.
    :param has_trailer: whether names and values follow the last frame.
    :param length: of the content, in bytes.
    """

    def __init__(self, signed: Signed | None, *, has_trailer: bool, length: int) -> None:
        self.trailers: dict[str, str] = {}
        self._signed, self._has_trailer = signed, has_trailer
        self._left = length
        self._before = signed.signature if signed else ""
        self._head = bytearray()
        self._in_frame = 0
        self._state = "head"
        self._hash = hashlib.sha256()
        self._claimed = ""
        self._trailer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Give the content in ``data``.

        :raises S3Error: when a frame is malformed, too long, or its signature wrong.
        """
        at = 0
        while at < len(data):
            if self._state == "data":
                block = data[at : at + self._in_frame] if at or len(data) > self._in_frame else data
                at += len(block)
                self._in_frame -= len(block)
                if self._signed:
                    self._hash.update(block)
                if not self._in_frame:
                    self._check(self._hash.hexdigest())
                    self._state = "gap"
                yield block
            elif self._state == "end":
                raise _malformed("there are bytes behind its end")
            else:
                at = self._line(data, at)

    def finish(self) -> None:
        """Tell that the body has ended.

        :raises S3Error: when it was not whole.
        """
        if self._state == "trailer" and not self._head:
            self._end()  # some clients leave out the last line
        if self._state != "end" or self._left:
            raise S3Error(
                "IncompleteBody", "the body ended before its last frame, or is shorter than announced"
            )

    def _line(self, data: bytes, at: int) -> int:
        end = data.find(b"\n", at)
        self._head += data[at:] if end < 0 else data[at : end + 1]
        if len(self._head) > (_LONGEST_TRAILER if self._state == "trailer" else _LONGEST_HEAD):
            raise _malformed("the head of a frame is too long")
        if end < 0:
            return len(data)
        line = bytes(self._head)
        self._head.clear()
        if not line.endswith(b"\r\n"):
            raise _malformed("a line of it does not end with CR LF")
        self._take(line[:-2])
        return end + 1

    def _take(self, line: bytes) -> None:
        if self._state == "gap":
            if line:
                raise _malformed("a frame is longer than it says")
            self._state = "head"
        elif self._state == "head":
            self._begin(line)
        elif line:
            self._add_trailer(line)
        else:
            self._end()

    def _begin(self, line: bytes) -> None:
        size, _, extension = line.partition(b";")
        if not 1 <= len(size) <= 16 or size.strip(b"0123456789abcdefABCDEF"):
            raise _malformed("the length of a frame is no hexadecimal number")
        self._in_frame = int(size, 16)
        if self._in_frame > self._left:
            raise _malformed("its frames hold more than x-amz-decoded-content-length says")
        self._left -= self._in_frame
        name, _, claimed = extension.decode("ascii", "replace").partition("=")
        if self._signed and (name.strip() != "chunk-signature" or len(claimed) != 64):
            raise _malformed("a frame has no signature")
        self._claimed = claimed
        self._hash = hashlib.sha256()
        if self._in_frame:
            self._state = "data"
        else:
            self._check(_EMPTY)
            self._state = "trailer"

    def _check(self, digest: str) -> None:
        if self._signed:
            self._compare(f"AWS4-HMAC-SHA256-PAYLOAD\n{{}}{_EMPTY}\n{digest}", self._claimed)

    def _compare(self, text: str, claimed: str) -> None:
        signed = self._signed
        assert signed is not None
        text = text.format(f"{signed.stamp}\n{signed.scope}\n{self._before}\n")
        expected = hmac.new(signed.key, text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), claimed.encode("utf-8", "replace")):
            raise S3Error("SignatureDoesNotMatch", "the signature of a frame is wrong")
        self._before = expected

    def _add_trailer(self, line: bytes) -> None:
        if not self._has_trailer:
            raise _malformed("lines follow its last frame that were not announced")
        name, colon, value = line.decode("utf-8", "replace").partition(":")
        if not colon or len(self._trailer) + len(line) > _LONGEST_TRAILER:
            raise _malformed("a line behind its last frame is no name and value, or they are too long")
        self.trailers[name.strip().lower()] = value.strip()
        if name.strip().lower() != "x-amz-trailer-signature":
            self._trailer += f"{name.strip().lower()}:{value.strip()}\n".encode()

    def _end(self) -> None:
        claimed = self.trailers.pop("x-amz-trailer-signature", "")
        if self._signed and self._has_trailer:
            digest = hashlib.sha256(self._trailer).hexdigest()
            self._compare(f"AWS4-HMAC-SHA256-TRAILER\n{{}}{digest}", claimed)
        self._state = "end"


def _malformed(what: str) -> S3Error:
    return S3Error("InvalidRequest", f"the aws-chunked body is malformed: {what}")
