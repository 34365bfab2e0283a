"""The S3 endpoint beside one attempt of a step, and what becomes of what passes."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_magnus.errors import MagnusError, MissingExtraError
from airflow_magnus.gateway.commit import commit, keep_failed, kept_at, out_view
from airflow_magnus.gateway.ledger import MOST_OBJECTS
from airflow_magnus.gateway.process import Gateway
from airflow_magnus.gateway.views import Overlay, View
from airflow_magnus.hooks.services import ServiceSources
from airflow_magnus.operators.endpoint_environment import TOKENS, VARIABLES, in_use
from airflow_magnus.operators.endpoint_inputs import EndpointInputs
from airflow_magnus.operators.no_endpoint import NoEndpoint
from airflow_magnus.operators.staging import clear_before
from airflow_magnus.pipeline.model import EndpointRequest
from airflow_magnus.runlog.records import WRITTEN, CatalogEntry, ObjectAccess
from airflow_magnus.stores.catalog import CatalogStore
from airflow_magnus.stores.staging import mark, unmark

if TYPE_CHECKING:
    from airflow_magnus.operators.session import StepSession

log = logging.getLogger(__name__)


class StepEndpoint:
    """The endpoint of one attempt; serves from the beginning of the ``with`` block to its end.

    :param before: what had passed before the attempt was deferred.
    :ivar accesses: what had passed when it was last noted.
    :ivar variables: names of what a container needs of the environment; those in ``tokens`` nobody may see.
    :raises MissingExtraError: when what it needs is not installed.
    :raises MagnusError: when an input is not there.
    """

    variables: tuple[str, ...] = VARIABLES
    tokens: tuple[str, ...] = TOKENS
    holds_catalog = False
    """Whether the files of the catalog come and go by it, so that none are copied."""

    def __init__(
        self,
        request: EndpointRequest,
        sources: ServiceSources,
        session: StepSession,
        before: NoEndpoint,
    ) -> None:
        if importlib.util.find_spec("aiohttp") is None:
            raise MissingExtraError("a step with s3", "gateway")
        self._request = request
        self._session = session
        self._inputs = EndpointInputs(request, sources, session)
        self._gateway: Gateway | None = None
        prepare = getattr(session.services.secrets, "prepare", None)
        if prepare is not None:  # the environment leads elsewhere while the command runs
            prepare()
        self._before = before
        self.accesses = list(before.accesses)

    @property
    def inputs(self) -> list[tuple[str, str, str]] | None:
        """What makes a difference to the step's result; None when that is not known."""
        digests = self._inputs.digests
        return (
            [*digests, *([(WRITTEN, "", "")] if self._request.out else ())] if digests is not None else None
        )

    def __enter__(self) -> StepEndpoint:
        opened, run_id = self._session.opened, self._session.header.run_id
        out: View | Overlay | None = None
        if self._request.out:
            place = self._inputs.place
            clear_before(self._session.services, place, run_id, opened.step)
            mark(self._catalog.client, run_id, opened.attempt_id)
            out = self._out(out_view(place.place, place.prefix, run_id, opened.attempt_id))
        self._gateway = Gateway(self._inputs.views, out).__enter__()
        names = [*self._inputs.views, *([WRITTEN] if out is not None else ())]
        buckets = ", ".join(f"s3://{name}" for name in names)
        log.info("s3: %s at %s, with a token of this attempt", buckets, self._gateway.endpoint)
        return self

    def __exit__(self, *error: Any) -> None:
        if self._gateway is not None:
            self._gateway.__exit__(*error)
        self._gateway = None

    # while it serves

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let the code of this process, and its children, find the endpoint and no other way to a store."""
        with in_use(self._serving):
            yield

    def check(self) -> None:
        """Make sure that it serves still.

        :raises GatewayError: when it does not: the step has failed.
        """
        self._serving.check()

    def commit(self, taken: Collection[str]) -> list[CatalogEntry]:
        """Make catalog entries of what was written; called before the record of the attempt is.

        :param taken: names that the attempt has put in another way.
        :raises GatewayError: when the gateway is gone.
        :raises CatalogError: when what was written cannot be part of the catalog.
        """
        if self._request.out:
            self._serving.seal()  # what is written after the note would be missing in it
        self._note()
        if not self._request.out:
            return []
        catalog, known = self._catalog, self._session.entries
        place = catalog.location
        entries = commit(self._serving, catalog.client, place, *self._names, known, taken, self._taken_in)
        self.accesses = _completed(self.accesses, entries)
        size = sum(entry.size or 0 for entry in entries)
        log.info("s3: %d files, %d bytes from bucket out are put in the catalog", len(entries), size)
        return entries

    def _out(self, written: View) -> View | Overlay:
        """What the bucket ``out`` shows."""
        return written

    @property
    def _taken_in(self) -> Sequence[str]:
        """Patterns of what becomes entries of the catalog."""
        return ("**",)

    def got(self) -> list[CatalogEntry]:
        """The files of the catalog that were read, as inputs of the step."""
        return [*self._before.got(), *self._inputs.read(self.accesses[len(self._before.accesses) :])]

    # when the attempt has ended

    def note_failure(self) -> None:
        """Note what has passed, and what is kept; called before the record of a failure. Never raises."""
        if self._gateway is None:
            return
        try:
            self._note()
            if self._request.keep_failed and self._request.out and self._gateway.outputs():
                place = kept_at(self._catalog.location, *self._names)
                self._session.warnings.append(f"s3: what this attempt wrote is kept at {place}")
        except MagnusError as error:
            log.warning("s3: %s", error)

    def give_up(self) -> None:
        """Remove what a failed attempt wrote, or lay it aside where that was asked for. Never raises."""
        if self._gateway is None or not self._request.out:
            return
        if self._request.keep_failed:
            try:
                keep_failed(self._gateway, self._catalog.client, self._catalog.location, *self._names)
            except Exception as error:  # noqa: BLE001 - left where it is, and its mark removed, so that nobody clears it
                log.warning("s3: what this attempt wrote stays where it is staged: %s", error)
                self._unmark()
                return
        self.drop()

    def drop(self) -> None:
        """Remove what was written from where it was staged. Never raises: the next one tries again."""
        if self._gateway is None or not self._request.out:
            return
        try:
            self._gateway.drop()
            self._unmark()
        except Exception as error:  # noqa: BLE001 - the attempt has ended as it should
            log.warning("s3: what was staged could not be removed yet: %s", error)

    def _unmark(self) -> None:
        unmark(self._catalog.client, *self._names)

    @property
    def _names(self) -> tuple[str, str]:
        """The ids of run and attempt."""
        return self._session.header.run_id, self._session.opened.attempt_id

    def _note(self) -> None:
        passed = self._serving.ledger()
        if len(passed) >= MOST_OBJECTS:
            self._session.warnings.append(
                f"s3: of the objects that were read or written the run log has the first {MOST_OBJECTS}"
            )
        self.accesses = [*self._before.accesses, *map(self._inputs.access, passed)]

    @property
    def _serving(self) -> Gateway:
        assert self._gateway is not None, "it does not serve"
        return self._gateway

    @property
    def _catalog(self) -> CatalogStore:
        catalog = self._session.services.catalog
        assert isinstance(catalog, CatalogStore), "a catalog that keeps nothing has no place for out"
        return catalog


def _completed(accesses: list[ObjectAccess], entries: list[CatalogEntry]) -> list[ObjectAccess]:
    """With where each object that was written lies now, its size and digest: of copies the gateway knows neither."""
    made = {entry.name: entry for entry in entries}
    found = []
    for access in accesses:
        entry = made.get(access.key) if (access.action, access.bucket) == ("write", WRITTEN) else None
        if entry is not None:
            place = f"{entry.catalog_handler_location}/{entry.catalog_relative_path}"
            new = {"source": place, "size": entry.size, "data_hash": entry.data_hash}
            found.append(access.model_copy(update=new))
        else:
            found.append(access)
    return found
