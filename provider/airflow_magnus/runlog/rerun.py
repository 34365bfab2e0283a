"""Which steps of an earlier run a new one need not run again. A pure decision; what it takes is applied elsewhere.

Source: contract of re-run; spec §15.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_magnus.runlog.definition import Section, edges_of, graph_of, inside
from airflow_magnus.runlog.history import Graphs, StepHistory, before_first_step, visible
from airflow_magnus.runlog.records import COMPOSITE_TYPES, AttemptClosed, RunHeader

Action = Literal["skip", "restore", "run"]
_ONLY_THE_WAY = ("next", "on_failure", "branches", "branch", "default", "max_iterations")
"""Keys that say nothing of what a step itself makes; the graphs inside it are compared step by step."""


@dataclass(frozen=True)
class Decision:
    """What a re-run does with one step.

    :param action: ``skip`` it; skip it and ``restore`` its files by copies inside the store; or ``run`` it.
    :param size: bytes of the files that are copied.
    """

    internal_name: str
    action: Action
    why: str
    files: int = 0
    size: int = 0


@dataclass(frozen=True)
class RerunPlan:
    """What a new run takes over.

    :param reused: internal names of the steps and whole branches that are not run again, in order.
    :param shadowed: reused step → names of the files that a later reused step has put again.
    :param parameters: initial values of the new run.
    :param decisions: of every step that the new run can be said to reach.
    :param warnings: sentences for people.
    """

    reused: tuple[str, ...]
    shadowed: Mapping[str, list[str]]
    parameters: Mapping[str, Any]
    decisions: tuple[Decision, ...]
    warnings: tuple[str, ...]


def plan_rerun(
    earlier: RunHeader,
    graphs: Graphs,
    new: RunHeader,
    *,
    lost: Collection[str] = (),
    new_parameters_win: bool = False,
) -> RerunPlan:
    """Decide what the new run takes over.

    :param graphs: of the earlier run: graph name → step name → history.
    :param new: header of the new run: its definition, and the parameters that were given to it.
    :param lost: internal names of the steps whose files are gone.
    :param new_parameters_win: let given parameters win, and run again from the first step that could read one that is
        other than it was; else those of the earlier run win.
    """
    warnings = []
    seen = before_first_step(earlier)
    changed = {n for n, v in new.parameters.items() if n not in seen.parameters or seen.parameters[n] != v}
    planner = _Planner(earlier, graphs, new, lost, changed if new_parameters_win else set())
    planner.graph("", new.definition)
    top = graphs.get("", {})
    seen = visible(seen, [name for name in planner.reused if name in top], top)
    for name in sorted(set(new.parameters) & set(seen.parameters)):
        before, given = seen.parameters[name], new.parameters[name]
        if given != before and not new_parameters_win:
            warnings.append(
                f"parameter {name!r}: {before!r} of run {earlier.run_id} wins over {given!r}; "
                "with --new-parameters the new value wins"
            )
    if planner.changed:
        names = ", ".join(repr(name) for name in planner.changed)
        warnings.append(
            f"the pipeline has changed since run {earlier.run_id}: step {names} runs again, and what follows"
        )
    warnings += [f"step {n!r} runs again: files that it put are gone from the catalog" for n in planner.lost]
    initial = (
        {**earlier.parameters, **new.parameters}
        if new_parameters_win
        else {**new.parameters, **seen.parameters}
    )
    return RerunPlan(
        tuple(planner.reused), planner.shadowed(), initial, tuple(planner.decisions), tuple(warnings)
    )


@dataclass
class _Planner:
    """Goes through the graphs of the new run beside the records of the earlier one."""

    earlier: RunHeader
    graphs: Graphs
    new: RunHeader
    gone: Collection[str]
    new_values: Collection[str]
    reused: list[str] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    puts: list[tuple[str, list[str]]] = field(default_factory=list)

    def graph(self, name: str, section: Section, *, may_fail: bool = False) -> bool:
        """Decide the steps of one graph; True when all of it, up to its success node, need not run again.

        :param may_fail: whether a step that failed and was made good by its handler counts as done.
        """
        histories = self.graphs.get(name, {})
        old = graph_of(self.earlier, name) or {}
        edges, steps = edges_of(section), section["steps"]
        current = section["start_at"]
        while steps[current]["type"] not in ("success", "fail"):
            internal_name = f"{name}.{current}" if name else current
            history = histories.get(current)
            why = self._why_again(internal_name, steps[current], old.get("steps", {}).get(current), history)
            if may_fail and history is not None and why.startswith(_FAILED):
                current = edges(current)[1]
                continue
            place = len(self.decisions)
            if steps[current]["type"] in COMPOSITE_TYPES and history is not None and why != _CHANGED:
                is_whole = self._inside(internal_name, steps[current], history, must_run=bool(why))
                why = why or ("" if is_whole else "a step in it runs again")
            if why:
                self.decisions.insert(place, Decision(internal_name, "run", why))
                self._follow(internal_name, section, current)
                return False
            self._reuse(internal_name, history)
            current = edges(current)[0]
        return bool(steps[current]["type"] == "success")

    def _why_again(
        self, internal_name: str, step: Mapping[str, Any], old: Any, history: StepHistory | None
    ) -> str:
        """Why a step runs again; "" when it need not, as far as it itself is concerned."""
        if history is None:
            return "it was not run"
        closed = history.latest.closed
        if (
            old is None
            or _own(old) != _own(step)
            or (closed and closed.mock and self._differs(internal_name))
        ):
            self.changed.append(internal_name)
            return _CHANGED
        if history.status != "SUCCESS":
            return _FAILED + (f": {closed.message.splitlines()[0]}" if closed and closed.message else "")
        if internal_name in self.gone:
            self.lost.append(internal_name)
            return "files that it put are gone from the catalog"
        if read := could_read(step, self.new_values):
            return f"it could read the new value of {', '.join(read)}"
        return ""

    def _inside(
        self, internal_name: str, step: Mapping[str, Any], history: StepHistory, *, must_run: bool
    ) -> bool:
        """Decide the branches of a composite step; True when none of them has anything to run."""
        before = self._mark()
        is_whole = True
        for branch in history.latest.opened.branches:
            name = f"{internal_name}.{branch}"
            section = inside(self.new, internal_name, step, branch)
            mark = self._mark()
            if step["type"] == "map" and section is not None and self.graph(name, section, may_fail=True):
                self.reused[mark[0] :] = [name]  # its steps have no tasks: the branch is taken as one
                continue
            self._back_to(mark)
            if section is None or not self.graph(name, section):
                is_whole = False
                if step["type"] == "loop":
                    break
        if is_whole and not must_run:  # one restore of the whole stands for all
            self._back_to(before)
        return is_whole

    def _mark(self) -> tuple[int, int, int]:
        return len(self.reused), len(self.decisions), len(self.puts)

    def _back_to(self, mark: tuple[int, int, int]) -> None:
        del self.reused[mark[0] :], self.decisions[mark[1] :], self.puts[mark[2] :]

    def _differs(self, step_name: str) -> bool:
        """Whether anything in a composite step was changed; asked where no records of its branches are."""
        *graph, name = step_name.split(".")
        both = [
            (graph_of(run, ".".join(graph)) or {}).get("steps", {}).get(name)
            for run in (self.earlier, self.new)
        ]
        subs = [
            {k: v for k, v in run.sub_definitions.items() if k.startswith(step_name)}
            for run in (self.earlier, self.new)
        ]
        return both[0] != both[1] or subs[0] != subs[1]

    def _reuse(self, internal_name: str, history: StepHistory | None) -> None:
        closed = history.latest.closed if history else None
        entries = closed.puts() if closed else []
        size = sum(entry.size or 0 for entry in entries)
        self.reused.append(internal_name)
        self.puts.append((internal_name, [entry.name for entry in entries]))
        action: Action = "restore" if entries else "skip"
        self.decisions.append(Decision(internal_name, action, "it succeeded", len(entries), size))

    def _follow(self, internal_name: str, section: Section, name: str) -> None:
        """What its graph may run behind a step that runs."""
        prefix = internal_name[: -len(name)]
        for follower in _behind(section, name):
            self.decisions.append(Decision(prefix + follower, "run", f"it follows {internal_name!r}"))

    def shadowed(self) -> dict[str, list[str]]:
        """Of each reused step the files that a later one has put again."""
        found: dict[str, list[str]] = {}
        later: set[str] = set()
        for step, names in reversed(self.puts):
            if hidden := [name for name in names if name in later]:
                found[step] = hidden
            later.update(names)
        return found


_CHANGED = "it was changed"
_FAILED = "it failed"


def _own(step: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in step.items() if key not in _ONLY_THE_WAY}


def _behind(section: Section, name: str) -> Iterator[str]:
    """The steps that follow one on the way of success."""
    edges, steps = edges_of(section), section["steps"]
    current = edges(name)[0]
    while current and steps[current]["type"] not in ("success", "fail"):
        yield current
        current = edges(current)[0]


def could_read(step: Mapping[str, Any], names: Collection[str]) -> list[str]:
    """Which of the parameters a step could read. Only of a lambda, and of steps that run nothing, that is known."""
    kind = step["type"]
    if not names or kind in ("as-is", "parallel", "dag", "loop"):
        return []
    if kind in ("map", "conditional"):
        own = step.get("iterate_on" if kind == "map" else "parameter")
        return [name for name in names if name == own]
    if step.get("command_type") == "python-lambda":
        arguments = lambda_arguments(str(step.get("command", "")))
        return sorted(name for name in names if arguments is None or name in arguments)
    return sorted(names)


def lambda_arguments(source: str) -> set[str] | None:
    """Names of a lambda's arguments; None when the source is none."""
    try:
        body = ast.parse(source.strip(), mode="eval").body
    except SyntaxError:
        return None
    if not isinstance(body, ast.Lambda):
        return None
    return {argument.arg for argument in (*body.args.posonlyargs, *body.args.args, *body.args.kwonlyargs)}


def path_records(section: Section | None, histories: Mapping[str, StepHistory]) -> list[AttemptClosed]:
    """The records of the steps of a graph that succeeded one after the other up to its success node."""
    if not section:
        return []
    edges, steps = edges_of(section), section["steps"]
    found: list[AttemptClosed] = []
    current = section["start_at"]
    while steps[current]["type"] not in ("success", "fail"):
        history = histories.get(current)
        closed = history.latest.closed if history else None
        if closed is None:
            break
        found.append(closed)
        current = edges(current)[0 if closed.status == "SUCCESS" else 1]
    return found
