"""One attempt of a step while it goes on: what its code may ask for, and what it has made so far."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_magnus.errors import (
    CatalogEntryNotFoundError,
    ParameterError,
    SecretLeakError,
)
from airflow_magnus.hooks.services import OpenServices, ServiceSources
from airflow_magnus.operators.environment import scratch_folder
from airflow_magnus.operators.no_endpoint import NoEndpoint
from airflow_magnus.operators.workspace import Workspace
from airflow_magnus.pipeline.model import CatalogRequest, EndpointRequest
from airflow_magnus.runlog.history import Visible
from airflow_magnus.runlog.records import AttemptClosed, CatalogEntry, CodeIdentity, ObjectAccess, RunHeader
from airflow_magnus.runlog.texts import MAX_LEVELS, is_deeper

if TYPE_CHECKING:
    from airflow_magnus.operators.endpoint import StepEndpoint
    from airflow_magnus.stores.attempts import OpenAttempt

_SHORTEST_SECRET = 8
"""Characters below which a secret's text may stand in a parameter by chance."""


class StepSession:
    """State of one attempt. Its calls come from the step's code, in this process and in its children.

    :param variables: the items of the maps around, by name; they are no parameters.
    :ivar read: objects of buckets that the step was given, but not by its endpoint.
    :ivar endpoint: the S3 endpoint beside the step.
    """

    def __init__(
        self,
        services: OpenServices,
        header: RunHeader,
        attempt: OpenAttempt,
        seen: Visible,
        workspace: Workspace,
        request: CatalogRequest,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        self.services = services
        self.header = header
        self.opened = attempt.opened
        self.workspace = workspace
        self.request = request
        self.parameters = dict(seen.parameters)
        self.entries = dict(seen.entries)
        self.variables = dict(variables or {})
        self.fingerprint = ""
        self._keys_before = {entry.catalog_relative_path for entry in seen.entries.values()}
        self.set_parameters: dict[str, Any] = {}
        self.metrics: dict[str, Any] = {}
        self.got: list[CatalogEntry] = []
        self.read: list[ObjectAccess] = []
        self.put: dict[str, CatalogEntry] = {}
        self._put_here: set[str] = set()
        self.endpoint: StepEndpoint | NoEndpoint = NoEndpoint()
        self.warnings: list[str] = []
        self._secrets: dict[str, str] = {}
        self._lock = threading.RLock()
        self._put_earlier: Mapping[str, CatalogEntry] | None = None
        if attempt.carried is not None:
            self._take_up(attempt.carried)

    def _take_up(self, carried: AttemptClosed) -> None:
        """Go on with what the attempt had made before it was deferred."""
        self.set_values(carried.parameters)
        self.metrics.update(carried.metrics)
        read = {(access.bucket, access.key) for access in carried.objects}
        got = [entry for entry in carried.data_catalog if entry.stage == "get"] if read else []
        self.endpoint = NoEndpoint(carried.objects, got)
        for entry in carried.data_catalog:
            if entry.stage == "put":
                self._has_put(entry)

    # calls of the step's code

    def call(self, operation: str, arguments: Mapping[str, Any]) -> Any:
        """Answer one call of :mod:`airflow_magnus.api`."""
        with self._lock:
            return getattr(self, f"_on_{operation}")(**arguments)

    def _on_get_parameter(self, key: str | None) -> Any:
        if key is None:
            return dict(self.parameters)
        if key not in self.parameters:
            known = ", ".join(sorted(self.parameters)) or "none"
            raise ParameterError(f"no parameter {key!r} in this run; there are: {known}")
        return self.parameters[key]

    def _on_set_parameter(self, values: Mapping[str, Any], update: bool) -> None:
        self.set_values(values if update else {n: v for n, v in values.items() if n not in self.parameters})

    def _on_get_secret(self, name: str | None) -> Any:
        from airflow.sdk.log import mask_secret

        found = self.services.secrets.all() if name is None else {name: self.services.secrets.get(name)}
        for secret_name, value in found.items():
            for shown in shapes_of(value):
                mask_secret(shown)  # with a name only those called like "password" would be masked
            self._secrets[secret_name] = value
        return found if name is None else found[name]

    def _on_track(self, metrics: Mapping[str, Any]) -> None:
        for name, value in metrics.items():
            if is_deeper(value):
                raise ParameterError(f"metric {name!r} is nested deeper than {MAX_LEVELS} levels")
        self.metrics.update(metrics)

    def _on_get_from_catalog(self, name: str, folder: str | None, literal: bool = False) -> None:
        entries = self.entries
        if literal:
            entries = {name: entries[name]} if name in entries else {}
        target = Path(folder) if folder is not None else self.workspace.data
        moved = self.services.catalog.get(entries, target, ["**"] if literal else [name])
        if not moved.entries:
            known = ", ".join(sorted(self.entries)) or "nothing"
            raise CatalogEntryNotFoundError(
                f"no file that {name!r} matches was put by a step before this one; there is: {known}"
            )
        self.got += moved.entries

    def _on_put_in_catalog(self, path: str, name: str | None) -> None:
        file = Path(path)
        data = self.workspace.data.resolve()
        inside = file.resolve().is_relative_to(data)
        name = name or (file.resolve().relative_to(data).as_posix() if inside else file.name)
        entry = self.services.catalog.put_file(
            self.header.run_id,
            file,
            name,
            attempt_id=self.opened.attempt_id,
            known=self.entries,
            earlier=self._earlier,
        )
        if entry is not None:
            self._put_here.add(entry.name)
            self._has_put(entry)

    def _on_get_run_id(self) -> str:
        return self.header.run_id

    def _on_get_tag(self) -> str | None:
        return self.header.tag

    # what the operator does

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Set parameters; later calls of the same step see them.

        :raises ParameterError: when a value is nothing that JSON can say, or a name cannot be one.
        """
        for name, value in values.items():
            if not isinstance(name, str) or not name or "=" in name or "\0" in name:
                raise ParameterError(
                    f"{name!r} cannot be the name of a parameter: text without '=' is allowed"
                )
            try:
                text = json.dumps(value, ensure_ascii=False)
                text.encode()  # half a surrogate pair is no text that could be stored
                plain = json.loads(text)
                if is_deeper(plain):
                    raise ValueError(f"it is nested deeper than {MAX_LEVELS} levels")
            except (TypeError, ValueError, RecursionError) as error:
                raise ParameterError(
                    f"parameter {name!r} has a value of type {type(value).__name__} that cannot be stored ({error}): "
                    "return text, numbers, true, false, null, lists and mappings of them; "
                    "for other objects use put_object"
                ) from error
            self.parameters[name] = self.set_parameters[name] = plain

    def find_endpoint(self, request: EndpointRequest | None, sources: ServiceSources) -> None:
        """Find out what the buckets of the step's S3 endpoint hold; it does not serve yet.

        :raises MagnusError: when an input is not there.
        """
        if request is not None:
            from airflow_magnus.operators.endpoint_kinds import endpoint_for

            assert isinstance(self.endpoint, NoEndpoint)
            self.endpoint = endpoint_for(request, sources, self, self.endpoint)

    def get_inputs(self) -> None:
        """Fetch what the step asks for, before its command; nothing where the catalog is mounted."""
        if self.endpoint.holds_catalog:
            return
        moved = self.services.catalog.get(self.entries, self.workspace.data, self.request.get)
        self.got += moved.entries
        self.warnings += moved.warnings

    def put_outputs(self) -> None:
        """Store what the step gives, after its command."""
        if not self.endpoint.holds_catalog:
            self._put_by_copies()
        self.put_written()

    def _put_by_copies(self) -> None:
        moved = self.services.catalog.put(
            self.header.run_id,
            self.workspace.data,
            self.request.put,
            attempt_id=self.opened.attempt_id,
            known=self.entries,
            earlier=self._earlier,
        )
        self.warnings += moved.warnings
        self._put_here.update(entry.name for entry in moved.entries)
        for entry in moved.entries:
            self._has_put(entry)

    def put_written(self) -> None:
        """Make part of the catalog what the step has written to its S3 endpoint."""
        for entry in self.endpoint.commit(self._put_here):
            self._has_put(entry)

    def _earlier(self) -> Mapping[str, CatalogEntry]:
        """What this step put in the run that this one runs again."""
        with self._lock:
            if self._put_earlier is None:
                from airflow_magnus.operators.rerun import put_earlier

                self._put_earlier = put_earlier(self.header, self.opened.step, self.services)
            return self._put_earlier

    def _has_put(self, entry: CatalogEntry) -> None:
        self.entries[entry.name] = self.put[entry.name] = entry

    def refuse_secrets(self) -> None:
        """Make sure that no secret that was handed out is about to be stored in the open.

        :raises SecretLeakError: when a parameter or a metric holds one of 8 characters or more.
        """
        for kind, values in (("parameter", self.set_parameters), ("metric", self.metrics)):
            for name, value in values.items():
                secret = next((s for s in self._long_secrets() if _holds(value, self._secrets[s])), None)
                if secret is not None:
                    raise SecretLeakError(
                        f"{kind} {name!r} holds the secret {secret!r} and would be stored in the open: "
                        "let the step that needs the secret ask for it by get_secret"
                    )

    def _long_secrets(self) -> list[str]:
        return [name for name, value in self._secrets.items() if len(value) >= _SHORTEST_SECRET]

    def without_secrets(self, text: str) -> str:
        """``text`` with every secret that was handed out made unreadable."""
        shapes = {shape for value in self._secrets.values() for shape in shapes_of(value)}
        for shape in sorted(shapes, key=len, reverse=True):
            if len(shape) > 2:
                text = text.replace(shape, "***")
        return text

    def closed(
        self, status: Any, message: str = "", identities: list[CodeIdentity] | None = None
    ) -> AttemptClosed:
        """The record of this attempt as it stands; of a failed one nothing it made."""
        succeeded = status == "SUCCESS"
        return self.opened.ended(
            status=status,
            message=self.without_secrets(message),
            step_message=self.without_secrets("\n".join(dict.fromkeys(self.warnings))),
            code_identities=identities or [],
            fingerprint=self.fingerprint,
            metrics=self.metrics if succeeded else {},
            parameters=self.set_parameters if succeeded else {},
            data_catalog=[*self._all_got(), *(self.put.values() if succeeded else ())],
            objects=[*self.read, *self.endpoint.accesses],
        )

    def _all_got(self) -> list[CatalogEntry]:
        """What was got and what was read by the endpoint, each file once."""
        found = [*self.got, *self.endpoint.got()]
        return list({(entry.name, entry.catalog_relative_path): entry for entry in found}.values())

    def forget_outputs(self) -> None:
        """Remove what this attempt has put, as it failed; not what an earlier step put of the same bytes."""
        self.services.catalog.forget(
            entry.catalog_relative_path
            for entry in self.put.values()
            if entry.catalog_relative_path not in self._keys_before
        )

    def write_parameters_file(self) -> Path:
        """A JSON file of all parameters, whatever their length, for the step's children."""
        handle, path = tempfile.mkstemp(prefix="magnus-parameters-", suffix=".json", dir=scratch_folder())
        with open(handle, "w", encoding="utf-8") as file:
            json.dump(self.parameters, file)
        return Path(path)


def shapes_of(secret: str) -> set[str]:
    """The secret as it may be seen: as it is, inside JSON or a Python literal, and its longer lines."""
    lines = [line for line in secret.splitlines() if len(line) >= _SHORTEST_SECRET]
    return {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], *lines} - {""}


def _holds(value: Any, secret: str) -> bool:
    """Whether a JSON value holds the secret's text anywhere."""
    if isinstance(value, str):
        return secret in value
    if isinstance(value, Mapping):
        return any(_holds(key, secret) or _holds(item, secret) for key, item in value.items())
    if isinstance(value, list):
        return any(_holds(item, secret) for item in value)
    return False
