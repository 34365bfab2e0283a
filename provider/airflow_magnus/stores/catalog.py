"""The catalog: the files of a run, at ``<location>/<run id>/<path below the compute data folder>``.

What a get resolves is the committed record of a step, never the bare key: an attempt takes a plain key only by creating
it; where the key is taken its bytes go to ``<run id>/.versions/<attempt>/<path>`` and the entry says so. So no retry,
zombie or later step changes bytes that a committed record names. Source: seeds 000 and 001 for the layout.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_magnus.errors import CatalogEntryNotFoundError, CatalogError, DigestMismatchError, StoreError
from airflow_magnus.runlog.records import CatalogEntry
from airflow_magnus.stores.globs import matches
from airflow_magnus.stores.names import VERSIONS, checked, files_to_put, first_key, place_to_write
from airflow_magnus.stores.objects import probe
from airflow_magnus.stores.parallel import THREADS, in_parallel
from airflow_magnus.stores.transfers import (
    SINGLE_REQUEST,
    Sent,
    copy,
    digest_of,
    download,
    upload,
)

log = logging.getLogger(__name__)


@dataclass
class Moved:
    """What a get or a put did.

    :param warnings: sentences for the step's message.
    :param size: bytes that were moved.
    """

    entries: list[CatalogEntry] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    files: int = 0
    size: int = 0


class CatalogStore:
    """The catalog over one obstore store.

    :param location: as configured; recorded with every entry.
    :param threads: transfers at a time.
    :param is_known: False for a server that may ignore create-only writes: one of S3's kind that is not AWS.

    Where ``is_conditional`` is set to False, a put lists what is there first.
    """

    def __init__(self, store: Any, location: str, *, is_known: bool = True, threads: int = THREADS) -> None:
        self._store = store
        self.location = location
        self.is_conditional = True
        self._is_known = is_known
        self._threads = threads

    def find_out_conditional(self) -> bool:
        """Whether the store honours create-only writes. Cost: 5 requests where that is not known, else none."""
        return self._is_known or probe(self._store, self.location).is_conditional

    def put(
        self,
        run_id: str,
        folder: Path,
        patterns: Sequence[str],
        *,
        attempt_id: str,
        known: Mapping[str, CatalogEntry],
    ) -> Moved:
        """Store the files below ``folder`` that any pattern matches.

        :param known: what is committed in this run already; the same name and digest is not sent again.
        :raises CatalogError: when the folder is not there or a file cannot be stored.
        """
        moved = Moved()
        if not patterns:
            return moved
        if not folder.is_dir():
            raise CatalogError(
                f"catalog put: the compute data folder {folder} does not exist: let the command make it, "
                "or name another one by catalog.compute_data_folder"
            )
        chosen = files_to_put(folder, patterns, moved.warnings)
        self._send(run_id, chosen, attempt_id, known, moved)
        return moved

    def put_file(
        self, run_id: str, path: Path, name: str, *, attempt_id: str, known: Mapping[str, CatalogEntry]
    ) -> CatalogEntry:
        """Store one file under ``name``."""
        if not path.is_file():
            raise CatalogError(f"put_in_catalog: there is no file {path}")
        moved = Moved()
        self._send(run_id, {checked(name): path}, attempt_id, known, moved)
        return moved.entries[0]

    def _send(
        self,
        run_id: str,
        chosen: Mapping[str, Path],
        attempt_id: str,
        known: Mapping[str, CatalogEntry],
        moved: Moved,
    ) -> None:
        started = time.monotonic()
        taken = set() if self.is_conditional else self._keys(run_id)

        def send(item: tuple[str, Path]) -> CatalogEntry:
            name, path = item
            plain = f"{run_id}/{name}"
            sent = upload(
                self._store,
                path,
                plain,
                f"{run_id}/{VERSIONS}/{attempt_id}/{name}",
                same_as=_same_as(known.get(name)),
                is_free=None if self.is_conditional else plain not in taken,
            )
            results.append(sent)
            return self._entry(name, sent.digest, sent.key, sent.size, "put")

        results: list[Sent] = []
        try:
            moved.entries += in_parallel(send, chosen.items(), self._threads)
        except BaseException:
            self.forget([sent.key for sent in results if sent.is_new])
            raise
        moved.files += sum(1 for sent in results if sent.is_new)
        moved.size += sum(sent.size for sent in results if sent.is_new)
        log.info(
            "catalog put: %d files, %d sent, %d bytes, %.2f s, to %s/%s",
            len(results), moved.files, moved.size, time.monotonic() - started, self.location, run_id,
        )  # fmt: skip

    def get(self, entries: Mapping[str, CatalogEntry], folder: Path, patterns: Sequence[str]) -> Moved:
        """Fetch the entries that any pattern matches into ``folder``, which is made.

        :param entries: name to committed entry.
        :raises CatalogError: when an object is gone, damaged, or would be written outside the folder.
        """
        moved = Moved()
        if not patterns:
            return moved
        started = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        chosen: dict[str, CatalogEntry] = {}
        for pattern in patterns:
            found = {name: entry for name, entry in entries.items() if matches(pattern, name)}
            if not found:
                moved.warnings.append(f"catalog get: {pattern!r} matches nothing that a step before put")
            chosen.update(found)

        def fetch(entry: CatalogEntry) -> CatalogEntry:
            target = place_to_write(folder, entry.name)
            size = self._fetch(entry, target)
            return entry.model_copy(update={"stage": "get", "size": size})

        moved.entries = in_parallel(fetch, chosen.values(), self._threads)
        moved.files, moved.size = len(moved.entries), sum(entry.size or 0 for entry in moved.entries)
        log.info(
            "catalog get: %d files, %d bytes, %.2f s, from %s",
            moved.files, moved.size, time.monotonic() - started, self.location,
        )  # fmt: skip
        return moved

    def _fetch(self, entry: CatalogEntry, target: Path) -> int:
        """Download what an entry names: from its key, or from where :meth:`settle` keeps what was there first."""
        what = f"catalog get: {entry.name!r} at {self.location}/{entry.catalog_relative_path}"
        try:
            return download(self._store, entry.catalog_relative_path, target, entry.data_hash, what=what)
        except DigestMismatchError:
            run_id, _, name = entry.catalog_relative_path.partition("/")
            if name == entry.name:
                with suppress(CatalogEntryNotFoundError):
                    kept = first_key(run_id, name)
                    return download(self._store, kept, target, entry.data_hash, what=what)
            raise

    def settle(self, run_id: str, entries: Iterable[CatalogEntry]) -> None:
        """Bring the plain keys up to the entries that count, by copies inside the store.

        Anyone who looks at the run's folder then sees its final files. What a plain key held first is kept, as a
        committed record names it there: a task that is cleared later still gets it. May be done again at any time.
        Cost: 1 LIST; 2 requests for each file that was put more than once or is large, 2 more the first time.
        """
        kept = self._keys(first_key(run_id, ""))
        moves: dict[str, str] = {}
        for entry in entries:
            plain, first = f"{run_id}/{entry.name}", first_key(run_id, entry.name)
            if entry.catalog_relative_path != plain:
                moves[plain] = entry.catalog_relative_path
            elif first in kept:
                moves[plain] = first
        changing = {plain: first_key(run_id, plain.partition("/")[2]) for plain in moves}
        in_parallel(
            lambda change: self._keep(*change),
            [(p, first) for p, first in changing.items() if first not in kept],
        )
        self.copy(moves)

    def _keep(self, plain: str, first: str) -> None:
        """Copy what is at a plain key aside, unless that was done before."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, BaseError

        try:
            there = obstore.get(self._store, plain)
            if there.meta["size"] <= SINGLE_REQUEST:  # no attempt creates a plain key of a larger file
                mode = "create" if self.is_conditional else "overwrite"
                self._store.put(first, there.bytes(), mode=mode, use_multipart=False)
        except (FileNotFoundError, AlreadyExistsError):
            pass
        except BaseError as error:
            raise StoreError(f"cannot copy {plain} to {first} in {self.location}: {error}") from error

    def copy(self, sources: Mapping[str, str]) -> None:
        """Copy objects inside the store: new key → key. Cost: 1 request each, no byte passes through here."""

        def one(move: tuple[str, str]) -> None:
            try:
                copy(self._store, move[1], move[0])
            except Exception as error:
                raise StoreError(f"cannot copy {move[1]} to {move[0]} in {self.location}: {error}") from error

        in_parallel(one, sources.items())

    def are_whole(self, entries: Iterable[CatalogEntry]) -> bool:
        """Whether the bytes of all entries are there with their digests. Cost: reads them all."""

        def is_whole(entry: CatalogEntry) -> bool:
            try:
                return digest_of(self._store, entry.catalog_relative_path) == entry.data_hash
            except FileNotFoundError:
                return False

        return all(in_parallel(is_whole, entries))

    def forget(self, keys: Iterable[str]) -> None:
        """Remove what a failed attempt has stored: nobody will ask for it, and a plain key is better left free."""
        in_parallel(self._forget, keys)

    def located(self, run_id: str, entries: Iterable[CatalogEntry]) -> list[CatalogEntry]:
        """The entries of a run with the keys where their bytes are now that it has settled. Cost: 1 LIST."""
        kept = self._keys(first_key(run_id, ""))
        moved = {f"{run_id}/{key.removeprefix(first_key(run_id, ''))}": key for key in kept}
        return [
            entry.model_copy(
                update={
                    "catalog_relative_path": moved.get(
                        entry.catalog_relative_path, entry.catalog_relative_path
                    )
                }
            )
            for entry in entries
        ]

    def _entry(self, name: str, digest: str, key: str, size: int, stage: Any) -> CatalogEntry:
        return CatalogEntry(
            name=name,
            data_hash=digest,
            catalog_relative_path=key,
            catalog_handler_location=self.location,
            stage=stage,
            size=size,
        )

    def _keys(self, prefix: str) -> set[str]:
        import obstore

        try:
            return {meta["path"] for batch in obstore.list(self._store, prefix=prefix) for meta in batch}
        except Exception as error:
            raise StoreError(f"cannot list {self.location}/{prefix}: {error}") from error

    def _forget(self, key: str) -> None:
        try:
            self._store.delete(key)
        except Exception:  # noqa: BLE001 - an object that nobody names does no harm
            log.warning("could not remove %s/%s, which no record names", self.location, key)


