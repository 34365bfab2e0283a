"""The supervisor's process, started by :class:`airflow_magnus.mount.mount.Mount`. Its standard input is the channel."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys

from airflow_magnus.gateway.channel import receive
from airflow_magnus.mount.supervisor import Supervisor


def main() -> None:
    """Serve until the task says so, or is dead."""
    channel = socket.socket(fileno=os.dup(0))
    # Signals that are meant for the task must not leave its mounts without a supervisor. Not SIG_IGN: the engines
    # would inherit that, and not end when they are asked to.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    logging.raiseExceptions = False  # the log may be gone with the task
    logging.basicConfig(level=logging.WARNING, format="mount: %(message)s")
    configuration = receive(channel)
    if configuration is None:
        sys.exit(1)
    Supervisor(channel, configuration).run()


if __name__ == "__main__":
    main()
