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

from airflow_magnus.errors import CatalogEntryNotFoundError, CatalogError, DigestMismatchError
from airflow_magnus.runlog.records import CatalogEntry
from airflow_magnus.stores.client import ObjectClient
from airflow_magnus.stores.downloads import digest_of, download
from airflow_magnus.stores.landing import Landing, remove_left_over
from airflow_magnus.stores.names import VERSIONS, Places, checked, files_to_put, first_key
from airflow_magnus.stores.objects import probe
from airflow_magnus.stores.parallel import MOST, in_parallel
from airflow_magnus.stores.progress import Lines, Progress
from airflow_magnus.stores.settling import copy_all, keys_below, settle
from airflow_magnus.stores.uploads import Sent, Upload, unchanged, upload
from airflow_magnus.stores.wanted import chosen_by

log = logging.getLogger(__name__)

Earlier = Callable[[], Mapping[str, CatalogEntry]]
"""Gives what the same step put in a run that is run again, by name; asked only where it can save an upload."""


@dataclass
class Moved:
    """What a get or a put did.

    :param warnings: sentences for the step's message.
    :param files: how many were sent or fetched; those that were there already do not count.
    :param size: bytes that were sent or fetched.
    """

    entries: list[CatalogEntry] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    files: int = 0
    size: int = 0


