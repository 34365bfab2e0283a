"""Buckets of a gateway as folders, around a task."""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.gateway.process import Gateway
from airflow_magnus.gateway.views import REGION
from airflow_magnus.mount.comparison import differences, flush, shown
from airflow_magnus.mount.ending import clear_away, end_mounts
from airflow_magnus.mount.engines import DEFAULT, engine_named, preflight
from airflow_magnus.mount.faults import MountError, UnsavedError, some
from airflow_magnus.mount.link import SupervisorLink
from airflow_magnus.mount.markers import remove_objects
from airflow_magnus.mount.mountpoints import source_at
from airflow_magnus.mount.places import Access, Place
from airflow_magnus.mount.saving import Saving
from airflow_magnus.mount.state import MountState, private, state_folder
from airflow_magnus.runlog.records import WRITTEN

log = logging.getLogger(__name__)

_START = 60.0
_MARGIN = 90.0
"""Seconds that the supervisor may take beyond the patience it was asked for."""


class Mount:
    """Buckets as folders, for as long as the ``with`` block goes on.

    Mounted when the block begins. At its end, however it ends, there is no mount, process, socket or cache any more; when
    the task dies, a supervisor sees to that within 5 s. A block that ends well ends with :meth:`drain`, if that was not
    called. What was written in a block that raises may be lost.

    :param gateway: that serves the buckets; it outlives the mount.
    :param folder: where they appear, each under its name; made where it is not. The folder of a bucket is empty.
    :param buckets: by name; only ``out`` can be writable.
    :param engine: ``rclone`` or ``s3fs``.
    :param over: folders of single buckets that are not below ``folder``; what lies there is hidden meanwhile.
    :param scratch: where caches go, which may become as large as the data; None: where temporary files go.
    :param notes: the folder where mounts are noted for :func:`airflow_magnus.mount.janitor.clear_stale`, on a disk of
        this machine; None: :func:`airflow_magnus.mount.state.state_folder`.
    :param patience: seconds to wait for programs that hold files open, and for busy folders.
    :param is_shared: whether other users may look into the folders; ``user_allow_other`` must stand in /etc/fuse.conf
        when this user is not root.
    :param write_back: seconds after a file's close at which rclone sends it, at least 1; the drain is shorter then. For
        programs that write each file once, and alone: rclone loses track of files that are renamed, removed or truncated
        by path shortly after. None: all is sent by :meth:`drain`, and lies in ``scratch`` until then.
    :ivar warnings: what came up and is no error.
    :raises ConfigurationError: for an engine or access that there is not.
    :raises MountError: on entering, when something is missing or no mount comes up; says what and what to do.
    """

    def __init__(
        self,
        gateway: Gateway,
        folder: Path,
        buckets: Mapping[str, Access],
        engine: str = DEFAULT,
        *,
        over: Mapping[str, Path] | None = None,
        scratch: Path | None = None,
        notes: Path | None = None,
        patience: float = 30.0,
        is_shared: bool = False,
        write_back: float | None = None,
    ) -> None:
        self._engine, self._gateway = engine_named(engine), gateway
        wrong = sorted(
            name for name, access in buckets.items() if access == Access.WRITABLE and name != WRITTEN
        )
        if wrong:
            raise ConfigurationError(f"bucket {wrong[0]!r} is read-only: only {WRITTEN!r} can be written to")
        self._folder, self._scratch, self._notes = folder.absolute(), scratch, notes
        self._over = {name: path.absolute() for name, path in (over or {}).items()}
        self._buckets, self._is_shared, self._patience = dict(buckets), is_shared, patience
        self._write_back = write_back
        self.warnings: list[str] = []
        self._places: list[Place] = []
        self._made: list[Path] = []
        self._is_drained = False
        self._gone: set[str] = set()
        self._note: Path | None = None
        self._link: SupervisorLink | None = None
        self._owner = 0

    def __enter__(self) -> Mount:
        missing = preflight(self._engine.name)
        if missing:
            raise MountError(f"a mount by {self._engine.name} needs {'; '.join(missing)}")
        self._owner = os.getpid()
        try:
            self._link = self._start()
        except BaseException:
            for folder in reversed(self._made):
                folder.rmdir()
            raise
        try:
            answer = self._link.answer(_START)
        except BaseException:
            self._end()
            raise
        if answer["kind"] != "ready":
            self._link.close()
            self._link = None
            raise MountError("; ".join(answer["faults"]))
        names = ", ".join(f"{place.mountpoint} ({place.access})" for place in self._places)
        log.info("mount: %s, by %s", names, self._engine.name)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._link is None or self._owner != os.getpid():  # a fork of the task does not end its mounts
            return
        try:
            if kind is None and not self._is_saved():
                self.drain()
        finally:
            self._end()

    def folder_of(self, bucket: str) -> Path:
        """Where a bucket appears."""
        return self._over.get(bucket) or self._folder / bucket

    def check(self) -> None:
        """Make sure that all mounts are there; cheap.

        :raises MountError: when one is not, says why.
        """
        if self._link is None:
            raise MountError("the buckets are not mounted: that begins with the block")
        self._link.look()
        if self._link.end:
            raise MountError(f"{self._link.end}; run the task again")
        for place in self._places:
            if place.bucket not in self._gone and source_at(place.mountpoint) != place.source:
                raise MountError(
                    f"somebody has unmounted {place.mountpoint}; run the task again, and leave it mounted"
                )

    def drain(self, timeout: float | None = None) -> None:
        """Wait until all that was written is in the store, and make sure of it; called when the program has ended.

        By s3fs the folder of a writable bucket is unmounted behind it. Bytes that the engine still has are read once more
        and compared with the store's sha256. Cost: as of :meth:`Gateway.shown`.

        :param timeout: seconds to wait for the engine; None: as long as it goes on.
        :raises MountError: names files that are not in the store as they were written.
        """
        until = None if timeout is None else time.monotonic() + timeout
        for place in self._writable():
            try:
                self._check_both()
                self._drain(place, until)
            except UnsavedError:
                raise
            except OSError as error:  # MountError and GatewayError are such
                lost = sorted(repr(held.name) for held in self._engine.held(place))
                names = f"; not in the store: {some(lost)}" if lost else ""
                raise MountError(
                    f"what was written to {place.mountpoint} is not saved: {error}{names}"
                ) from error
        self._is_drained = True

    def _drain(self, place: Place, until: float | None) -> None:
        began = time.monotonic()
        flush(place.mountpoint)
        written = shown(place.mountpoint)
        Saving(self._engine, place, self._patience, until, self._check_both).wait()
        if self._engine.saves_by_unmount:
            self._unmount(place)
        else:  # what somebody has removed meanwhile was shown before: better an error too many
            written |= shown(place.mountpoint)
        stored = {one.name: one for one in self._gateway.shown() if one.bucket == place.bucket}
        gone = [name for name, one in stored.items() if name.endswith("/") and not one.size]
        if place.hides:  # here the folder is right: rclone does not tell the store of all that was removed
            gone = sorted(set(stored) - set(written))
        if gone:
            remove_objects(self._gateway, place.bucket, gone)
        wrong = differences(written, stored, self._engine.copies(place))
        if place.write_back is not None and not self._engine.saves_by_unmount:
            extra = sorted(set(stored) - set(written))
            wrong += [
                f"{name!r} (in the store, and not in the folder: it was removed or renamed there)"
                for name in extra
            ]
        if wrong:
            raise UnsavedError(
                f"bucket {place.bucket!r} does not have what was written to {place.mountpoint}: {some(wrong)}"
            )
        log.info(
            "mount: %d files, %d bytes of %s are saved, %.1f s", len(written), sum(written.values()), place.mountpoint,
            time.monotonic() - began,
        )  # fmt: skip

    def _writable(self) -> list[Place]:
        return [place for place in self._places if place.is_writable and place.bucket not in self._gone]

    def _check_both(self) -> None:
        self.check()
        self._gateway.check()

    def _unmount(self, place: Place) -> None:
        assert self._link is not None
        self._gone.add(place.bucket)
        answer = self._link.ask(
            self._patience + _MARGIN, kind="unmount", bucket=place.bucket, patience=self._patience
        )
        if "fault" in answer:
            self._gone.discard(place.bucket)
            raise MountError(answer["fault"])

    def _is_saved(self) -> bool:
        """Whether all was drained, and nothing waits since."""
        return self._is_drained and not any(self._engine.hurry(place) for place in self._writable())

    def _make_folders(self) -> None:
        for name in self._buckets:
            target = self.folder_of(name)
            if source_at(target):
                raise MountError(
                    f"{target} is mounted already: by another task, or by one that has died. Clear up by"
                    " airflow_magnus.mount.janitor.clear_stale, or choose another folder"
                )
            missing = [path for path in (target, *target.parents) if not path.exists()]
            target.mkdir(parents=True, exist_ok=True)
            self._made += reversed(missing)
            if name not in self._over and any(target.iterdir()):
                raise MountError(
                    f"{target} is not empty: a mount would hide what is there; choose another folder"
                )

    def _start(self) -> SupervisorLink:
        self._folder = self._folder.resolve()
        self._over = {name: path.resolve() for name, path in self._over.items()}
        name = f"mount-{self._owner}-{secrets.token_hex(4)}"
        self._note = private(self._notes or state_folder()) / f"{name}.json"
        above = (self._scratch or Path(tempfile.gettempdir())).absolute()
        above.mkdir(parents=True, exist_ok=True)
        scratch = above.resolve() / name  # made by the supervisor
        shared, later = self._is_shared, self._write_back
        self._places = [
            Place(name, self.folder_of(name), scratch / str(n), access, shared, later, name in self._over)
            for n, (name, access) in enumerate(self._buckets.items())
        ]
        self._make_folders()
        return SupervisorLink({
            "parent": self._owner, "engine": self._engine.name, "note": str(self._note), "scratch": str(scratch),
            "endpoint": {"url": self._gateway.endpoint, "token": self._gateway.token, "region": REGION},
            "places": [place.as_json() for place in self._places], "made": [*map(str, self._made)],
        })  # fmt: skip

    def _end(self) -> None:
        link, self._link = self._link, None
        assert link is not None
        assert self._note is not None
        try:
            answer = link.ask(self._patience + _MARGIN, kind="stop", patience=self._patience)
            while answer["kind"] != "stopped":
                answer = link.answer(_MARGIN)
            warnings, faults = answer["warnings"], answer["faults"]
            link.close()
        except MountError as error:
            link.close()
            warnings, faults = [str(error)], self._end_here()
        self.warnings += warnings
        for text in (*warnings, *faults):
            log.warning("mount: %s", text)
        self.warnings += faults

    def _end_here(self) -> list[str]:
        """End the mounts without their supervisor."""
        assert self._note is not None
        try:
            state = MountState.read(self._note)
        except (OSError, ValueError):
            return []  # it had come to its end
        remarks = end_mounts(state, self._patience)
        self.warnings += remarks.warnings
        return [*remarks.faults, *clear_away(state)]
