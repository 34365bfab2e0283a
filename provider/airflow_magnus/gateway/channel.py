"""Messages between a task and its gateway: JSON, each behind its length, over a pair of sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any

_LENGTH = struct.Struct(">I")
_LONGEST = 512 * 1024 * 1024

Message = dict[str, Any]


def packed(message: Message) -> bytes:
    """A message as bytes."""
    data = json.dumps(message, separators=(",", ":")).encode()
    return _LENGTH.pack(len(data)) + data


def send(channel: socket.socket, message: Message) -> None:
    """Send a message, and wait until all of it is on its way."""
    channel.sendall(packed(message))


def receive(channel: socket.socket) -> Message | None:
    """Wait for the next message; None when the other side is gone."""
    head = _exactly(channel, _LENGTH.size)
    if head is None:
        return None
    data = _exactly(channel, _checked(head))
    return None if data is None else _object(data)


async def receive_later(reader: asyncio.StreamReader) -> Message | None:
    """As :func:`receive`, for a loop."""
    try:
        head = await reader.readexactly(_LENGTH.size)
        return _object(await reader.readexactly(_checked(head)))
    except (asyncio.IncompleteReadError, OSError):
        return None


def _object(data: bytes) -> Message:
    message: Message = json.loads(data)
    return message


def _checked(head: bytes) -> int:
    length: int = _LENGTH.unpack(head)[0]
    if length > _LONGEST:
        raise ValueError(f"a message of {length} bytes is longer than any")
    return length


def _exactly(channel: socket.socket, length: int) -> bytes | None:
    data = bytearray()
    while len(data) < length:
        try:
            block = channel.recv(min(length - len(data), 1 << 20))
        except OSError:
            return None
        if not block:
            return None
        data += block
    return bytes(data)
