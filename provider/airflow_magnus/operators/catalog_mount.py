"""The compute data folder of one attempt as a mount of the run's catalog: ``catalog: {mode: mount}``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.gateway.views import BELOW, Overlay, View
from airflow_magnus.hooks.services import ServiceSources
from airflow_magnus.mount.faults import some
from airflow_magnus.mount.mount import Mount
from airflow_magnus.mount.places import Access
from airflow_magnus.operators.environment import scratch_folder
from airflow_magnus.operators.mount import StepMount
from airflow_magnus.operators.no_endpoint import NoEndpoint
from airflow_magnus.operators.session import StepSession
from airflow_magnus.pipeline.model import EndpointRequest
from airflow_magnus.runlog.records import WRITTEN, CatalogEntry
from airflow_magnus.stores.catalog import CatalogStore
from airflow_magnus.stores.globs import matches
from airflow_magnus.stores.wanted import chosen_by, refuse_missing


class CatalogMount(StepMount):
    """The folder of one attempt: all files of the run that the step sees, and over them what it writes.

    No file of the catalog is ever changed by it: one that is written or removed is so for this attempt, until its record
    is committed. Parameters and errors: as of :class:`StepMount`.

    :raises CatalogError: when a file that ``get`` names is not there as it was recorded.
    """

    holds_catalog = True

    def __init__(
        self, request: EndpointRequest, sources: ServiceSources, session: StepSession, before: NoEndpoint
    ) -> None:
        super().__init__(request, sources, session, before)
        catalog, data = session.services.catalog, session.workspace.data
        if not isinstance(catalog, CatalogStore):
            raise ConfigurationError(
                "catalog: {mode: mount} needs a catalog that keeps files: choose one of type file-system or s3, or remove mode"
            )
        if data.resolve() == session.workspace.folder.resolve():
            raise ConfigurationError(
                "the compute data folder is the working folder itself, and a mount there would hide the step's code: name"
                " another one by catalog.compute_data_folder, such as data"
            )
        located = catalog.located(session.header.run_id, session.entries.values())
        entries = {entry.name: entry for entry in located}
        self._inputs.entries[BELOW] = entries
        wanted = chosen_by(session.request.get, entries, session.warnings)
        refuse_missing(catalog.client, catalog.location, wanted.values())

    def _folders(self) -> Mount:
        data = self._session.workspace.data
        return Mount(
            self._serving,
            data.parent,
            {WRITTEN: Access.WRITABLE},
            self._mount_request.engine,
            over={WRITTEN: data},
            scratch=Path(scratch_folder()),
        )

    def _out(self, written: View) -> View | Overlay:
        below = self._inputs.place.view(self._inputs.entries[BELOW], is_recorded=False)
        # rclone renames by a copy in the store, and loses what the step has written under the new name before.
        return Overlay(written, below, has_copies=self._mount_request.engine != "rclone")

    @property
    def _taken_in(self) -> Sequence[str]:
        return self._session.request.put

    def commit(self, taken: Collection[str]) -> list[CatalogEntry]:
        """As of :meth:`StepMount.commit`, of files that ``put`` names. They win over those that were put in another way."""
        entries = super().commit(())
        patterns = self._session.request.put
        shown = {one.name for one in self._serving.shown()}
        written = {one.name for one in self._serving.outputs()}
        for pattern in patterns:
            if not any(matches(pattern, name) for name in shown):
                folder = self._session.workspace.data
                self._session.warnings.append(f"catalog put: {pattern!r} matches no file in {folder}")
        left = sorted(written - {entry.name for entry in entries} - set(taken))
        if left:
            self._session.warnings.append(
                f"catalog put: no pattern matches {some([*map(repr, left)])}: written by the step, and not kept"
            )
        return entries
