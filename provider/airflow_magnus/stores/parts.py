"""Small named texts that are written once: what the run log is made of. On an object store; a database is beside it."""

from __future__ import annotations

import functools
import hashlib
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from airflow_magnus.errors import RecordError, StoreError
from airflow_magnus.runlog.texts import unreadable
from airflow_magnus.stores.client import ObjectClient
from airflow_magnus.stores.objects import first_part, probe
from airflow_magnus.stores.parallel import in_parallel

_MD5 = 32
_QUICK = 0.01
"""Seconds."""
READERS = 16
"""Requests at a time when many parts are read."""
BIDS = ".bids"
"""What the folder of the bids for a key adds to it, where a store ignores the conditions of a write."""
MAX_BYTES = 256 * 1024 * 1024
"""How large an object may be that is read: the document of a run with a million files."""


class PartStore(Protocol):
    """Texts by key, keys like paths. All calls may be made from any thread of the process that opened the store."""

    location: str
    """For people: where the parts are, without credentials."""

    def create(self, key: str, text: str) -> bool:
        """Write ``key`` unless it is there; False when it was. Cost: 1 request."""

    def put(self, key: str, text: str) -> str | None:
        """Write ``key``, replacing what is there; its version, as of :class:`Listing`, if it is known. Cost: 1 request."""

    def read(self, keys: Iterable[str]) -> Mapping[str, str]:
        """The texts of those keys that exist. Cost: 1 request a key, many at a time."""

    def list_keys(self, prefix: str) -> list[str]:
        """All keys below the folder ``prefix``, sorted. Cost: 1 request for each 1,000 keys."""

    def list_runs(self) -> list[str]:
        """The first segments of all keys that have more than one, sorted. Cost: 1 request for each 1,000."""


@dataclass(frozen=True)
class Listing:
    """What lies directly in a folder.

    :param folders: names of those in it, sorted.
    :param versions: key to what changes when it is written again.
    """

    folders: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class IndexableParts(PartStore, Protocol):
    """A part store that can tell versions apart and remove what nobody needs: what an index of the runs is kept by.

    Of one that cannot (another package's) the index is kept too, but grows with each run until it is made anew.
    """

    def listing(self, folder: str = "") -> Listing:
        """What lies in a folder; "" for the top. Cost: 1 request for each 1,000 entries."""

    def remove(self, keys: Iterable[str]) -> None:
        """Remove keys; those that are gone already are passed over. Cost: 1 request for each 1,000 keys."""


