"""Buckets as folders around one attempt of a step: ``mnt/<name>`` below its working folder."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from airflow_magnus.errors import MagnusError
from airflow_magnus.hooks.services import ServiceSources
from airflow_magnus.mount.copies import Copies
from airflow_magnus.mount.engines import preflight
from airflow_magnus.mount.janitor import clear_stale
from airflow_magnus.mount.mount import Mount
from airflow_magnus.mount.places import Access
from airflow_magnus.operators.endpoint import StepEndpoint
from airflow_magnus.operators.environment import scratch_folder
from airflow_magnus.operators.no_endpoint import NoEndpoint
from airflow_magnus.operators.session import StepSession
from airflow_magnus.pipeline.model import EndpointRequest, MountRequest
from airflow_magnus.runlog.records import WRITTEN, CatalogEntry

log = logging.getLogger(__name__)

FOLDER = "mnt"
"""Below the working folder: where the buckets appear."""


def falls_back(request: MountRequest, session: StepSession) -> bool:
    """Whether copies take the place of a mount that was asked for; the step's message says why."""
    missing = preflight(request.engine) if request.fallback else []
    if missing:
        session.warnings.append(f"mount: files are copied, as a mount needs {'; '.join(missing)}")
    return bool(missing)


class _Over(Exception):  # noqa: N818 - no error: tells a mount that nothing is to be saved any more
    """The attempt has ended."""


class StepMount(StepEndpoint):
    """The folders of one attempt. They are those of its endpoint, which the step's code does not see.

    Parameters and errors: as of :class:`StepEndpoint`.

    :raises MountError: on entering, when nothing can be mounted and no fallback was asked for.
    """

    variables = ()
    tokens = ()

    def __init__(
        self, request: EndpointRequest, sources: ServiceSources, session: StepSession, before: NoEndpoint
    ) -> None:
        super().__init__(request, sources, session, before)
        assert isinstance(request, MountRequest)
        self._mount_request = request
        self._mount: Mount | Copies | None = None
        self._open = ExitStack()

    def __enter__(self) -> StepMount:
        for leftover in clear_stale():
            log.warning("mount: %s", leftover)
        with ExitStack() as stack:
            super().__enter__()
            stack.callback(super().__exit__, None, None, None)
            folders = self._folders()
            stack.enter_context(folders)
            self._mount = folders
            self._open = stack.pop_all()
        return self

    def _folders(self) -> Mount | Copies:
        request = self._mount_request
        access = dict.fromkeys(request.inputs, Access.READ_ONLY)
        if request.out:
            access[WRITTEN] = Access.WRITABLE
        folder = self._session.workspace.folder.absolute() / FOLDER
        if falls_back(request, self._session):
            return Copies(self._serving, folder, access)
        return Mount(self._serving, folder, access, request.engine, scratch=Path(scratch_folder()))

    def __exit__(self, *error: Any) -> None:
        self._mount = None
        stack, self._open = self._open, ExitStack()
        # What counts was drained by the commit, and what a failed attempt wrote is not waited for.
        stack.__exit__(_Over, _Over(), None)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The environment stays as it is: the code sees folders alone."""
        yield

    def check(self) -> None:
        """Make sure that all is mounted still.

        :raises StoreError: when it is not: the step has failed.
        """
        super().check()
        assert self._mount is not None
        self._mount.check()

    def commit(self, taken: Collection[str]) -> list[CatalogEntry]:
        """Wait until all that was written is in the store, then as of :meth:`StepEndpoint.commit`.

        :raises MountError: naming files that are not.
        """
        assert self._mount is not None
        if self._mount_request.out:
            self._mount.drain()
        return super().commit(taken)

    def note_failure(self) -> None:
        """As of :meth:`StepEndpoint.note_failure`; what is kept on request is saved before."""
        if self._mount is not None and self._mount_request.out and self._mount_request.keep_failed:
            try:
                self._mount.drain()
            except MagnusError as error:
                log.warning("mount: %s", error)
        super().note_failure()
