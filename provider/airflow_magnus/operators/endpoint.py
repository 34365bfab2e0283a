"""The S3 endpoint beside one attempt of a step, and what becomes of what passes."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_magnus.errors import MagnusError, MissingExtraError
from airflow_magnus.gateway.commit import commit, keep_failed, out_view
from airflow_magnus.gateway.ledger import MOST_OBJECTS
from airflow_magnus.gateway.process import OUT, Gateway
from airflow_magnus.hooks.services import ServiceSources
from airflow_magnus.operators.endpoint_environment import TOKENS, VARIABLES, in_use
from airflow_magnus.operators.endpoint_inputs import EndpointInputs
from airflow_magnus.operators.staging import clear_before
from airflow_magnus.pipeline.model import EndpointRequest
from airflow_magnus.runlog.records import CatalogEntry, ObjectAccess
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

    variables = VARIABLES
    tokens = TOKENS

    def __init__(
        self,
        request: EndpointRequest,
        sources: ServiceSources,
        session: StepSession,
        before: Collection[ObjectAccess] = (),
    ) -> None:
        if importlib.util.find_spec("aiohttp") is None:
            raise MissingExtraError("a step with s3", "gateway")
        self._request = request
        self._session = session
        self._inputs = EndpointInputs(request, sources, session)
        self._gateway: Gateway | None = None
        self._before = list(before)
        self.accesses = list(before)

    @property
    def inputs(self) -> list[tuple[str, str, str]] | None:
        """What makes a difference to the step's result; None when that is not known."""
        digests = self._inputs.digests
        return [*digests, *([(OUT, "", "")] if self._request.out else ())] if digests is not None else None

    def __enter__(self) -> StepEndpoint:
        opened, run_id = self._session.opened, self._session.header.run_id
        out = None
        if self._request.out:
            place = self._inputs.place
            clear_before(self._session.services, place, run_id, opened.step)
            mark(self._catalog.client, run_id, opened.attempt_id)
            out = out_view(place.place, place.prefix, run_id, opened.attempt_id)
        self._gateway = Gateway(self._inputs.views, out).__enter__()
        names = [*self._inputs.views, *([OUT] if out is not None else ())]
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
        self._note()
        if not self._request.out:
            return []
        session, catalog = self._session, self._catalog
        run_id, attempt_id = session.header.run_id, session.opened.attempt_id
        entries = commit(
            self._serving, catalog.client, catalog.location, run_id, attempt_id, session.entries, taken
        )
        size = sum(entry.size or 0 for entry in entries)
        log.info("s3: %d files, %d bytes from bucket out are put in the catalog", len(entries), size)
        return entries

    def got(self) -> list[CatalogEntry]:
        """The files of the catalog that were read, as inputs of the step."""
        return self._inputs.read(self.accesses)

    # when the attempt has ended

    def keep_failed(self) -> None:
        """Note what has passed; lay aside what a failed attempt wrote, where that was asked for. Never raises."""
        if self._gateway is None:
            return
        try:
            self._note()
            if self._request.out and self._request.keep_failed:
                run_id, attempt_id = self._session.header.run_id, self._session.opened.attempt_id
                catalog = self._catalog
                place = keep_failed(self._gateway, catalog.client, catalog.location, run_id, attempt_id)
                if place:
                    self._session.warnings.append(f"s3: what this attempt wrote is kept at {place}")
        except MagnusError as error:
            log.warning("s3: %s", error)

    def drop(self) -> None:
        """Remove what was written from where it was staged. Never raises: the end of the run tries again."""
        if self._gateway is None or not self._request.out:
            return
        try:
            self._gateway.drop()
            unmark(self._catalog.client, self._session.header.run_id, self._session.opened.attempt_id)
        except Exception as error:  # noqa: BLE001 - the attempt has ended as it should
            log.warning("s3: what was staged could not be removed yet: %s", error)

    def _note(self) -> None:
        passed = self._serving.ledger()
        if len(passed) >= MOST_OBJECTS:
            self._session.warnings.append(
                f"s3: of the objects that were read or written the run log has the first {MOST_OBJECTS}"
            )
        self.accesses = [*self._before, *map(self._inputs.access, passed)]

    @property
    def _serving(self) -> Gateway:
        assert self._gateway is not None, "it does not serve"
        return self._gateway

    @property
    def _catalog(self) -> CatalogStore:
        catalog = self._session.services.catalog
        assert isinstance(catalog, CatalogStore), "a catalog that keeps nothing has no place for out"
        return catalog