class ObjectParts:
    """Parts as objects of an obstore store (S3, a folder, memory).

    :param is_known: False for a server that may ignore create-only writes: one of S3's kind that is not AWS.

    Where ``is_conditional`` is set to False, a create bids for the key, and waits for other bidders.

    :ivar settling: seconds that it waits: longer than a writer takes from the list of the bids to the write of the key.
    """

    def __init__(self, store: Any, location: str, *, is_known: bool = True) -> None:
        self._client = ObjectClient(store)
        self.location = location
        self.is_conditional = True
        self.settling = 0.5
        self._is_known = is_known

    def find_out_conditional(self) -> bool:
        """Whether the store honours create-only writes. Cost: 5 requests where that is not known, else none."""
        return self._is_known or probe(self._client.store, self.location).is_conditional

    def create(self, key: str, text: str) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError

        data = text.encode()
        if not self.is_conditional:
            return self._create_by_bid(key, text)
        try:
            self._client.run(lambda s: obstore.put(s, key, data, mode="create", use_multipart=False))
        except AlreadyExistsError:
            # The answer to our own write may have been lost and the write tried again.
            return self.read([key]).get(key) == text
        except Exception as error:
            raise StoreError(f"cannot write {self.location}/{key}: {first_part(str(error))}") from error
        return True

    def _create_by_bid(self, key: str, text: str) -> bool:
        """Create a key where nothing but the order of the bids tells who was first. Cost: 6 requests, and the wait.

        The oldest bid wins, by the server's clock. Whoever finds it writes it, so that a bidder who was killed has won
        all the same; whoever bids after the key was written finds the key.
        """
        there = self.read([key]).get(key)
        if there is None:
            own = f"{key}{BIDS}/{secrets.token_hex(16)}"
            self.put(own, text)
            time.sleep(self.settling)
            winner = self._oldest(f"{key}{BIDS}")
            there = self.read([key]).get(key)  # after the list: a bid is removed when the key is there
            if there is None:
                there = self.read([winner]).get(winner) or self.read([key]).get(key) or text
                self.put(key, there)
            with suppress(Exception):
                self._client.run(lambda store: store.delete(own))
        return there == text

    def _oldest(self, folder: str) -> str:
        import obstore

        def listed(store: Any) -> list[tuple[Any, str]]:
            return [
                (m["last_modified"], m["path"]) for batch in obstore.list(store, prefix=folder) for m in batch
            ]

        try:
            return min(self._client.run(listed), default=(None, ""))[1]
        except Exception as error:
            raise StoreError(f"cannot list {self.location}/{folder}: {first_part(str(error))}") from error

    def put(self, key: str, text: str) -> str:
        import obstore

        data = text.encode()
        try:
            return _version(
                self._client.run(lambda store: obstore.put(store, key, data, use_multipart=False))
            )
        except Exception as error:
            raise StoreError(f"cannot write {self.location}/{key}: {first_part(str(error))}") from error

    def read(self, keys: Iterable[str]) -> Mapping[str, str]:
        wanted = list(keys)
        if self._client.seconds * len(wanted) < _QUICK:  # threads take longer to start
            found = [self._read(key) for key in wanted]
        else:
            found = in_parallel(self._read, wanted, self._client.pace)
        return {key: text for key, text in zip(wanted, found, strict=True) if text is not None}

    def _read(self, key: str) -> str | None:
        try:
            return self._client.run(lambda store: self._bytes(store, key)).decode()
        except FileNotFoundError:
            return None
        except RecordError:
            raise
        except UnicodeDecodeError as error:
            raise unreadable(f"{self.location}/{key}", error) from error
        except Exception as error:
            raise StoreError(f"cannot read {self.location}/{key}: {first_part(str(error))}") from error

    def _bytes(self, store: Any, key: str) -> bytes:
        """An object; asked for again when it came damaged: the ETag of a small object of S3 is mostly its MD5."""
        import obstore

        before = None
        while True:
            found = obstore.get(store, key)
            if found.meta["size"] > MAX_BYTES:
                raise unreadable(f"{self.location}/{key}", f"it has {found.meta['size']} bytes")
            data, tag = bytes(found.bytes()), str(found.meta.get("e_tag") or "").strip('"')
            if len(tag) != _MD5 or hashlib.md5(data, usedforsecurity=False).hexdigest() == tag:
                return data
            if data == before:  # the tag is none (objects that the server encrypts)
                return data
            before = data

    def list_keys(self, prefix: str) -> list[str]:
        import obstore

        def listed(store: Any) -> list[str]:
            found = (meta["path"] for batch in obstore.list(store, prefix=prefix) for meta in batch)
            return sorted(key for key in found if f"{BIDS}/" not in key)

        try:
            return self._client.run(listed)
        except FileNotFoundError:
            return []
        except Exception as error:
            raise StoreError(f"cannot list {self.location}/{prefix}: {first_part(str(error))}") from error

    def list_runs(self) -> list[str]:
        return list(self.listing().folders)

    def listing(self, folder: str = "") -> Listing:
        import obstore

        try:
            found = self._client.run(lambda store: obstore.list_with_delimiter(store, folder or None))
        except FileNotFoundError:
            return Listing()
        except Exception as error:
            raise StoreError(f"cannot list {self.location}/{folder}: {first_part(str(error))}") from error
        names = sorted(prefix.rsplit("/", 1)[-1] for prefix in found["common_prefixes"])
        return Listing(names, {meta["path"]: _version(meta) for meta in found["objects"]})

    def remove(self, keys: Iterable[str]) -> None:
        import obstore

        wanted = list(keys)
        try:
            if wanted:
                self._client.run(lambda store: obstore.delete(store, wanted))
        except FileNotFoundError:  # S3 does not mind; folders and memory stop at the first that is gone
            for key in wanted:
                with suppress(FileNotFoundError):
                    self._client.run(functools.partial(obstore.delete, paths=key))
        except Exception as error:
            raise StoreError(f"cannot remove from {self.location}: {first_part(str(error))}") from error


def _version(meta: Any) -> str:
    return str(meta.get("e_tag") or "").strip('"')
