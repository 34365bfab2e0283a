"""Which steps of an earlier run a new one need not run again. A pure decision; what it takes is applied elsewhere.

Source: contract of re-run; spec §15.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_magnus.runlog.changes import branches_now, could_read, is_same_value, makes, own_settings
from airflow_magnus.runlog.definition import Section, edges_of, graph_of, inside, steps_in
from airflow_magnus.runlog.history import Graphs, StepHistory, before_first_step, visible
from airflow_magnus.runlog.records import COMPOSITE_TYPES, ENDS, AttemptClosed, RunHeader

Action = Literal["skip", "restore", "run"]
_MOST_NAMED = 10
"""Steps that a warning names; in a map there may be thousands."""


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
    :param new: header of the new run: its definition, and the parameters that it would begin with.
    :param lost: internal names of the steps whose files are gone.
    :param new_parameters_win: let given parameters win, and run again from the first step that could read one that is
        other than it was; else those of the earlier run win.
    """
    warnings = []
    seen = before_first_step(earlier)
    given = {n: v for n, v in new.parameters.items() if new.given is None or n in new.given}
    changed = {
        name
        for name, value in given.items()
        if name not in seen.parameters or not is_same_value(seen.parameters[name], value)
    }
    planner = _Planner(earlier, graphs, new, lost, changed if new_parameters_win else set())
    planner.graph("", new.definition)
    top = graphs.get("", {})
    seen = visible(seen, [name for name in planner.reused if name in top], top)
    for name in sorted(set(given) & set(seen.parameters)):
        before, value = seen.parameters[name], given[name]
        if not (is_same_value(value, before) or new_parameters_win):
            warnings.append(
                f"parameter {name!r}: {before!r} of run {earlier.run_id} wins over {value!r}; "
                "with --new-parameters the new value wins"
            )
    if planner.changed:
        warnings.append(
            f"the pipeline has changed since run {earlier.run_id}: step {_names(planner.changed)} runs again, "
            "and what follows"
        )
    if planner.lost:
        warnings.append(
            f"step {_names(planner.lost)} runs again: files that it put are gone from the catalog"
        )
    # What reused steps set comes with their records: a step that runs again begins with what it began with before.
    return RerunPlan(
        tuple(planner.reused),
        planner.shadowed(),
        {**new.parameters, **earlier.parameters, **(given if new_parameters_win else {})},
        tuple(planner.decisions),
        tuple(warnings),
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
        old: Section = graph_of(self.earlier, name) or {"steps": {}}
        edges, steps = edges_of(section), section["steps"]
        old_edges = edges_of(old) if old["steps"] else edges
        current, before = section["start_at"], old.get("start_at")
        while steps[current]["type"] not in ENDS:
            internal_name = f"{name}.{current}" if name else current
            step, history = steps[current], histories.get(current)
            # A step that stands elsewhere now follows other steps than it did.
            old_step = old["steps"].get(current) if current == before else None
            why = self._why_again(internal_name, step, old_step, history)
            if may_fail and why.startswith(_FAILED) and not self._why_within(internal_name, step):
                current, before = edges(current)[1], old_edges(current)[1]
                continue
            place = len(self.decisions)
            if step["type"] in COMPOSITE_TYPES and history is not None and why != _CHANGED:
                why = self._why_inside(internal_name, step, old_step, history, why)
            if why:
                self.decisions.insert(place, Decision(internal_name, "run", why))
                self._follow(internal_name, section, current)
                return False
            self._reuse(internal_name, history)
            current, before = edges(current)[0], old_edges(current)[0]
        return bool(steps[current]["type"] == "success")

    def _why_again(
        self, internal_name: str, step: Mapping[str, Any], old: Any, history: StepHistory | None
    ) -> str:
        """Why a step runs again; "" when it need not, as far as it itself is concerned."""
        if history is None:
            return "it was not run"
        closed = history.latest.closed
        if old is None or own_settings(old) != own_settings(step):
            self.changed.append(internal_name)
            return _CHANGED
        if closed and closed.mock and _is_mocked(self.earlier):
            return "it was only mocked"
        if history.status != "SUCCESS":
            return _FAILED + (f": {closed.message.splitlines()[0]}" if closed and closed.message else "")
        if internal_name in self.gone:
            self.lost.append(internal_name)
            return _GONE
        if read := could_read(step, self.new_values):
            return _could_read(read)
        return ""

    def _why_inside(
        self, internal_name: str, step: Mapping[str, Any], old: Any, history: StepHistory, why: str
    ) -> str:
        """Decide what is inside a composite step; why it runs again, "" when it need not.

        :param why: it runs again whatever is inside.
        """
        closed = history.latest.closed
        if closed is not None and closed.mock:  # its branches have no records
            return why or self._why_within(internal_name, step)
        recorded = (closed or history.latest.opened).branches
        names, is_same = branches_now(step, old, recorded)
        if not is_same:
            self.changed.append(internal_name)
        is_whole = self._inside(internal_name, step, names, must_run=bool(why) or not is_same)
        return why or (_CHANGED if not is_same else "" if is_whole else "a step in it runs again")

    def _inside(
        self, internal_name: str, step: Mapping[str, Any], branches: Sequence[str], *, must_run: bool
    ) -> bool:
        """Decide the branches of a composite step; True when none of them has anything to run."""
        names = [f"{internal_name}.{branch}" for branch in branches]
        sections = [inside(self.new, internal_name, step, branch) for branch in branches]
        before = self._mark()
        if not must_run:  # one restore of the whole stands for all
            is_whole = all(
                section is not None and self.graph(name, section, may_fail=True)
                for name, section in zip(names, sections, strict=True)
            )
            self._back_to(before)
            if is_whole:
                return True
        is_whole = True
        is_new_list = step["type"] == "map" and bool(could_read(step, self.new_values))
        for name, section in zip(names, sections, strict=True):
            mark = self._mark()
            if step["type"] == "map" and section is not None and self.graph(name, section, may_fail=True):
                self.reused[mark[0] :] = [name]  # its steps have no tasks: the branch is taken as one
                continue
            self._back_to(mark)
            # Of a new list nobody knows yet whether this name stands for the same item.
            if section is None or is_new_list or not self.graph(name, section):
                is_whole = False
                if step["type"] == "loop":
                    break
        return is_whole

    def _mark(self) -> list[int]:
        return [len(found) for found in self._found]

    def _back_to(self, mark: Sequence[int]) -> None:
        for found, length in zip(self._found, mark, strict=True):
            del found[length:]

    @property
    def _found(self) -> tuple[list[Any], ...]:
        return self.reused, self.decisions, self.puts, self.changed, self.lost

    def _why_within(self, step_name: str, step: Mapping[str, Any]) -> str:
        """Why a step would run again for what is inside it; "" when it need not.

        Asked where the steps inside are not decided one by one.
        """
        *graph, name = step_name.split(".")
        old = (graph_of(self.earlier, ".".join(graph)) or {"steps": {}})["steps"].get(name, {})
        inner = list(steps_in(self.new, step_name, step))
        if makes(old) != makes(step) or list(steps_in(self.earlier, step_name, old)) != inner:
            self.changed.append(step_name)
            return _CHANGED
        if lost := [gone for gone in self.gone if gone == step_name or gone.startswith(f"{step_name}.")]:
            self.lost += lost
            return _GONE
        if read := sorted({name for one in [step, *inner] for name in could_read(one, self.new_values)}):
            return _could_read(read)
        return ""

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
_GONE = "files that it put are gone from the catalog"


def _could_read(names: Iterable[str]) -> str:
    return f"it could read the new value of {', '.join(names)}"


def _names(steps: Iterable[str]) -> str:
    names = list(dict.fromkeys(steps))
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(repr(name) for name in names[:_MOST_NAMED]) + more


def _behind(section: Section, name: str) -> Iterator[str]:
    """The steps that follow one on the way of success."""
    edges, steps = edges_of(section), section["steps"]
    current = edges(name)[0]
    while current and steps[current]["type"] not in ENDS:
        yield current
        current = edges(current)[0]


def _is_mocked(run: RunHeader) -> bool:
    """Whether the steps of a run that were not run have passed without a result: by the executor ``mocked``."""
    return bool((run.run_config.get("executor") or {}).get("type") == "mocked")


def path_records(section: Section | None, histories: Mapping[str, StepHistory]) -> list[AttemptClosed]:
    """The records of the steps of a graph that succeeded one after the other up to its success node."""
    if not section:
        return []
    edges, steps = edges_of(section), section["steps"]
    found: list[AttemptClosed] = []
    current = section["start_at"]
    while steps[current]["type"] not in ENDS:
        history = histories.get(current)
        closed = history.latest.closed if history else None
        if closed is None:
            break
        found.append(closed)
        current = edges(current)[0 if closed.status == "SUCCESS" else 1]
    return found
