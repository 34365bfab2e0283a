"""The gateway's process, started by :class:`airflow_magnus.gateway.process.Gateway`. Its standard input is the channel."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import socket
import sys
from typing import Any

from airflow_magnus.gateway.channel import Message, packed, receive, receive_later

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve until the parent says so, or is gone."""
    channel = socket.socket(fileno=os.dup(0))
    _end_with_parent()
    first = receive(channel)
    # A parent that died before the signal was asked for is not told of.
    if first is None or os.getppid() != first["parent"]:
        sys.exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal; the parent decides
    logging.basicConfig(level=logging.WARNING, format="S3 gateway: %(message)s")
    loop_factory: Any = None
    try:
        import uvloop

        loop_factory = uvloop.new_event_loop
    except ImportError:
        pass
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_serve(channel, first))


async def _serve(channel: socket.socket, configuration: Message) -> None:
    from airflow_magnus.gateway.serving import Serving

    reader, writer = await asyncio.open_connection(sock=channel)

    def tell(message: Message) -> None:
        writer.write(packed(message))

    serving = Serving(configuration, tell)
    await serving.start(socket.socket(fileno=configuration["socket"]))
    tell({"kind": "ready"})
    tasks: set[asyncio.Task[None]] = set()
    while (message := await receive_later(reader)) is not None and message["kind"] != "stop":
        task = asyncio.create_task(serving.take(message))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if message is None:
        os._exit(1)  # the parent is gone: nobody waits for an answer
    await serving.close()


def _end_with_parent() -> None:
    """Have the kernel end this process with the thread that started it."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


if __name__ == "__main__":
    main()
