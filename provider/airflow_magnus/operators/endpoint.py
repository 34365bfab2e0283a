"""The S3 endpoint beside one attempt of a step: what lies in its buckets, what passes, and what becomes of ``out``."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_magnus.errors import MagnusError, MissingExtraError
from airflow_magnus.gateway.commit import clear_dead, commit, keep_failed, out_view
from airflow_magnus.gateway.ledger import MOST_OBJECTS, Passed
from airflow_magnus.gateway.process import OUT, Gateway
from airflow_magnus.gateway.views import Folder, View
from airflow_magnus.hooks.buckets import CatalogPlace, bucket_of, catalog_place
from airflow_magnus.hooks.services import OpenServices, ServiceSources
from airflow_magnus.pipeline.model import EndpointRequest
from airflow_magnus.runlog.records import CatalogEntry, ObjectAccess
from airflow_magnus.stores.catalog import CatalogStore
from airflow_magnus.stores.sources import FileFinder

if TYPE_CHECKING:
    from airflow_magnus.operators.session import StepSession
    from airflow_magnus.runlog.records import RunHeader, StepIdentity

log = logging.getLogger(__name__)

_VARIABLES = (
    "S3_ENDPOINT",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ALLOW_HTTP",
    "AWS_EC2_METADATA_DISABLED",
    "NO_PROXY",
    "no_proxy",
)
"""What a step's code finds the endpoint by, beside the token."""
_TOKENS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_OTHER_ACCESS = (
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ENDPOINT_URL",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)
"""What would lead the step's code to the real store, or be sent to the endpoint."""


class StepEndpoint:
    """The endpoint of one attempt; serves from the beginning of the ``with`` block to its end.

    :param before: what had passed before the attempt was deferred.
    :ivar accesses: what had passed when it was last noted.
    :ivar variables: names of what a container needs of :meth:`environment`; those in ``tokens`` nobody may see.
    :raises MissingExtraError: when what it needs is not installed.
    :raises MagnusError: when an input is not there.
    """

    variables = _VARIABLES
    tokens = _TOKENS

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
        self._sources = sources
        self._session = session
        self._gateway: Gateway | None = None
        self._before = list(before)
        self.accesses = list(before)
        self._entries: dict[str, dict[str, CatalogEntry]] = {}
        self._views = self._inputs()

    def _inputs(self) -> dict[str, View]:
        session = self._session
        finder = FileFinder(
            session.services.run_log,
            session.services.catalog,
            run_id=session.header.run_id,
            pipeline=session.header.pipeline,
            entries=session.entries,
        )
        views: dict[str, View] = {}
        for name, source in self._request.inputs.items():
            if source.bucket:
                views[name] = bucket_of(source, self._sources).view(source.files)
            else:
                self._entries[name] = finder.find(name, source)
                views[name] = self._place.view(self._entries[name])
        session.warnings += finder.warnings
        return views

    @property
    def _place(self) -> CatalogPlace:
        return self._found_place()

    @cache  # noqa: B019 - lives as long as its attempt
    def _found_place(self) -> CatalogPlace:
        return catalog_place(self._sources)

    @property
    def inputs(self) -> list[tuple[str, str, str]] | None:
        """Bucket, name and digest of all that the step is given; None when a bucket is among it: it may change."""
        if any(source.bucket for source in self._request.inputs.values()):
            return None
        given = [
            (bucket, name, e.data_hash)
            for bucket, found in self._entries.items()
            for name, e in found.items()
        ]
        return sorted([*given, *([(OUT, "", "")] if self._request.out else ())])

    def __enter__(self) -> StepEndpoint:
        opened = self._session.opened
        out = None
        if self._request.out:
            out = out_view(
                self._place.place, self._place.prefix, self._session.header.run_id, opened.attempt_id
            )
            if opened.number > 1:
                self._clear_earlier(opened.step)
        self._gateway = Gateway(self._views, out).__enter__()
        log.info(
            "s3: %s at %s, with the token of this attempt",
            ", ".join(f"s3://{name}" for name in (*self._views, *((OUT,) if out else ()))),
            self._gateway.endpoint,
        )
        return self

    def __exit__(self, *error: Any) -> None:
        if self._gateway is not None:
            self._gateway.__exit__(*error)
        self._gateway = None

    def _clear_earlier(self, step: StepIdentity) -> None:
        """Remove what killed attempts of this step have left."""
        run_id, services = self._session.header.run_id, self._session.services

        @cache
        def ended() -> set[str]:
            history = services.run_log.graph(run_id, step.graph_name).get(step.name)
            attempts = history.attempts.values() if history else ()
            return {a.opened.attempt_id for a in attempts if a.closed} - {self._session.opened.attempt_id}

        _clear(services, self._place, run_id, ended)

    # while it serves

    def environment(self, outer: Mapping[str, str]) -> dict[str, str]:
        """An environment in which the code of the step finds the endpoint, and no other way to a store."""
        assert self._gateway is not None
        kept = {name: text for name, text in outer.items() if name not in _OTHER_ACCESS}
        direct = {
            name: ",".join(filter(None, [outer.get(name, ""), "127.0.0.1", "localhost"]))
            for name in ("NO_PROXY", "no_proxy")
        }
        return {**kept, **self._gateway.environment(), **direct}

    def check(self) -> None:
        """Make sure that it serves still.

        :raises GatewayError: when it does not: the step has failed.
        """
        assert self._gateway is not None
        self._gateway.check()

    def commit(self, taken: Collection[str]) -> list[CatalogEntry]:
        """Make catalog entries of what was written; called before the record of the attempt is.

        :param taken: what the attempt has put in another way, by name.
        :raises CatalogError: when it cannot be part of the catalog.
        """
        self.note()
        if not self._request.out:
            return []
        assert self._gateway is not None
        catalog = self._session.services.catalog
        assert isinstance(catalog, CatalogStore)
        entries = commit(
            self._gateway,
            catalog.client,
            catalog.location,
            self._session.header.run_id,
            self._session.opened.attempt_id,
            self._session.entries,
            taken,
        )
        log.info(
            "s3: %d files, %d bytes from bucket out become part of the catalog",
            len(entries),
            sum(entry.size or 0 for entry in entries),
        )
        return entries

    def note(self) -> None:
        """Take down what has passed until now.

        :raises GatewayError: when the gateway is gone.
        """
        assert self._gateway is not None
        passed = self._gateway.ledger()
        if len(passed) >= MOST_OBJECTS:
            self._session.warnings.append(
                f"s3: of the objects that were read or written the run log has the first {MOST_OBJECTS}"
            )
        self.accesses = [*self._before, *map(self._access, passed)]

    def got(self) -> list[CatalogEntry]:
        """The files of the catalog that were read, as inputs of the step."""
        found: dict[tuple[str, str], CatalogEntry] = {}
        for access in self.accesses:
            entry = self._entries.get(access.bucket, {}).get(access.key)
            if access.action == "read" and entry is not None:
                found[access.bucket, access.key] = entry.model_copy(update={"stage": "get"})
        return list(found.values())

    def _access(self, passed: Passed) -> ObjectAccess:
        entry = self._entries.get(passed.bucket, {}).get(passed.key)
        return ObjectAccess(
            bucket=passed.bucket,
            key=passed.key,
            action="write" if passed.action == "write" else "read",
            source=self._source(passed, entry),
            size=passed.size,
            etag=passed.etag,
            data_hash=passed.sha256 or (entry.data_hash if entry is not None else ""),
            ranges=list(passed.ranges),
            times=passed.times,
        )

    def _source(self, passed: Passed, entry: CatalogEntry | None) -> str:
        if entry is not None:
            return f"{entry.catalog_handler_location}/{entry.catalog_relative_path}"
        view = self._views.get(passed.bucket)
        if view is None or isinstance(view, Folder):
            return ""
        return f"s3://{view.origin.bucket}/{view.prefix}{passed.key}"

    # when the attempt has ended

    def keep_failed(self) -> None:
        """Lay aside what a failed attempt wrote, where that was asked for; never raises."""
        catalog = self._session.services.catalog
        if self._gateway is None or not isinstance(catalog, CatalogStore):
            return
        try:
            self.note()
            if self._request.out and self._request.keep_failed:
                run_id, attempt_id = self._session.header.run_id, self._session.opened.attempt_id
                place = keep_failed(self._gateway, catalog.client, catalog.location, run_id, attempt_id)
                if place:
                    self._session.warnings.append(f"s3: what this attempt wrote is kept at {place}")
        except MagnusError as error:
            log.warning("s3: %s", error)

    def drop(self) -> None:
        """Remove what was written from where it was staged; never raises: the end of the run tries again."""
        if self._gateway is None or not self._request.out:
            return
        try:
            self._gateway.drop()
        except MagnusError as error:
            log.warning("s3: what was staged could not be removed yet: %s", error)


def clear_run(services: OpenServices, sources: ServiceSources, header: RunHeader) -> None:
    """Remove what the attempts of a run have staged and could not remove; never raises.

    Cost: 1 LIST; nothing where the pipeline's file has no step that writes so.
    """
    from airflow_magnus.runlog.definition import writes_by_endpoint

    if not isinstance(services.catalog, CatalogStore) or not writes_by_endpoint(header):
        return

    @cache
    def ended() -> set[str]:
        graphs = services.run_log.graphs(header.run_id)
        attempts = [a for steps in graphs.values() for h in steps.values() for a in h.attempts.values()]
        return {attempt.opened.attempt_id for attempt in attempts if attempt.closed}

    try:
        _clear(services, catalog_place(sources), header.run_id, ended)
    except Exception:  # the run itself has ended as it should
        log.warning(
            "s3: what attempts of run %s have staged could not be removed", header.run_id, exc_info=True
        )


def _clear(services: OpenServices, place: CatalogPlace, run_id: str, ended: Callable[[], set[str]]) -> None:
    catalog = services.catalog
    assert isinstance(catalog, CatalogStore)
    clear_dead(catalog.client, place.place, place.prefix, run_id, lambda attempt: attempt in ended())
