"""The supervisor: starts the engines of one task's mounts, and ends them with the task, however that ends."""

from __future__ import annotations

import logging
import os
import select
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow_magnus.gateway.channel import Message, receive, send
from airflow_magnus.mount.ending import clear_away, end_mount, end_mounts
from airflow_magnus.mount.engine import Endpoint
from airflow_magnus.mount.engines import engine_named
from airflow_magnus.mount.faults import MountError
from airflow_magnus.mount.mountpoints import source_at
from airflow_magnus.mount.places import Place
from airflow_magnus.mount.processes import ProcessMark
from airflow_magnus.mount.state import MountState, private

log = logging.getLogger(__name__)

_START = 30.0
"""Seconds for all engines to come up, on a machine that is very busy."""
_LOOK = 0.25
"""Seconds between two looks at the engines and at the task."""
_FLUSH = 60.0
"""Seconds for an engine whose mount is gone to send what it has still, when that is how it saves."""
_LAST_SAVING, _LAST_BUSY, _LAST_FLUSH = 2.0, 1.0, 0.5
"""When the task is dead: seconds to bring to the store what can be, to unmount what is busy, for engines to end."""
_KEPT = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TZ")


class Supervisor:
    """The mounts of one task.

    Each bucket has an engine of its own: one that dies takes no other with it, above all not the one with unsaved
    files; a mount's end ends its engine; and both engines can do it. The price is some 50 MB of memory each.

    :param channel: to the task; closed when that is dead.
    """

    def __init__(self, channel: socket.socket, configuration: Message) -> None:
        self._channel, self._parent = channel, int(configuration["parent"])
        self._engine = engine_named(configuration["engine"])
        self._endpoint = Endpoint(**configuration["endpoint"])
        self._state = MountState(
            path=Path(configuration["note"]),
            engine=configuration["engine"],
            scratch=Path(configuration["scratch"]),
            places=[Place.of(one) for one in configuration["places"]],
            task=ProcessMark.of(self._parent),
            supervisor=ProcessMark.of(os.getpid()),
            made=[Path(folder) for folder in configuration["made"]],
        )
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._told: set[str] = set()

    def run(self) -> None:
        """Mount, and stay until the task says so or is dead."""
        try:
            self._start()
            self._tell(kind="ready")
        except (MountError, OSError) as error:
            self._stop(0.0, fault=str(error))
            return
        while True:
            if self._task_is_dead():
                self._abandon()
                return
            self._watch()
            if not _readable(self._channel, _LOOK):
                continue
            message = receive(self._channel)
            if message is not None and message["kind"] == "stop":
                self._stop(message["patience"])
                return
            if message is not None:
                self._unmount(message["bucket"], message["patience"])

    def _start(self) -> None:
        private(self._state.scratch)
        self._state.write()  # before there is anything: whoever finds it knows where to look
        for place in self._state.places:
            private(place.private)
            self._processes[place.bucket] = process = self._begin(place)
            self._state.engines[place.bucket] = ProcessMark.of(process.pid)
            self._state.write()
        until = time.monotonic() + _START
        for place in self._state.places:
            while source_at(place.mountpoint) != place.source or not self._engine.is_up(place):
                how = _ended(self._processes[place.bucket])
                if how or time.monotonic() > until or self._task_is_dead():
                    why = f"{how or f'not there after {_START:.0f} s'}: {place.last_words() or 'it says nothing'}"
                    raise MountError(
                        f"bucket {place.bucket!r} could not be mounted by {self._engine.name}, {why}"
                    )
                time.sleep(0.02)

    def _begin(self, place: Place) -> subprocess.Popen[bytes]:
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        own = {"HOME": str(place.private), "TMPDIR": str(place.private)}
        with place.log.open("ab") as output:
            return subprocess.Popen(
                self._engine.command(place, self._endpoint), cwd=place.private,
                env={**environment, **own, **self._engine.environment(place, self._endpoint)},
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    def _watch(self) -> None:
        # The mount of a dead engine stays: programs get errors, where in a plain folder their files would be lost.
        for place in self._state.places:
            how = _ended(self._processes[place.bucket])
            if how and place.bucket not in self._told:
                self._told.add(place.bucket)
                self._tell(kind="ended", bucket=place.bucket, how=how, words=place.last_words())

    def _unmount(self, bucket: str, patience: float) -> None:
        place = next(one for one in self._state.places if one.bucket == bucket)
        self._told.add(bucket)
        try:
            warnings = end_mount(
                self._state, place, patience, is_lazy=False, is_urgent=self._task_is_dead, flush=_FLUSH
            )
        except MountError as error:
            self._told.discard(bucket)
            self._tell(kind="unmounted", fault=str(error))
        else:
            self._tell(kind="unmounted", warnings=warnings)

    def _stop(self, patience: float, fault: str = "") -> None:
        remarks = end_mounts(self._state, patience, self._task_is_dead)
        self._reap()
        remarks.warnings += clear_away(self._state)
        faults = [*([fault] if fault else []), *remarks.faults]
        self._tell(kind="stopped", warnings=remarks.warnings, faults=faults)

    def _abandon(self) -> None:
        """Save what can be saved within 5 s; what cannot is left for the janitor."""
        self._save()
        remarks = end_mounts(self._state, _LAST_BUSY, flush=_LAST_FLUSH)
        self._reap()
        for text in (*remarks.warnings, *remarks.faults):
            log.warning("%s", text)
        held = {place.bucket: len(self._engine.held(place)) for place in self._state.places}
        if any(held.values()) or remarks.faults:
            self._state.is_gateway_gone = True
            self._state.write()
            left = sum(held.values())
            log.warning(
                "the task is dead; %s of its files are not in the store: %s", left, self._state.scratch
            )
            return
        clear_away(self._state)

    def _save(self) -> None:
        until = time.monotonic() + _LAST_SAVING
        with suppress(MountError):
            for place in self._state.places:
                while place.is_writable and self._gateway_is_there() and time.monotonic() < until:
                    if not self._engine.hurry(place):
                        break
                    time.sleep(0.05)

    def _gateway_is_there(self) -> bool:
        parts = urlsplit(self._endpoint.url)
        try:
            socket.create_connection((parts.hostname, parts.port or 80), timeout=0.5).close()
        except OSError:
            return False
        return True

    def _reap(self) -> None:
        for process in self._processes.values():
            process.poll()

    def _task_is_dead(self) -> bool:
        # A child of the task may hold the channel open: the number of the parent tells too.
        if os.getppid() != self._parent:
            return True
        try:
            return self._channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _tell(self, **message: Any) -> None:
        with suppress(OSError):  # the task is dead: found out elsewhere
            send(self._channel, message)


def _ended(process: subprocess.Popen[bytes]) -> str:
    """How a process has ended; "" while it goes on."""
    status = process.poll()
    if status is None:
        return ""
    return f"signal {-status}" if status < 0 else f"exit status {status}"


def _readable(channel: socket.socket, seconds: float) -> bool:
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    return bool(poll.poll(seconds * 1_000))
