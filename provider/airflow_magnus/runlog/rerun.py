"""Which steps of an earlier run a new one need not run again. A pure decision; what it takes is applied elsewhere.

Source: contract of re-run; spec §15.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_magnus.runlog.history import Edges, StepHistory, visible
from airflow_magnus.runlog.records import CatalogEntry, RunHeader


@dataclass(frozen=True)
class RerunPlan:
    """What a new run takes over.

    :param reused: internal names of the steps that are not run again, in order.
    :param parameters: initial values of the new run.
    :param entries: catalog entries of the reused steps, where they lie now.
    :param warnings: sentences for people.
    """

    reused: tuple[str, ...]
    parameters: Mapping[str, Any]
    entries: tuple[CatalogEntry, ...]
    warnings: tuple[str, ...]


def changed_steps(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of the steps of a ``dag`` section that are other than they were, or new."""
    old, new = before.get("steps", {}), now.get("steps", {})
    return [name for name, step in new.items() if old.get(name) != step]


def reusable(
    start: str, edges: Edges, histories: Mapping[str, StepHistory], unusable: Sequence[str]
) -> list[str]:
    """The steps from the start up to the first that did not succeed, was changed, or lost what it made."""
    reused: list[str] = []
    current = start
    while current in histories and histories[current].status == "SUCCESS" and current not in unusable:
        after_success, _ = edges(current)
        if not after_success:
            break  # a success or fail node always runs
        reused.append(current)
        current = after_success
    return reused


def plan_rerun(
    earlier: RunHeader,
    histories: Mapping[str, StepHistory],
    start: str,
    edges: Edges,
    *,
    definition: Mapping[str, Any],
    given: Mapping[str, Any],
    lost: Sequence[str] = (),
) -> RerunPlan:
    """Decide what the new run takes over.

    :param histories: of the earlier run's own graph.
    :param definition: the ``dag`` section now.
    :param given: parameters given to the new run; the earlier ones win.
    :param lost: steps whose files are gone.
    """
    changed = changed_steps(earlier.definition, definition)
    warnings = []
    if changed:
        names = ", ".join(repr(name) for name in changed)
        warnings.append(
            f"the pipeline has changed since run {earlier.run_id}: step {names} runs again, and what follows"
        )
    warnings += [f"step {name!r} runs again: files that it put are gone from the catalog" for name in lost]
    reused = reusable(start, edges, histories, [*changed, *lost])
    seen = visible(earlier, reused, histories)
    for name in sorted(set(given) & set(seen.parameters)):
        if given[name] != seen.parameters[name]:
            warnings.append(
                f"parameter {name!r}: {seen.parameters[name]!r} of run {earlier.run_id} wins over {given[name]!r}"
            )
    return RerunPlan(
        reused=tuple(reused),
        parameters={**given, **seen.parameters},
        entries=tuple(seen.entries.values()),
        warnings=tuple(warnings),
    )
