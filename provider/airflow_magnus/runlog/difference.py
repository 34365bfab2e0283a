"""Compare two runs: where they part, and what differs of each step. Pure; the text of it is made elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from airflow_magnus.runlog.difference_records import RunDifference, StepDifference
from airflow_magnus.runlog.pairs import MISSING, Pair, Pairs, differences, flat, merged
from airflow_magnus.runlog.records import WRITTEN, BranchLog, CodeIdentity, RunHeader, RunLog, Stage, StepLog
from airflow_magnus.runlog.sides import Sides, StepPair, parameters_of, records_parameters, side_of

_GRAPHS = ("branches", "branch", "default")


def compare(
    a: RunLog, b: RunLog, headers: tuple[RunHeader | None, RunHeader | None] = (None, None)
) -> RunDifference:
    """Lay two runs side by side.

    :param headers: of A and of B where there are any: documents alone say neither which parameters a run began with
        nor how its steps were defined.
    """
    sides = Sides(side_of(a, headers[0]), side_of(b, headers[1]))
    walk = _Walk(a, b)
    steps = tuple(walk.steps(a.steps, b.steps, sides))
    initial: Pairs | None = None
    if headers[0] is not None and headers[1] is not None:
        differing = differences(headers[0].parameters, headers[1].parameters)
        # A re-run begins with what the steps that it took over had set.
        initial = {name: pair for name, pair in differing.items() if name not in walk.taken_over}
    return RunDifference(
        run_id=Pair(a.run_id, b.run_id),
        status=Pair(a.status, b.status),
        dag_hash=Pair(a.dag_hash, b.dag_hash),
        tag=Pair(a.tag, b.tag),
        run_config=_services(a.run_config, b.run_config),
        initial_parameters=initial,
        parameters=differences(a.parameters, b.parameters),
        steps=steps,
    )


def _services(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pairs]:
    found: dict[str, Pairs] = {}
    for service, pair in differences(a, b).items():
        sides = [
            flat(part) if isinstance(part, Mapping) else {} if part is MISSING else {"": part}
            for part in (pair.a, pair.b)
        ]
        # One that has the service without a single setting still differs from one that lacks it.
        found[service] = differences(sides[0], sides[1]) or {"": pair}
    return found


@dataclass
class _Walk:
    """Goes through the steps of two runs.

    :param taken_over: names of the parameters that steps had set which the other run took over.
    """

    a: RunLog
    b: RunLog
    taken_over: set[str] = field(default_factory=set)

    def steps(
        self, a: Mapping[str, StepLog], b: Mapping[str, StepLog], sides: Sides, depth: int = 0
    ) -> Iterator[StepDifference]:
        for name in merged(a, b):
            pair = a.get(name), b.get(name)
            yield self._step(pair, sides, depth)
            if not any(step is not None and step.mock for step in pair):
                yield from self._branches(pair, sides, depth)
            sides.after(pair)

    def _branches(self, pair: StepPair, sides: Sides, depth: int) -> Iterator[StepDifference]:
        a, b = ({} if step is None else step.branches for step in pair)
        walked = []
        for name in merged(a, b):
            inner = sides.branch(pair, name)
            yield from self.steps(_steps_of(a.get(name)), _steps_of(b.get(name)), inner, depth + 1)
            walked.append(inner)
        for inner in walked:  # no branch sees what a sibling set
            sides.merge(inner)

    def _step(self, pair: StepPair, sides: Sides, depth: int) -> StepDifference:
        a, b = pair
        if a is None or b is None:
            return _lonely(a, b, depth)
        definitions = [side.definition_of(step) for side, step in zip(sides.both, (a, b), strict=True)]
        is_defined = None not in definitions
        shared: dict[str, Any] = {
            "internal_name": a.internal_name,
            "step_type": a.step_type,
            "depth": depth,
            "status": Pair(a.status, b.status),
            "types": Pair(a.step_type, b.step_type),
            "mock": Pair(a.mock, b.mock),
            "definition": _definition(*definitions) if is_defined else {},
            "attempts": Pair(len(a.attempts), len(b.attempts)),
            "seconds": Pair(_seconds(a), _seconds(b)),
            "failure": Pair(_failure(a), _failure(b)),
            "fingerprint": Pair(_fingerprint(a), _fingerprint(b)),
            "is_definition_known": is_defined or (self.has_one_hash and sides.is_hashed),
            "is_beginning_known": sides.is_known,
        }
        if a.mock or b.mock:
            self.taken_over |= set(parameters_of(a)) | set(parameters_of(b))
            are_recorded = records_parameters(a) and records_parameters(b)
            return StepDifference(
                **shared,
                parameters=differences(parameters_of(a), parameters_of(b)) if are_recorded else {},
                taken_over=self._origin(a, b),
            )
        return StepDifference(
            **shared,
            message=Pair(a.message, b.message),
            code=differences(_code(a), _code(b)),
            inputs=differences(_digests(a, "get"), _digests(b, "get")),
            outputs=differences(_digests(a, "put"), _digests(b, "put")),
            parameters=differences(parameters_of(a), parameters_of(b)),
            metrics=differences(a.user_defined_metrics, b.user_defined_metrics),
            began_with=sides.began_with(),
            code_certainty=_certainty([*a.code_identities, *b.code_identities]),
        )

    @property
    def has_one_hash(self) -> bool:
        return bool(self.a.dag_hash) and self.a.dag_hash == self.b.dag_hash

    def _origin(self, a: StepLog, b: StepLog) -> Literal["same", "unknown"]:
        of_a = self.a.original_run_id if a.mock else self.a.run_id
        of_b = self.b.original_run_id if b.mock else self.b.run_id
        return "same" if of_a == of_b else "unknown"


def _lonely(a: StepLog | None, b: StepLog | None, depth: int) -> StepDifference:
    step = a or b
    assert step is not None

    def pair(value: Any) -> Pair:
        return Pair(MISSING if a is None else value, MISSING if b is None else value)

    return StepDifference(
        internal_name=step.internal_name,
        step_type=step.step_type,
        depth=depth,
        presence="a" if b is None else "b",
        status=pair(step.status),
        types=pair(step.step_type),
        mock=pair(step.mock),
        message=pair(step.message),
        attempts=pair(len(step.attempts)),
        seconds=pair(_seconds(step)),
        failure=pair(_failure(step)),
    )


# what is compared of one step


def _definition(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> dict[str, Pair]:
    """A composite's branches are left out: their steps are compared by themselves."""
    own = [{key: value for key, value in (side or {}).items() if key not in _GRAPHS} for side in (a, b)]
    return differences(flat(own[0]), flat(own[1]))


