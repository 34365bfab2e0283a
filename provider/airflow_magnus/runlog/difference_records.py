"""What a comparison of two runs gives: records for a page or a terminal, and the sentence that says why they part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from airflow_magnus.runlog.pairs import MISSING, Pair, Pairs

Presence = Literal["both", "a", "b"]
_MOST_NAMES = 3
_NO_TEXT, _NOT_MOCK, _NO_ATTEMPT, _NO_TIME = Pair("", ""), Pair(False, False), Pair(0, 0), Pair(None, None)


@dataclass(frozen=True)
class StepDifference:
    """One step of two runs, side by side.

    A step that a re-run took over has no record of what it made, so only its status, type and definition are compared.

    :param step_type: A's, or B's where A has no such step.
    :param depth: 0 in the pipeline's own graph, one more in each branch.
    :param presence: which run has the step.
    :param definition: dotted key of the step in the pipeline file → its value; known from the runs' headers alone.
    :param code: kind of identity (``git``, ``docker`` …) → ``{"identifier": …, "is_dependable": …}``.
    :param inputs: file that the step got from the catalog → sha256.
    :param outputs: file that it put → sha256.
    :param parameters: what it set.
    :param began_with: parameters that it could see; informative, as every later step sees them too.
    :param attempts: how many; informative.
    :param seconds: of all attempts, or None; informative.
    :param failure: why the last attempt failed; informative, as it may name times and folders.
    :param taken_over: of a step that a re-run did not run: ``same`` when the other run (or both from one) is where it
        was taken from, ``unknown`` when it comes from a third run.
    :param fingerprint: over command, code, parameters and inputs; "" where the code is not known for sure.
    :param code_certainty: whether equal identities mean equal code.
    :param is_definition_known: False when a changed step of the pipeline file would go unnoticed.
    :param is_beginning_known: False when the parameters that the step could see are not recorded in full.
    """

    internal_name: str
    step_type: str
    depth: int = 0
    presence: Presence = "both"
    status: Pair = _NO_TEXT
    types: Pair = _NO_TEXT
    mock: Pair = _NOT_MOCK
    message: Pair = _NO_TEXT
    definition: Pairs = field(default_factory=dict)
    code: Pairs = field(default_factory=dict)
    inputs: Pairs = field(default_factory=dict)
    outputs: Pairs = field(default_factory=dict)
    parameters: Pairs = field(default_factory=dict)
    metrics: Pairs = field(default_factory=dict)
    began_with: Pairs = field(default_factory=dict)
    attempts: Pair = _NO_ATTEMPT
    seconds: Pair = _NO_TIME
    failure: Pair = _NO_TEXT
    taken_over: Literal["", "same", "unknown"] = ""
    fingerprint: Pair = _NO_TEXT
    code_certainty: Literal["certain", "uncommitted", "unrecorded"] = "certain"
    is_definition_known: bool = True
    is_beginning_known: bool = True

    @property
    def has_other_results(self) -> bool:
        """Whether the runs went apart here: another status, output, parameter, metric or message, or one run's alone."""
        scalars = (self.status, self.message)
        return (
            self.presence != "both"
            or any(pair.a != pair.b for pair in scalars)
            or bool(self.outputs or self.parameters or self.metrics)
        )

    @property
    def is_equal(self) -> bool:
        """Whether nothing that counts differs."""
        causes = self.definition or self.code or self.inputs or self.types.a != self.types.b
        return not (causes or self.has_other_results or self.taken_over == "unknown")

    @property
    def reason(self) -> str:
        """Why this step differs, causes first; "" when it does not."""
        if self.presence != "both":
            return f"only run {self.presence.upper()} has it"
        if self.is_equal:
            return ""
        causes, effects = self._causes(), self._effects()
        if self.taken_over == "unknown":
            causes.append("taken over from a third run, so what it made cannot be compared")
        if not effects:
            return "; ".join([*causes, *([] if self.taken_over else ["the same results"])])
        because = f"{'; '.join(causes)} → " if causes else f"{', '.join(self._equal_causes())}, "
        return because + "; ".join(effects)

    def _causes(self) -> list[str]:
        found = ["another type of step"] if self.types.a != self.types.b else []
        named = (
            ("other definition", self.definition),
            ("other code", self.code),
            ("other input", self.inputs),
            ("other parameters to begin with", self.began_with if self.has_other_results else {}),
        )
        found += [f"{what} ({_names(pairs)})" for what, pairs in named if pairs]
        prints = self.fingerprint
        if not found and prints.a and prints.b and prints.a != prints.b:
            found.append("another fingerprint of command, code, parameters and inputs")
        return found

    def _effects(self) -> list[str]:
        found = [f"status {self.status.a} | {self.status.b}"] if self.status.a != self.status.b else []
        named = (
            ("other output", self.outputs),
            ("sets other parameters", self.parameters),
            ("other metrics", self.metrics),
        )
        found += [f"{what} ({_names(pairs)})" for what, pairs in named if pairs]
        return found + (["another message"] if self.message.a != self.message.b else [])

    def _equal_causes(self) -> list[str]:
        if self.fingerprint.a and self.fingerprint.a == self.fingerprint.b:
            return ["same code", "same inputs"]
        code = {
            "certain": "same code",
            "uncommitted": "same commit (but with uncommitted changes, which may differ)",
            "unrecorded": "same definition (which code it called is not recorded)",
        }[self.code_certainty]
        if not self.is_definition_known:
            is_recorded = self.code_certainty != "unrecorded"
            code = (
                f"{code} (but its definition may differ)"
                if is_recorded
                else "code and definition not recorded"
            )
        inputs = "same inputs" if self.is_beginning_known else "same input files (parameters not recorded)"
        return [code, inputs]