class DoNothingCatalog:
    """The catalog of type ``do-nothing``: gets and puts do nothing and record nothing."""

    location = ""
    is_conditional = True

    def find_out_conditional(self) -> bool:
        """There is nothing to find out."""
        return True

    def put(self, run_id: str, folder: Path, patterns: Sequence[str], **_: Any) -> Moved:
        """Store nothing."""
        return Moved()

    def put_file(self, run_id: str, path: Path, name: str, **_: Any) -> None:
        """Store nothing."""

    def get(self, entries: Mapping[str, CatalogEntry], folder: Path, patterns: Sequence[str]) -> Moved:
        """Fetch nothing."""
        return Moved()

    def settle(self, run_id: str, entries: Iterable[CatalogEntry]) -> None:
        """There is nothing to settle."""

    def copy(self, sources: Mapping[str, str]) -> None:
        """There is nothing to copy."""

    def are_whole(self, entries: Iterable[CatalogEntry]) -> bool:
        """Nothing can be missing."""
        return True

    def forget(self, keys: Iterable[str]) -> None:
        """There is nothing to remove."""

    def located(self, run_id: str, entries: Iterable[CatalogEntry]) -> list[CatalogEntry]:
        """Nothing was stored."""
        return list(entries)


def kept_at(entry: CatalogEntry, run_id: str, attempt_id: str = "") -> CatalogEntry:
    """The entry as a run that takes it over has it.

    :param attempt_id: keep it with the files of this attempt; "": at the plain key of the run's folder.
    """
    folder = f"{run_id}/{VERSIONS}/{attempt_id}" if attempt_id else run_id
    return entry.model_copy(update={"catalog_relative_path": f"{folder}/{entry.name}"})


def _same_as(entry: CatalogEntry | None) -> Callable[[str], str | None]:
    """Where the bytes of a digest lie if ``entry`` has them; "" asks only whether there is an entry."""

    def same_as(digest: str) -> str | None:
        if entry is None or digest not in ("", entry.data_hash):
            return None
        return entry.catalog_relative_path

    return same_as
