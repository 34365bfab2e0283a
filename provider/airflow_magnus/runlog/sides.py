"""The two runs of a comparison at one place of one graph: what is known there of parameters and definitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_magnus.runlog.pairs import MISSING, Pair, differences, is_same
from airflow_magnus.runlog.records import RunHeader, RunLog, StepLog

StepPair = tuple[StepLog | None, StepLog | None]


@dataclass
class Side:
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
        """A step as it stands in the pipeline file; None when that is not known."""
        found = (self.definition or {}).get("steps", {}).get(step.name)
        return found if isinstance(found, Mapping) else None

    def branch(self, step: StepLog, branch_name: str) -> Side:
        """This side as the first step of a branch sees it."""
        of_step = self.definition_of(step) or {}
        name = branch_name.removeprefix(f"{step.internal_name}.")
        named = of_step.get("branches")
        found = (
            named.get(name, of_step.get("default")) if isinstance(named, Mapping) else of_step.get("branch")
        )
        return Side(
            definition=found if isinstance(found, Mapping) else None,
            seen=dict(self.seen),
            is_known=self.is_known,
            is_hashed=self.is_hashed and step.step_type != "dag",
        )

    def after(self, step: StepLog) -> None:
        """Go on behind a step."""
        if step.status == "SUCCESS" or step.branches:
            self.add(parameters_of(step))
            self.is_known = self.is_known and (step.mock or bool(step.branches) or records_parameters(step))

    def add(self, values: Mapping[str, Any]) -> None:
        """Take in what was set."""
        self.seen.update(values)
        self.set.update(values)


def side_of(log: RunLog, header: RunHeader | None) -> Side:
    """A run before its first step."""
    if header is not None:
        return Side(header.definition or None, dict(header.parameters))
    steps = list(_all_steps(log.steps))
    names = {name for step in steps for name in parameters_of(step)}
    if not all(records_parameters(step) for step in steps):
        return Side(None, is_known=False)
    # What no step set was there from the beginning; what one set may have had another value before.
    began = {name: value for name, value in log.parameters.items() if name not in names}
    return Side(None, began, is_known=not names)


def _all_steps(steps: Mapping[str, StepLog]) -> Iterator[StepLog]:
    for step in steps.values():
        yield step
        for branch in step.branches.values():
            yield from _all_steps(branch.steps)


class Sides:
    """Both sides, and which parameters they see differ: kept up to date, as every step of a long run asks for it."""

    def __init__(self, a: Side, b: Side) -> None:
        self.both = (a, b)
        self._differing = differences(a.seen, b.seen)

    @property
    def is_known(self) -> bool:
        """Whether all parameters that the next step sees are known."""
        return all(side.is_known for side in self.both)

    @property
    def is_hashed(self) -> bool:
        """Whether the dag hash of both covers this graph."""
        return all(side.is_hashed for side in self.both)

    def began_with(self) -> dict[str, Pair]:
        """The parameters that the next step sees differently."""
        # Where not all are known, a name that one side lacks may be there.
        return {
            name: pair
            for name, pair in self._differing.items()
            if self.is_known or MISSING not in (pair.a, pair.b)
        }

    def branch(self, pair: StepPair, name: str) -> Sides:
        """The sides as the first step of a branch sees them."""
        a, b = (
            Side(None) if step is None else side.branch(step, name)
            for step, side in zip(pair, self.both, strict=True)
        )
        return Sides(a, b)

    def after(self, pair: StepPair) -> None:
        """Go on behind a step."""
        for step, side in zip(pair, self.both, strict=True):
            if step is not None:
                side.after(step)
                self._renew(parameters_of(step))

    def merge(self, branch: Sides) -> None:
        """Go on behind a branch that was walked."""
        for side, within in zip(self.both, branch.both, strict=True):
            side.add(within.set)
            side.is_known = side.is_known and within.is_known
            self._renew(within.set)

    def _renew(self, names: Iterable[str]) -> None:
        for name in names:
            pair = Pair(*(side.seen.get(name, MISSING) for side in self.both))
            if is_same(pair.a, pair.b):
                self._differing.pop(name, None)
            else:
                self._differing[name] = pair


def records_parameters(step: StepLog) -> bool:
    """Whether the document says what the step set; older ones do not."""
    return "parameters" in step.model_fields_set or step.step_type in ("success", "fail")


def parameters_of(step: StepLog) -> Mapping[str, Any]:
    """What the step set, as far as the document says it."""
    return getattr(step, "parameters", None) or {}