@dataclass(frozen=True)
class FirstDifference:
    """Where two runs part.

    :param reason: a sentence, without the step's name.
    """

    step: str
    reason: str


@dataclass(frozen=True)
class RunDifference:
    """Two runs, side by side.

    :param tag: informative.
    :param run_config: service → dotted key → its two values.
    :param initial_parameters: None when a run's are not known.
    :param parameters: final values.
    :param steps: all steps of both, in the order of A; a composite step stands before the steps of its branches.
    """

    run_id: Pair
    status: Pair
    dag_hash: Pair
    tag: Pair
    run_config: Mapping[str, Pairs] = field(default_factory=dict)
    initial_parameters: Pairs | None = None
    parameters: Pairs = field(default_factory=dict)
    steps: tuple[StepDifference, ...] = ()

    @property
    def is_equal(self) -> bool:
        """Whether nothing that counts differs, in any step or of the runs as a whole."""
        of_runs = self.run_config or self.initial_parameters or self.parameters
        scalars = (self.status, self.dag_hash)
        return (
            not of_runs
            and all(pair.a == pair.b for pair in scalars)
            and all(step.is_equal for step in self.steps)
        )

    @property
    def first_difference(self) -> FirstDifference | None:
        """The first step whose results differ; where all results are equal, the first that differs in anything.

        Another commit alone is no parting of ways: it is named where it comes with another result. Of a composite step
        and a step of its branches, the latter is where it began. None when no step differs.
        """
        differing = [step for step in self.steps if not step.is_equal]
        parted = [step for step in differing if step.has_other_results] or differing
        inner = _containing(parted)
        for step in parted:
            if step.presence != "both" or step.internal_name not in inner:
                return FirstDifference(step.internal_name, step.reason)
        return None

    def to_plain(self) -> dict[str, Any]:
        """Everything as plain values for JSON; a side that a pair does not have is left out."""
        first = self.first_difference
        return {
            "is_equal": self.is_equal,
            "first_difference": None if first is None else _plain(first),
            **_plain(self),
        }


def _containing(steps: Iterable[StepDifference]) -> set[str]:
    """Names of the steps that one of these lies in."""
    names = set()
    for step in steps:
        words = step.internal_name.split(".")
        names |= {".".join(words[:count]) for count in range(1, len(words))}
    return names


def _names(pairs: Pairs) -> str:
    names = list(pairs)
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _plain(value: Any) -> Any:
    if isinstance(value, Pair):
        sides = {"a": value.a, "b": value.b}
        return {side: part for side, part in sides.items() if part is not MISSING}
    if is_dataclass(value):
        plain = {part.name: _plain(getattr(value, part.name)) for part in fields(value)}
        if isinstance(value, StepDifference):
            plain |= {"is_equal": value.is_equal, "reason": value.reason}
        return plain
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, tuple) else value
