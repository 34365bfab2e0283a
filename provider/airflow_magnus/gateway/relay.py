"""Large bodies from socket to socket by a thread, in one buffer: the loop would copy each byte three times more."""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

SMALLEST = 1024 * 1024
"""Bytes that a body must have left for it to be worth a thread."""
MOST = 32
"""Bodies at a time."""
_BUFFER = 256 * 1024
_PIPE = 1024 * 1024
_NONBLOCK = 2  # SPLICE_F_NONBLOCK
_CUT = "the store ended the connection in the middle of an object"
_PATIENCE = 600_000
"""Milliseconds to wait for either side."""

_threads = ThreadPoolExecutor(MOST, thread_name_prefix="relay")
_busy = 0


class Digest(Protocol):
    """Of hashlib."""

    def update(self, data: Any, /) -> None:
        """Take the next bytes."""


def may_relay(length: int, *sides: Any) -> bool:
    """Whether a body of this length is worth a thread, there is one, and both transports are plain sockets."""
    return (
        length >= SMALLEST
        and _busy < MOST
        and all(side is not None and side.get_extra_info("sslcontext") is None for side in sides)
    )


async def drained(transport: Any) -> None:
    """Wait until a transport has nothing left to write."""
    pause = 0.0005
    while transport.get_write_buffer_size():
        if transport.is_closing():
            raise ConnectionResetError("the client is gone")
        await asyncio.sleep(pause)
        pause = min(0.05, pause * 2)


async def relay(source: Any, target: Any, length: int, digest: Digest | None) -> None:
    """Move bytes between the sockets of two transports: the first is paused, the second has nothing left to write.

    :raises OSError: when one of them ends before.
    """
    global _busy
    _busy += 1
    fds = [os.dup(side.get_extra_info("socket").fileno()) for side in (source, target)]
    try:
        move = asyncio.get_running_loop().run_in_executor(_threads, _move, fds[0], fds[1], length, digest)
        try:
            await asyncio.shield(move)
        except asyncio.CancelledError:
            for fd in fds:
                _shut(fd)
            await asyncio.wait([move])
            raise
    finally:
        _busy -= 1
        for fd in fds:
            os.close(fd)


def _move(source: int, target: int, left: int, digest: Digest | None) -> None:
    if digest is None and hasattr(os, "splice"):
        _splice(_Side(source, select.POLLIN), _Side(target, select.POLLOUT), left)
    else:
        _copy(_Side(source, select.POLLIN), _Side(target, select.POLLOUT), left, digest)


class _Side:
    """A socket that does not block, and how to wait for it."""

    def __init__(self, fd: int, event: int) -> None:
        self.fd = fd
        self._poll = select.poll()
        self._poll.register(fd, event)

    def wait(self) -> None:
        if not self._poll.poll(_PATIENCE):
            raise TimeoutError("nothing moved for ten minutes")


def _copy(source: _Side, target: _Side, left: int, digest: Digest | None) -> None:
    buffer = memoryview(bytearray(_BUFFER))
    while left:
        try:
            got = os.readv(source.fd, [buffer[: min(left, _BUFFER)]])
        except BlockingIOError:
            source.wait()
            continue
        if not got:
            raise ConnectionResetError(_CUT)
        block = buffer[:got]
        left -= got
        if digest is not None:
            digest.update(block)
        while block:
            try:
                block = block[os.write(target.fd, block) :]
            except BlockingIOError:
                target.wait()


def _splice(source: _Side, target: _Side, left: int) -> None:
    """Without any byte in this process."""
    inlet, outlet = _pipe()
    try:
        while left:
            try:
                got = os.splice(source.fd, inlet, min(left, _PIPE), flags=_NONBLOCK)
            except BlockingIOError:
                source.wait()
                continue
            if not got:
                raise ConnectionResetError(_CUT)
            left -= got
            while got:
                try:
                    got -= os.splice(outlet, target.fd, got, flags=_NONBLOCK)
                except BlockingIOError:
                    target.wait()
    finally:
        os.close(inlet)
        os.close(outlet)


def _pipe() -> tuple[int, int]:
    outlet, inlet = os.pipe()
    with suppress(OSError):  # more than this user may have: the usual size does too
        fcntl.fcntl(inlet, fcntl.F_SETPIPE_SZ, _PIPE)
    return inlet, outlet


def _shut(fd: int) -> None:
    with socket.socket(fileno=os.dup(fd)) as side, suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)
