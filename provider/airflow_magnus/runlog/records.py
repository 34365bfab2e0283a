"""Records of a run: the parts that are written while it goes on, and the document of a finished run.

Source: seed 001 shows the document in full; no field of it is renamed here, some are added. A *part* is written by one
writer and never changed:

* :class:`RunHeader`, once a run: claims the run id and holds what was known before the first step.
* :class:`AttemptOpened`, once an attempt: claims its number.
* :class:`AttemptClosed`, once an attempt: its outcome, and with it everything the attempt made visible.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Status = Literal["CREATED", "TRIGGERED", "PROCESSING", "SUCCESS", "FAIL"]
Stage = Literal["get", "put"]
MARKED = "marked-"
"""How the id of an attempt begins that is no attempt, but a task's state that was set by hand."""
OUTSIDE = "%put"
"""Name that stands among the steps of a run for files that a person has put; no step of a pipeline can be called so."""
WRITTEN = "out"
"""The bucket of a step's S3 endpoint that it writes; no input can be called so."""
COMPOSITE_TYPES = frozenset({"parallel", "map", "dag", "conditional", "loop"})
ENDS = ("success", "fail")


def timestamp() -> str:
    """The time now as the run log writes it: ``2022-01-18 11:46:08.530138+00:00``."""
    return datetime.now(UTC).isoformat(sep=" ", timespec="microseconds")


def duration(start: str, end: str) -> str:
    """The time between two timestamps, as ``H:MM:SS.ffffff``; "" while one is missing or none."""
    if not (start and end):
        return ""
    try:
        return str(datetime.fromisoformat(end) - datetime.fromisoformat(start))
    except (ValueError, TypeError):  # not of ours
        return ""


def printable(text: str) -> str:
    """Text that can be written as UTF-8; stray bytes of a file name, as Python reads them, become ``\\udc…``."""
    return text.encode("utf-8", "backslashreplace").decode()


Message = Annotated[str, BeforeValidator(lambda value: printable(value) if isinstance(value, str) else value)]


class Record(BaseModel):
    """Base of all records: unknown fields of a later version are kept, not refused; NaN stays NaN."""

    # Validators are made when they are first used: not where a DAG file is only parsed.
    model_config = ConfigDict(extra="allow", ser_json_inf_nan="constants", defer_build=True)


class CodeIdentity(Record):
    """What code ran: a git commit, a container image's digest or a DAG bundle's version."""

    code_identifier: str | None = None
    code_identifier_type: str
    code_identifier_dependable: bool = False
    code_identifier_url: Message | None = None
    code_identifier_message: Message | None = None


class CatalogEntry(Record):
    """One file that a step got from or put into the catalog.

    :param name: path below the compute data folder, with ``/``.
    :param data_hash: sha256 hex of the content, 64 characters.
    :param catalog_relative_path: key of the bytes below the catalog's location.
    :param catalog_handler_location: the catalog's location as configured.
    :param size: bytes.
    """

    name: str
    data_hash: str
    catalog_relative_path: str
    catalog_handler_location: str
    stage: Stage
    size: int | None = None


class ObjectAccess(Record):
    """One version of one object that a step read or wrote by its S3 endpoint.

    :param bucket: as the step calls it.
    :param source: where the bytes are, or for what is written were: ``s3://…`` or a path.
    :param size: bytes; None: not known.
    :param etag: without quotes.
    :param data_hash: sha256 hex; "" when the step has not read all of it in order.
    :param ranges: first and last byte of each part that was read; empty: all of it.
    :param times: how often.
    """

    bucket: str
    key: str
    action: Literal["read", "write"]
    source: str = ""
    size: int | None = None
    etag: str = ""
    data_hash: str = ""
    ranges: list[tuple[int, int]] = Field(default_factory=list)
    times: int = 1


class RunHeader(Record):
    """What a run is, known before its first step starts.

    :param token: made by the writer; tells its own claim from another's when an answer is lost.
    :param parameters: initial values.
    :param given: names of those that were given for this run, the others being defaults; None: all were.
    :param scheduler: who runs it: Airflow's ids (``dag_id``, ``run_id``, ``run_after``, ``first_start``) or {} .
    :param definition: the ``dag`` section.
    :param sub_definitions: internal name of a dag step → the ``dag`` section of its file.
    :param reused: of a re-run: internal names of the steps, and of whole branches, that are not run again.
    :param shadowed: of a re-run: reused step → names of its files that a later reused step has put again.
    :param conditional_writes: service name to whether its store honours create-only writes.
    """

    run_id: str
    token: str
    dag_hash: str = ""
    pipeline: str = ""
    use_cached: bool = False
    tag: str | None = None
    original_run_id: str = ""
    started: str = Field(default_factory=timestamp)
    parameters: dict[str, Any] = Field(default_factory=dict)
    given: list[str] | None = None
    run_config: dict[str, Any] = Field(default_factory=dict)
    scheduler: dict[str, Any] = Field(default_factory=dict)
    definition: dict[str, Any] = Field(default_factory=dict)
    sub_definitions: dict[str, dict[str, Any]] = Field(default_factory=dict)
    reused: list[str] = Field(default_factory=list)
    shadowed: dict[str, list[str]] = Field(default_factory=dict)
    conditional_writes: dict[str, bool] = Field(default_factory=dict)


