"""Compare two runs: where they part, and what differs of each step. Pure; the text of it is made elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from airflow_magnus.runlog.difference_records import RunDifference, StepDifference
from airflow_magnus.runlog.pairs import MISSING, Pair, Pairs, differences, flat, merged
from airflow_magnus.runlog.records import BranchLog, CodeIdentity, RunHeader, RunLog, Stage, StepLog

_GRAPHS = ("branches", "branch", "default")


def compare(
    a: RunLog, b: RunLog, headers: tuple[RunHeader | None, RunHeader | None] = (None, None)
) -> RunDifference:
    """Lay two runs side by side.

    :param headers: of A and of B where there are any: documents alone say neither which parameters a run began with
        nor how its steps were defined.
    """
    sides = _side(a, headers[0]), _side(b, headers[1])
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


# the two sides of a graph while its steps are walked


@dataclass
class _Side:
    """One run at one place of one graph.

    :param definition: the graph's ``dag`` section; None when it is not known.
    :param seen: parameters that the next step sees, as far as they are known.
    :param set: those that steps of this graph set.
    :param is_known: whether ``seen`` holds all of them.
    :param is_hashed: whether the run's dag hash covers the graph; it does not cover the file of a dag step.
    """

    definition: Mapping[str, Any] | None
    seen: dict[str, Any] = field(default_factory=dict)
    set: dict[str, Any] = field(default_factory=dict)
    is_known: bool = True
    is_hashed: bool = True

    def definition_of(self, step: StepLog) -> Mapping[str, Any] | None:
        found = (self.definition or {}).get("steps", {}).get(step.name)
        return found if isinstance(found, Mapping) else None

    def branch(self, step: StepLog, branch_name: str) -> _Side:
        """This side as the first step of a branch sees it."""
        of_step = self.definition_of(step) or {}
        name = branch_name.removeprefix(f"{step.internal_name}.")
        named = of_step.get("branches")
        found = (
            named.get(name, of_step.get("default")) if isinstance(named, Mapping) else of_step.get("branch")
        )
        return _Side(
            definition=found if isinstance(found, Mapping) else None,
            seen=dict(self.seen),
            is_known=self.is_known,
            is_hashed=self.is_hashed and step.step_type != "dag",
        )

    def after(self, step: StepLog) -> None:
        if step.status == "SUCCESS" or step.branches:
            self.add(_parameters(step))
            self.is_known = self.is_known and (step.mock or bool(step.branches) or _records_parameters(step))

    def add(self, values: Mapping[str, Any]) -> None:
        self.seen.update(values)
        self.set.update(values)


def _side(log: RunLog, header: RunHeader | None) -> _Side:
    if header is not None:
        return _Side(header.definition or None, dict(header.parameters))
    steps = list(_all_steps(log.steps))
    names = {name for step in steps for name in _parameters(step)}
    if not all(_records_parameters(step) for step in steps):
        return _Side(None, is_known=False)
    # What no step set was there from the beginning; what one set may have had another value before.
    began = {name: value for name, value in log.parameters.items() if name not in names}
    return _Side(None, began, is_known=not names)


def _all_steps(steps: Mapping[str, StepLog]) -> Iterator[StepLog]:
    for step in steps.values():
        yield step
        for branch in step.branches.values():
            yield from _all_steps(branch.steps)


@dataclass
class _Walk:
    """Goes through the steps of two runs.

    :param taken_over: names of the parameters that steps had set which the other run took over.
    """

    a: RunLog
    b: RunLog
    taken_over: set[str] = field(default_factory=set)

    def steps(
        self, a: Mapping[str, StepLog], b: Mapping[str, StepLog], sides: tuple[_Side, _Side], depth: int = 0
    ) -> Iterator[StepDifference]:
        for name in merged(a, b):
            pair = a.get(name), b.get(name)
            yield self._step(pair, sides, depth)
            if not any(step is not None and step.mock for step in pair):
                yield from self._branches(pair, sides, depth)
            for step, side in zip(pair, sides, strict=True):
                if step is not None:
                    side.after(step)

    def _branches(
        self, pair: tuple[StepLog | None, StepLog | None], sides: tuple[_Side, _Side], depth: int
    ) -> Iterator[StepDifference]:
        a, b = ({} if step is None else step.branches for step in pair)
        for name in merged(a, b):
            inner = [
                side.branch(step, name) if step is not None else _Side(None)
                for step, side in zip(pair, sides, strict=True)
            ]
            yield from self.steps(
                _steps_of(a.get(name)), _steps_of(b.get(name)), (inner[0], inner[1]), depth + 1
            )
            for side, within in zip(sides, inner, strict=True):
                side.add(within.set)
                side.is_known = side.is_known and within.is_known

    def _step(
        self, pair: tuple[StepLog | None, StepLog | None], sides: tuple[_Side, _Side], depth: int
    ) -> StepDifference:
        a, b = pair
        if a is None or b is None:
            return _lonely(a, b, depth)
        definitions = [side.definition_of(step) for side, step in zip(sides, (a, b), strict=True)]
        is_defined = None not in definitions
        is_whole = sides[0].is_known and sides[1].is_known
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
            "is_definition_known": is_defined or (self.has_one_hash and sides[0].is_hashed),
            "is_beginning_known": is_whole,
        }
        if a.mock or b.mock:
            self.taken_over |= set(_parameters(a)) | set(_parameters(b))
            are_recorded = _records_parameters(a) and _records_parameters(b)
            return StepDifference(
                **shared,
                parameters=differences(_parameters(a), _parameters(b)) if are_recorded else {},
                taken_over=self._origin(a, b),
            )
        began = differences(sides[0].seen, sides[1].seen)
        return StepDifference(
            **shared,
            message=Pair(a.message, b.message),
            code=differences(_code(a), _code(b)),
            inputs=differences(_digests(a, "get"), _digests(b, "get")),
            outputs=differences(_digests(a, "put"), _digests(b, "put")),
            parameters=differences(_parameters(a), _parameters(b)),
            metrics=differences(a.user_defined_metrics, b.user_defined_metrics),
            # Where not all are known, a name that one side lacks may be there.
            began_with={n: p for n, p in began.items() if is_whole or MISSING not in (p.a, p.b)},
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


def _records_parameters(step: StepLog) -> bool:
    return "parameters" in step.model_fields_set or step.step_type in ("success", "fail")


def _parameters(step: StepLog) -> Mapping[str, Any]:
    return getattr(step, "parameters", None) or {}


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
    return {entry.name: entry.data_hash for entry in step.data_catalog if entry.stage == stage}


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
