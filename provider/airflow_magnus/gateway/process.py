"""The gateway as a task has it: a process beside the task, that ends with it."""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from airflow_magnus.errors import ConfigurationError, StoreError
from airflow_magnus.gateway.channel import Message, receive, send
from airflow_magnus.gateway.ledger import Output, Passed
from airflow_magnus.gateway.views import REGION, Origin, Overlay, View, as_message, origin_as_message
from airflow_magnus.runlog.records import WRITTEN

log = logging.getLogger(__name__)

_START = 30.0
"""Seconds for the process to come up, on a machine that is very busy."""
_STOP = 5.0
_ANSWER = 3600.0
_RENEWED_BEFORE = 300.0
"""Seconds before their end at which credentials are renewed."""
_KEPT = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "TZ",
         "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")  # fmt: skip


class GatewayError(StoreError):
    """The gateway of a task is not there any more, or could not answer."""


class Gateway:
    """An S3 endpoint beside a task, for as long as the ``with`` block goes on.

    Up and answering when the block begins; ended, with its process, port and token, when the block ends or the task's
    process dies, however it does. Made and entered by the process of the task; several at once do not mind each other.

    :param inputs: name of a bucket to what it holds; read-only.
    :param out: what the bucket ``out`` writes to; empty at its start. None: there is no such bucket.
    :raises ConfigurationError: on entering, when credentials or an endpoint are not usable.
    :raises GatewayError: on entering, when the process does not come up.
    """

    def __init__(self, inputs: Mapping[str, View], out: View | Overlay | None = None) -> None:
        if WRITTEN in inputs:
            raise ConfigurationError(f"an input cannot be named {WRITTEN!r}: that is the bucket to write to")
        self._views: dict[str, View | Overlay] = {**inputs, **({WRITTEN: out} if out is not None else {})}
        self._origins: list[Origin] = []
        self._token = secrets.token_hex(20)
        self._port = 0
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._answers: dict[int, Message] = {}
        self._arrived = threading.Condition()
        self._ready = threading.Event()
        self._is_stopping = False
        self._end: str | None = None
        self._owner = 0
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None

    def __enter__(self) -> Gateway:
        self._owner = os.getpid()
        configuration = self._configuration()
        listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._port = listening.getsockname()[1]
        hosts = [f"{name}:{self._port}" for name in ("127.0.0.1", "localhost")]
        configuration |= {"parent": self._owner, "socket": listening.fileno(), "hosts": hosts}
        self._channel, theirs = socket.socketpair()
        # The kernel ends the gateway with the thread that started it: this one lives as long as the gateway.
        self._keeper = threading.Thread(
            target=self._keep, args=(listening, theirs, configuration), name="S3 gateway", daemon=True
        )
        self._keeper.start()
        if not self._ready.wait(_START) or self._end is not None:
            self._stop()
            raise GatewayError(
                f"the S3 gateway did not come up: {self._end or 'no answer'}; see the log above"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def endpoint(self) -> str:
        """``http://127.0.0.1:port``."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def token(self) -> str:
        """Access key and secret key in one: not for logs."""
        return self._token

    def environment(self) -> dict[str, str]:
        """What the command of the step finds in its environment."""
        return {
            "S3_ENDPOINT": self.endpoint,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self._token,
            "AWS_SECRET_ACCESS_KEY": self._token,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ALLOW_HTTP": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def check(self) -> None:
        """Raise when the gateway has ended by itself; cheap.

        :raises GatewayError: says how.
        """
        if self._end is not None and not self._is_stopping:
            raise GatewayError(
                f"the S3 gateway of this task has ended by itself: {self._end}; see the log above"
            )

    def ledger(self) -> list[Passed]:
        """What was read and written until now, one line for each object.

        :raises GatewayError: when the gateway is gone.
        """
        entries = self._ask("ledger")["entries"]
        return [Passed(**{**entry, "ranges": [tuple(part) for part in entry["ranges"]]}) for entry in entries]

    def seal(self) -> None:
        """Refuse writes from now on, and wait for those that are on their way.

        :raises GatewayError: when the gateway is gone, or a write does not come to its end.
        """
        self._ask("seal")

    def outputs(self) -> list[Output]:
        """What lies in ``out``, by name. Cost: 1 LIST for each 1,000 objects.

        :raises GatewayError: when the gateway is gone, or the store does not answer.
        """
        found = [Output(**entry) for entry in self._ask("outputs")]
        return sorted(found, key=lambda output: output.name)

    def shown(self) -> list[Output]:
        """What a reader of ``out`` sees, by name: what was written, and of an overlay what lies below it.

        Cost and errors: as of :meth:`outputs`.
        """
        found = [Output(**entry) for entry in self._ask("shown")]
        return sorted(found, key=lambda output: output.name)

    def drop(self) -> None:
        """Remove all that lies in ``out``, and what an earlier gateway left there; nothing is written any more. Cost: as of
        :meth:`outputs`, and 1 request for each 1,000 objects.

        :raises GatewayError: when the gateway is gone, or the store does not remove it.
        """
        self._ask("drop")

    def _configuration(self) -> Message:
        buckets = [
            as_message(name, view, self._origins, is_writable=name == WRITTEN)
            for name, view in self._views.items()
        ]
        return {
            "buckets": buckets,
            "origins": [origin_as_message(origin) for origin in self._origins],
            "keys": [_keys(origin)[0] for origin in self._origins],
            "token": self._token,
        }

    def _keep(self, listening: socket.socket, theirs: socket.socket, configuration: Message) -> None:
        """Start the process, stay until it has ended, and renew its credentials meanwhile."""
        assert self._channel is not None
        try:
            with listening, theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "airflow_magnus.gateway"],
                    stdin=theirs.fileno(), stdout=subprocess.DEVNULL, pass_fds=(listening.fileno(),), cwd="/",
                    env=_environment(), start_new_session=True,
                )  # fmt: skip
            send(self._channel, configuration)
            self._attend(self._channel)
            status = self._process.wait()
            how = f"signal {-status}" if status < 0 else f"exit status {status}"
        except Exception as error:  # noqa: BLE001 - told to the one who waits
            how = f"{type(error).__name__}: {error}"
        with self._arrived:
            self._end = how
            self._arrived.notify_all()
        self._ready.set()

    def _attend(self, channel: socket.socket) -> None:
        """Take what the gateway says until it is gone."""
        renewals = {number: _keys(origin)[1] for number, origin in enumerate(self._origins)}
        while True:
            due = min(renewals.values(), default=float("inf"))
            if not _readable(channel, max(0.05, min(60.0, due - time.time()))):
                for number, when in renewals.items():
                    if when <= time.time():
                        renewals[number] = self._renew(channel, number, is_urgent=False)
                continue
            message = receive(channel)
            if message is None:
                return
            if message["kind"] == "ready":
                self._ready.set()
            elif message["kind"] == "renew":
                renewals[message["number"]] = self._renew(channel, message["number"], is_urgent=True)
            else:
                with self._arrived:
                    self._answers[message["id"]] = message
                    self._arrived.notify_all()

    def _renew(self, channel: socket.socket, number: int, *, is_urgent: bool) -> float:
        """Send new credentials; gives when the next are due."""
        origin = self._origins[number]
        renew = getattr(origin.keys, "renew", None)
        try:
            if is_urgent and renew is not None:
                renew()
            keys, due = _keys(origin)
        except Exception:  # the old ones may still be good; asked for again soon
            log.warning("the credentials of bucket %s could not be renewed", origin.bucket, exc_info=True)
            return time.time() + 15
        with self._lock, suppress(OSError):
            send(channel, {"kind": "keys", "number": number, "keys": keys})
        return due

    def _ask(self, kind: str) -> Any:
        self.check()
        number = next(self._numbers)
        try:
            assert self._channel is not None
            with self._lock:
                send(self._channel, {"kind": kind, "id": number})
        except (OSError, AssertionError):
            raise GatewayError("the S3 gateway is not there") from None
        with self._arrived:
            self._arrived.wait_for(lambda: number in self._answers or self._end is not None, _ANSWER)
            answer = self._answers.pop(number, None)
        if answer is None or "fault" in answer:
            raise GatewayError(f"the S3 gateway did not answer: {answer['fault'] if answer else self._end}")
        return answer["value"]

    def _stop(self) -> None:
        if self._channel is None or self._owner != os.getpid():  # a fork of the task does not end its gateway
            return
        self._is_stopping = True
        if self._ready.is_set():
            with self._lock, suppress(OSError):
                send(self._channel, {"kind": "stop"})
        elif self._process is not None:  # it has not read its configuration, and would not read this
            self._process.kill()
        assert self._keeper is not None
        self._keeper.join(_STOP)
        if self._keeper.is_alive() and self._process is not None:
            self._process.kill()
            self._keeper.join()
        self._channel.close()
        self._channel = None


def _keys(origin: Origin) -> tuple[dict[str, str], float]:
    """The credentials for the gateway, and when they are to be renewed."""
    keys = origin.keys()
    expires = keys.get("expires_at") or datetime.max.replace(tzinfo=UTC)
    left = (expires - datetime.now(UTC)).total_seconds()
    plain = {
        name: str(keys[name]) for name in ("access_key_id", "secret_access_key", "token") if keys.get(name)
    }
    return plain, time.time() + max(5.0, left - min(_RENEWED_BEFORE, left / 2))


def _readable(channel: socket.socket, seconds: float) -> bool:
    poll = select.poll()  # select() takes no numbers above 1,023
    poll.register(channel, select.POLLIN)
    return bool(poll.poll(seconds * 1_000))


def _environment() -> dict[str, str]:
    """Nothing of Airflow's, and no secrets of the task."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