class StepIdentity(Record):
    """Which step a record is about.

    :param position: rank of the step in its graph, so that readers need no clocks to put steps in order.
    """

    name: str
    internal_name: str
    graph_name: str = ""
    step_type: str
    position: int = 0

    @property
    def is_composite(self) -> bool:
        """Whether the step is made of branches."""
        return self.step_type in COMPOSITE_TYPES


class AttemptOpened(Record):
    """The claim of one attempt.

    :param attempt_id: names the attempt for ever; the owner's id, the same when a deferred task resumes.
    :param branches: of a composite step: the names of its branches, in order.
    :param items: of a map: the item of each branch.
    """

    step: StepIdentity
    number: int
    attempt_id: str
    start_time: str = Field(default_factory=timestamp)
    scheduler: dict[str, Any] = Field(default_factory=dict)
    branches: list[str] = Field(default_factory=list)
    items: list[Any] = Field(default_factory=list)

    def ended(self, **outcome: Any) -> AttemptClosed:
        """This attempt with its outcome: fields of :class:`AttemptClosed`. That of a composite step is no attempt."""
        own = {name: getattr(self, name) for name in AttemptOpened.model_fields}
        return AttemptClosed(**{**own, "is_attempt": not self.step.is_composite, **outcome})


class AttemptClosed(AttemptOpened):
    """The outcome of one attempt; what it put and set becomes visible with this record.

    That of a composite step holds what its branches have left, merged.

    :param message: why it failed, or what the step should know.
    :param parameters: what the attempt set, and nothing else.
    :param objects: what passed through its S3 endpoint.
    :param step_message: what the run log says of the step itself (warnings).
    :param mock: the step was not run: what an earlier run's attempt made is used.
    :param fingerprint: sha256 hex over command, code, parameters and inputs; "" where the code is not known for sure.
    """

    end_time: str = Field(default_factory=timestamp)
    status: Literal["SUCCESS", "FAIL"]
    message: Message = ""
    step_message: Message = ""
    mock: bool = False
    is_attempt: bool = True
    code_identities: list[CodeIdentity] = Field(default_factory=list)
    metrics: dict[str, Any] = Field(default_factory=dict)
    parameters: dict[str, Any] = Field(default_factory=dict)
    data_catalog: list[CatalogEntry] = Field(default_factory=list)
    objects: list[ObjectAccess] = Field(default_factory=list)
    fingerprint: str = ""

    @property
    def is_visible(self) -> bool:
        """Whether later steps see what it left: it succeeded, or its successful steps did."""
        return self.status == "SUCCESS" or self.step.is_composite

    def puts(self) -> list[CatalogEntry]:
        """The entries that this attempt put, as later steps see them."""
        return [e for e in self.data_catalog if e.stage == "put"] if self.is_visible else []


class AttemptLog(Record):
    """One attempt in the document."""

    attempt_number: int
    start_time: str
    end_time: str
    duration: str
    status: str
    message: str = ""
    scheduler: dict[str, Any] = Field(default_factory=dict)


class StepLog(Record):
    """One step in the document.

    :param parameters: what the step set.
    :param objects: what passed through its S3 endpoint.
    """

    name: str
    internal_name: str
    status: Status = "CREATED"
    step_type: str
    message: str = ""
    mock: bool = False
    code_identities: list[CodeIdentity] = Field(default_factory=list)
    attempts: list[AttemptLog] = Field(default_factory=list)
    user_defined_metrics: dict[str, Any] = Field(default_factory=dict)
    branches: dict[str, BranchLog] = Field(default_factory=dict)
    data_catalog: list[CatalogEntry] = Field(default_factory=list)
    objects: list[ObjectAccess] = Field(default_factory=list)
    parameters: dict[str, Any] = Field(default_factory=dict)
    fingerprint: str = ""


class BranchLog(Record):
    """One branch of a composite step in the document."""

    internal_name: str
    status: Status = "PROCESSING"
    steps: dict[str, StepLog] = Field(default_factory=dict)


class RunLog(Record):
    """The document of one run, printed by ``magnus execute`` and kept at ``<run_id>.json``."""

    run_id: str
    dag_hash: str
    use_cached: bool = False
    tag: str | None = None
    original_run_id: str = ""
    status: Status = "PROCESSING"
    steps: dict[str, StepLog] = Field(default_factory=dict)
    parameters: dict[str, Any] = Field(default_factory=dict)
    run_config: dict[str, Any] = Field(default_factory=dict)
    scheduler: dict[str, Any] = Field(default_factory=dict)

    def to_json(self) -> str:
        """The document as seed 001 prints it: four spaces, ASCII."""
        import json

        return json.dumps(self.model_dump(mode="json"), indent=4)
