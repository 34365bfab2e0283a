"""Which runs' files are removed from the catalog. A pure decision; it is applied elsewhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

Action = Literal["keep", "collect", "finish", "gone"]


@dataclass(frozen=True)
class RunFacts:
    """What counts for one run.

    :param ended: when its last attempt ended; of a run that goes on not asked for.
    :param refers_to: ids of the runs that it takes something from, as far as its header tells.
    :param needed: why its files have to stay, in words; "" when nothing is known against their removal.
    :param left: what an earlier collection has left: ``all``, ``part`` when it did not come to its end, or ``nothing``.
    """

    run_id: str
    pipeline: str
    started: datetime
    ended: datetime
    is_success: bool = False
    refers_to: frozenset[str] = frozenset()
    needed: str = ""
    left: Literal["all", "part", "nothing"] = "all"


@dataclass(frozen=True)
class Policy:
    """What is asked for.

    :param older_than: runs that ended less than this ago are kept.
    :param keep_last: of each pipeline so many runs that started last are kept, and so many that succeeded last.
    """

    older_than: timedelta
    keep_last: int = 0


@dataclass(frozen=True)
class Verdict:
    """What happens to one run.

    :param action: ``finish``: what an interrupted collection has left is removed; ``gone``: there is nothing left.
    :param is_told: whether people want to know the reason, run by run.
    """

    run_id: str
    action: Action
    why: str = ""
    is_told: bool = False


@dataclass
class _Kept:
    why: dict[str, str] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)

    def add(self, run_id: str, why: str, *, is_told: bool = False) -> None:
        if run_id not in self.why:
            self.why[run_id] = why
            if is_told:
                self.told.add(run_id)


References = Callable[[Sequence[str]], Mapping[str, Collection[str]]]
"""Of each of these runs the other runs that its records name files of; asked only where it can keep a run."""


def decide(
    runs: Iterable[RunFacts], policy: Policy, now: datetime, records_name: References = lambda runs: {}
) -> list[Verdict]:
    """What happens to each run, the one that started first in front.

    A run is kept when it is needed or young, is among the last of its pipeline, or when a kept run refers to it. What an
    interrupted collection has left is removed whatever the age, unless the run is needed or referred to.
    """
    found = sorted(runs, key=lambda run: (run.started, run.run_id))
    kept = _Kept()
    there = [run for run in found if run.left != "nothing" or run.needed]
    for run in there:
        if run.needed:
            kept.add(run.run_id, run.needed, is_told=True)
    for run in there:
        if run.left == "all" and run.ended > now - policy.older_than:
            kept.add(run.run_id, "it ended not long ago")
    for run_id in _last([run for run in there if run.left == "all"], policy.keep_last):
        kept.add(run_id, "it is among the last of its pipeline")
    _keep_referred({run.run_id: run for run in there}, kept, records_name)
    return [_verdict(run, kept) for run in found]


def _verdict(run: RunFacts, kept: _Kept) -> Verdict:
    if run.run_id in kept.why:
        return Verdict(run.run_id, "keep", kept.why[run.run_id], run.run_id in kept.told)
    actions: Mapping[str, Action] = {"all": "collect", "part": "finish", "nothing": "gone"}
    return Verdict(run.run_id, actions[run.left])


def _last(runs: Sequence[RunFacts], count: int) -> set[str]:
    """Of each pipeline the runs that started last, and those that succeeded last.

    A row of failures does not push out the last good files.
    """
    by_pipeline: dict[str, list[RunFacts]] = defaultdict(list)
    for run in runs:
        by_pipeline[run.pipeline].append(run)
    found: set[str] = set()
    for same in by_pipeline.values():
        succeeded = [run for run in same if run.is_success]
        found |= {run.run_id for group in (same, succeeded) for run in group[max(0, len(group) - count) :]}
    return found


def _keep_referred(runs: Mapping[str, RunFacts], kept: _Kept, records_name: References) -> None:
    """Keep what kept runs refer to, and what those refer to, and so on."""
    new = list(kept.why)
    while new and len(kept.why) < len(runs):
        named = records_name(new)
        following = []
        for run_id in new:
            for other in sorted(
                {*(runs[run_id].refers_to if run_id in runs else ()), *named.get(run_id, ())}
            ):
                if other in runs and other not in kept.why:
                    kept.add(other, f"run {run_id} refers to it", is_told=True)
                    following.append(other)
        new = following
