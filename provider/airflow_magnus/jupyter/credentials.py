"""Credentials as they are now: renewed before they end, once for all requests that wait for them."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

from airflow_magnus.errors import StoreError

AHEAD = timedelta(minutes=5)
"""For so long before their end credentials are renewed; those that last shorter at half of their time."""
_UNTOLD = 10.0
"""Seconds for which credentials are kept that do not say when they end."""
_TOKEN = "x-amz-security-token"


class AwsCreds(NamedTuple):
    """Credentials.

    :param pre_auth_headers: headers that every request has and that are signed, such as ``x-amz-security-token``.
    :param expires_at: with a zone; None: not known.
    """

    access_key_id: str
    secret_access_key: str
    pre_auth_headers: Mapping[str, str] = {}
    expires_at: datetime | None = None


class Authentication(Protocol):
    """What gives credentials: at once, or as anything that can be awaited."""

    def get_credentials(self) -> Any:
        """Give :class:`AwsCreds`."""


@dataclass(frozen=True)
class Signing:
    """What a request is signed with.

    :param keys: ``access_key_id``, ``secret_access_key`` and ``token``.
    :param headers: signed too.
    """

    keys: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


class CurrentCredentials:
    """The credentials of one authentication class, for the requests of one event loop.

    :param make: a new instance of the class: one that the store has refused is not asked again.
    """

    def __init__(self, make: Callable[[], Authentication]) -> None:
        self._make = make
        self._authentication = make()
        self._lock = asyncio.Lock()
        self._signing: Signing | None = None
        self._until = 0.0
        self._end: datetime | None = None

    async def signing(self) -> Signing:
        """What to sign with now."""
        if self._signing is not None and time.monotonic() < self._until:
            return self._signing
        async with self._lock:
            if self._signing is None or time.monotonic() >= self._until:
                await self._ask()
            assert self._signing is not None
            return self._signing

    async def renewed(self, refused: Signing) -> Signing:
        """What to sign with now that the store has refused what seemed to last; asked for once, whoever waits."""
        async with self._lock:
            if self._signing is None or self._signing.keys == refused.keys:
                self._authentication = self._make()
                self._signing = None
                await self._ask()
            assert self._signing is not None
            return self._signing

    async def _ask(self) -> None:
        now = datetime.now(UTC)
        try:
            found = self._authentication.get_credentials()
            creds = AwsCreds(*(await found if inspect.isawaitable(found) else found))
        except Exception as error:
            if self._signing is None or self._end is None or now >= self._end:
                name = type(self._authentication).__name__
                raise StoreError(f"{name} has given no credentials: {error}") from error
            self._until = time.monotonic() + _UNTOLD  # the old ones still last
            return
        self._signing, self._end = _signing_of(creds), creds.expires_at
        self._until = time.monotonic() + _seconds(creds.expires_at, now)


def _seconds(expires_at: datetime | None, now: datetime) -> float:
    """For how long credentials are used without asking again."""
    if expires_at is None:
        return _UNTOLD
    left = expires_at - now
    return max((left - min(AHEAD, left / 2)).total_seconds(), 0)


def _signing_of(creds: AwsCreds) -> Signing:
    headers = {name.lower(): str(value) for name, value in creds.pre_auth_headers.items()}
    token = headers.pop(_TOKEN, "")
    keys = {
        "access_key_id": creds.access_key_id,
        "secret_access_key": creds.secret_access_key,
        "token": token,
    }
    return Signing(keys, headers)