class CatalogStore:
    """The catalog over one obstore store.

    :param location: as configured; recorded with every entry.
    :param threads: transfers at a time, at most; how many there are is found out.
    :param is_known: False for a server that may ignore create-only writes: one of S3's kind that is not AWS.

    Where ``is_conditional`` is set to False, a put lists what is there first.
    """

    def __init__(self, store: Any, location: str, *, is_known: bool = True, threads: int = MOST) -> None:
        self._client = ObjectClient(store, most=threads)
        self.location = location
        self.is_conditional = True
        self._is_known = is_known

    @property
    def client(self) -> ObjectClient:
        """Requests to the store."""
        return self._client

    def find_out_conditional(self) -> bool:
        """Whether the store honours create-only writes. Cost: 5 requests where that is not known, else none."""
        return self._is_known or probe(self._client.store, self.location).is_conditional

    def put(
        self,
        run_id: str,
        folder: Path,
        patterns: Sequence[str],
        *,
        attempt_id: str,
        known: Mapping[str, CatalogEntry],
        earlier: Earlier = dict,
        progress: Progress | None = None,
    ) -> Moved:
        """Store the files below ``folder`` that any pattern matches.

        :param known: what is committed in this run already; the same name and digest is not sent again.
        :param progress: told of each file; default: a line in the log now and then.
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
        self._send(run_id, chosen, attempt_id, known, earlier, moved, progress)
        return moved

    def put_file(
        self,
        run_id: str,
        path: Path,
        name: str,
        *,
        attempt_id: str,
        known: Mapping[str, CatalogEntry],
        earlier: Earlier = dict,
    ) -> CatalogEntry:
        """Store one file under ``name``."""
        if not path.exists():
            raise CatalogError(f"put_in_catalog: there is no file {path}")
        moved = Moved()
        self._send(run_id, {checked(name): path}, attempt_id, known, earlier, moved, None)
        return moved.entries[0]

    def _send(
        self,
        run_id: str,
        chosen: Mapping[str, Path],
        attempt_id: str,
        known: Mapping[str, CatalogEntry],
        earlier: Earlier,
        moved: Moved,
        progress: Progress | None,
    ) -> None:
        started = time.monotonic()
        progress = progress or Lines("catalog put", log.info)
        progress.begin(len(chosen), sum(_size(path) for path in chosen.values()))
        taken = set() if self.is_conditional else keys_below(self._client, self.location, run_id)

        def wanted(name: str, path: Path) -> Upload:
            plain = f"{run_id}/{name}"
            return Upload(
                path=path,
                key=plain,
                other_key=f"{run_id}/{VERSIONS}/{attempt_id}/{name}",
                known=known.get(name),
                earlier=lambda: earlier().get(name),
                is_free=None if self.is_conditional else plain not in taken,
            )

        def done(name: str, one: Sent) -> None:
            sent[name] = one
            progress.end(one.size)

        sent: dict[str, Sent] = {}
        for name, path in chosen.items():
            if name in known and (one := unchanged(wanted(name, path))):
                done(name, one)
        todo = [(name, path) for name, path in chosen.items() if name not in sent]
        try:
            in_parallel(
                lambda item: done(item[0], upload(self._client, wanted(*item))), todo, self._client.pace
            )
        except BaseException:
            self.forget([one.key for one in sent.values() if one.is_new])
            raise
        finally:
            self._client.buffers.release()
        moved.entries += [self._entry(name, sent[name]) for name in chosen]
        results = sent.values()
        there = sum(not one.is_new for one in results)
        copied = sum(one.is_copied for one in results)
        moved.files = len(results) - there - copied
        moved.size = sum(one.size for one in results if one.is_new and not one.is_copied)
        log.info(
            "catalog put: %d files, %d bytes sent, to %s/%s: %d sent, %d there already with the same bytes, "
            "%d copied inside the store; %.2f s",
            len(results), moved.size, self.location, run_id, moved.files, there, copied,
            time.monotonic() - started,
        )  # fmt: skip

    def get(
        self,
        entries: Mapping[str, CatalogEntry],
        folder: Path,
        patterns: Sequence[str],
        *,
        progress: Progress | None = None,
    ) -> Moved:
        """Fetch the entries that any pattern matches into ``folder``, which is made.

        :param entries: name to committed entry.
        :param progress: told of each file; default: a line in the log now and then.
        :raises CatalogError: when an object is gone, damaged, or would be written outside the folder.
        """
        moved = Moved()
        if not patterns:
            return moved
        started = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        chosen = chosen_by(patterns, entries, moved.warnings)
        places = Places(folder)
        targets = {name: places.of(name) for name in chosen}
        remove_left_over(places.folders.values())
        progress = progress or Lines("catalog get", log.info)
        progress.begin(len(chosen), sum(entry.size or 0 for entry in chosen.values()))

        def fetch(entry: CatalogEntry) -> CatalogEntry:
            size = self._fetch(entry, targets[entry.name], landing)
            progress.end(size)
            return entry.model_copy(update={"stage": "get", "size": size})

        with Landing() as landing:
            moved.entries = in_parallel(fetch, chosen.values(), self._client.pace)
        moved.files, moved.size = len(moved.entries), sum(entry.size or 0 for entry in moved.entries)
        log.info(
            "catalog get: %d files, %d bytes, %.2f s, from %s",
            moved.files, moved.size, time.monotonic() - started, self.location,
        )  # fmt: skip
        return moved

    def _fetch(self, entry: CatalogEntry, target: str, landing: Landing) -> int:
        """Download what an entry names: from its key, or from where :meth:`settle` keeps what was there first."""
        key, digest = entry.catalog_relative_path, entry.data_hash
        what = f"catalog get: {entry.name!r} at {self.location}/{key}"
        try:
            return download(self._client, key, target, digest, entry.size, what=what, landing=landing)
        except DigestMismatchError:
            run_id, _, name = key.partition("/")
            if name == entry.name:
                with suppress(CatalogEntryNotFoundError):
                    first = first_key(run_id, name)
                    return download(
                        self._client, first, target, digest, entry.size, what=what, landing=landing
                    )
            raise

    def settle(self, run_id: str, entries: Iterable[CatalogEntry]) -> None:
        """Bring the plain keys up to the entries that count. Cost: see :func:`settling.settle`."""
        settle(self._client, self.location, run_id, entries, is_conditional=self.is_conditional)

    def copy(self, sources: Mapping[str, str]) -> None:
        """Copy objects inside the store: new key → key. Cost: 1 request each, no byte passes through here."""
        copy_all(self._client, self.location, sources)

    def are_whole(self, entries: Iterable[CatalogEntry]) -> bool:
        """Whether the bytes of all entries are there with their digests. Cost: reads them all."""

        def is_whole(entry: CatalogEntry) -> bool:
            try:
                key = entry.catalog_relative_path
                return self._client.run(lambda store: digest_of(store, key)) == entry.data_hash
            except FileNotFoundError:
                return False

        return all(in_parallel(is_whole, entries, self._client.pace))

    def forget(self, keys: Iterable[str]) -> None:
        """Remove what a failed attempt has stored: nobody will ask for it, and a plain key is better left free."""
        in_parallel(self._forget, keys, self._client.pace)

    def located(self, run_id: str, entries: Iterable[CatalogEntry]) -> list[CatalogEntry]:
        """The entries of a run with the keys where their bytes are now that it has settled. Cost: 1 LIST."""
        prefix = first_key(run_id, "")
        kept = keys_below(self._client, self.location, prefix)
        moved = {f"{run_id}/{key.removeprefix(prefix)}": key for key in kept}
        return [
            entry.model_copy(update={"catalog_relative_path": moved[entry.catalog_relative_path]})
            if entry.catalog_relative_path in moved
            else entry
            for entry in entries
        ]

    def _entry(self, name: str, sent: Sent) -> CatalogEntry:
        return CatalogEntry(
            name=name,
            data_hash=sent.digest,
            catalog_relative_path=sent.key,
            catalog_handler_location=self.location,
            stage="put",
            size=sent.size,
        )

    def _forget(self, key: str) -> None:
        try:
            self._client.run(lambda store: store.delete(key))
        except Exception:  # noqa: BLE001 - an object that nobody names does no harm
            log.warning("could not remove %s/%s, which no record names", self.location, key)


def kept_at(entry: CatalogEntry, run_id: str, attempt_id: str = "") -> CatalogEntry:
    """The entry as a run that takes it over has it.

    :param attempt_id: keep it with the files of this attempt; "": at the plain key of the run's folder.
    """
    folder = f"{run_id}/{VERSIONS}/{attempt_id}" if attempt_id else run_id
    return entry.model_copy(update={"catalog_relative_path": f"{folder}/{entry.name}"})


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # what is wrong with it is said when it is sent
        return 0