def _steps_of(branch: BranchLog | None) -> Mapping[str, StepLog]:
    return {} if branch is None else branch.steps


def _fingerprint(step: StepLog) -> str:
    return getattr(step, "fingerprint", None) or ""


def _code(step: StepLog) -> dict[str, Any]:
    return {
        identity.code_identifier_type: {
            "identifier": identity.code_identifier,
            "is_dependable": identity.code_identifier_dependable,
        }
        for identity in step.code_identities
    }


def _certainty(identities: Sequence[CodeIdentity]) -> Literal["certain", "uncommitted", "unrecorded"]:
    if not any(identity.code_identifier for identity in identities):
        return "unrecorded"
    return "certain" if all(i.code_identifier_dependable for i in identities) else "uncommitted"


def _digests(step: StepLog, stage: Stage) -> dict[str, str]:
    files = {entry.name: entry.data_hash for entry in step.data_catalog if entry.stage == stage}
    return files | _objects_read(step) if stage == "get" else files


def _objects_read(step: StepLog) -> dict[str, str]:
    """What the step read by its S3 endpoint and is no file of the catalog: where it is → sha256, or ETag."""
    files = {f"{e.catalog_handler_location}/{e.catalog_relative_path}" for e in step.data_catalog}
    found: dict[str, list[str]] = {}
    for access in step.objects:
        if access.action == "read" and access.bucket != WRITTEN and access.source not in files:
            name = access.source or f"s3://{access.bucket}/{access.key}"
            found.setdefault(name, []).append(access.data_hash or f"ETag {access.etag}")
    return {name: ", ".join(sorted(digests)) for name, digests in found.items()}


def _failure(step: StepLog) -> str:
    return step.attempts[-1].message if step.attempts and step.status == "FAIL" else ""


def _seconds(step: StepLog) -> float | None:
    """What all attempts took; None when there was none or one has not ended."""
    try:
        spans = [
            datetime.fromisoformat(one.end_time) - datetime.fromisoformat(one.start_time)
            for one in step.attempts
        ]
    except (ValueError, TypeError):
        return None
    return sum(span.total_seconds() for span in spans) if spans else None
