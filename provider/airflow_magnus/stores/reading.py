"""One file of the catalog as people look at it: where its bytes are now, and a part of them at a time."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from airflow_magnus.errors import CatalogEntryNotFoundError, CatalogError, DigestMismatchError
from airflow_magnus.runlog.records import CatalogEntry, printable
from airflow_magnus.stores.catalog import CatalogStore
from airflow_magnus.stores.client import ObjectClient
from airflow_magnus.stores.do_nothing import DoNothingCatalog
from airflow_magnus.stores.names import first_key
from airflow_magnus.stores.objects import explain

_CHUNK = 256 * 1024
_NO_RANGES = "non-partial response"
_KEYS_OF_ITS_OWN = ("SSE-C", "Server Side Encryption", "x-amz-server-side-encryption-customer", "KMS")


@dataclass(frozen=True)
class StoredFile:
    """A file of the catalog, found.

    :param key: where the bytes are that the entry means.
    :param size: bytes that are there now; where they are not those recorded, the file was changed.
    """

    entry: CatalogEntry
    key: str
    size: int
    client: ObjectClient

    @property
    def has_recorded_size(self) -> bool:
        """Whether as many bytes are there as were recorded."""
        return self.entry.size in (None, self.size)

    def head(self, most: int) -> bytes:
        """The first bytes, at most so many. Cost: 1 request."""
        return self.part(0, min(most, self.size))

    def part(self, start: int, end: int) -> bytes:
        """The bytes from ``start`` to before ``end``; a server that knows no ranges is read up to there."""
        if end <= start:
            return b""
        try:
            return bytes(self._asked(lambda store: _range(store, self.key, start, end)))
        except CatalogError as error:
            if _NO_RANGES not in str(error):
                raise
        found = bytearray()
        for chunk in self._stream(0, self.size, None):
            found += chunk
            if len(found) >= end:
                break
        return bytes(found[start:end])

    def chunks(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from ``start`` to before ``end``, some at a time; memory does not grow with the file.

        Where all are asked for, the last come only when the digest of all is the one recorded, so that nobody takes
        damaged bytes for the file.

        :raises DigestMismatchError: before the last bytes, when they are others.
        """
        is_whole = start == 0 and end in (None, self.size)
        if self.size == 0:
            return iter(())
        return self._checked() if is_whole else self._stream(start, self.size if end is None else end, start)

    def reader(self) -> BinaryIO:
        """A file object that asks for what is read of it: for libraries that look at the end first."""
        return io.BufferedReader(_Parts(self), _CHUNK)

    def _checked(self) -> Iterator[bytes]:
        found, held = hashlib.sha256(), b""
        for chunk in self._stream(0, self.size, None):
            found.update(chunk)
            if held:
                yield held
            held = chunk
        if self.entry.data_hash and found.hexdigest() != self.entry.data_hash:
            raise DigestMismatchError(f"{self.entry.name!r} has other bytes now than were recorded")
        yield held

    def _stream(self, start: int, end: int, asked: int | None) -> Iterator[bytes]:
        """:param asked: None asks for the whole object."""
        import obstore

        options = None if asked is None else {"range": (start, end)}
        result = self._asked(lambda store: obstore.get(store, self.key, options=options))
        for chunk in result.stream(min_chunk_size=_CHUNK):
            yield bytes(chunk)

    def _asked(self, work: Any) -> Any:
        try:
            return self.client.run(work)
        except FileNotFoundError as error:
            raise _gone(self.entry) from error
        except (OSError, ValueError) as error:
            raise unreadable(self.entry, error) from error
        except Exception as error:
            if type(error).__module__.startswith("obstore"):
                raise unreadable(self.entry, error) from error
            raise


class _Parts(io.RawIOBase):
    """A file of the catalog as Python reads files. Cost: 1 request a read."""

    def __init__(self, file: StoredFile) -> None:
        self._file = file
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._file.size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        data = self._file.part(self._place, min(self._place + len(buffer), self._file.size))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def stored_file(catalog: CatalogStore | DoNothingCatalog, entry: CatalogEntry) -> StoredFile:
    """Find the bytes of an entry. Cost: 2 requests.

    :raises CatalogEntryNotFoundError: when they are gone.
    :raises CatalogError: when they are in another catalog, or cannot be asked for.
    """
    if isinstance(catalog, DoNothingCatalog):
        raise CatalogError("the catalog of this pipeline is of the type do-nothing: it keeps no files")
    if entry.catalog_handler_location != catalog.location:
        raise CatalogError(
            f"it is kept in the catalog {printable(entry.catalog_handler_location)}, and this pipeline uses "
            f"{catalog.location} now: look there, or let the pipeline use that catalog again"
        )
    found: tuple[str, int] | None = None
    for key in _keys(entry):
        size = _size_of(catalog, entry, key)
        if size is not None:
            found = key, size
            break
    if found is None:
        raise _gone(entry)
    return StoredFile(entry, *found, catalog.client)


def run_of(entry: CatalogEntry) -> str:
    """The id of the run whose folder an entry's bytes lie in."""
    return entry.catalog_relative_path.partition("/")[0]


def unreadable(entry: CatalogEntry, error: BaseException) -> CatalogError:
    """The error that a file's bytes are there and cannot be read."""
    text = str(error)
    if any(mark in text for mark in _KEYS_OF_ITS_OWN):
        return CatalogError(
            f"{entry.name!r} is encrypted with a key that this server may not use or does not have: let its "
            f"credentials decrypt with that key ({explain(error, '')})"
        )
    return CatalogError(f"{entry.name!r} cannot be read: {explain(error, 'the catalog')}")


def _keys(entry: CatalogEntry) -> list[str]:
    """Where the bytes of an entry may be, the likeliest in front: a plain key may hold a later step's by now."""
    run_id, _, name = entry.catalog_relative_path.partition("/")
    plain = [entry.catalog_relative_path]
    return [first_key(run_id, name), *plain] if name == entry.name else plain


def _size_of(catalog: CatalogStore, entry: CatalogEntry, key: str) -> int | None:
    import obstore

    try:
        return int(catalog.client.run(lambda store: obstore.head(store, key))["size"])
    except FileNotFoundError:
        return None
    except Exception as error:
        raise unreadable(entry, error) from error


def _range(store: Any, key: str, start: int, end: int) -> Any:
    import obstore

    return obstore.get_range(store, key, start=start, end=end)


def _gone(entry: CatalogEntry) -> CatalogEntryNotFoundError:
    return CatalogEntryNotFoundError(
        f"the catalog has the bytes of {entry.name!r} no more: somebody has removed them outside of `magnus catalog gc`. "
        "Run the step that made the file again"
    )
