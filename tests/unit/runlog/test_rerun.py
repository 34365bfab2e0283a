"""What a re-run takes over. The earlier runs are told by :class:`Run`, which walks a pipeline as a scheduler would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from airflow_magnus.pipeline.items import branch_names
from airflow_magnus.runlog.changes import could_read
from airflow_magnus.runlog.definition import branch_of, edges_of
from airflow_magnus.runlog.records import COMPOSITE_TYPES, AttemptClosed, AttemptOpened, RunHeader
from airflow_magnus.runlog.rerun import RerunPlan, path_records, plan_rerun
from pipelines import conditional, function, graph, loop, mapped, parallel, shell, sub
from run_log_builders import closed, entry, graphs, opened, step

Steps = dict[str, dict[str, Any]]
S = shell("true")


class Run:
    """An earlier run.

    :param fails: internal names of the steps that failed; of those in ``killed`` no end is known.
    :param items: internal name of a map → its list.
    :param takes: internal name of a conditional or a loop → the names of its branches that ran.
    :param puts: internal name → names of files.
    :param sets: internal name → parameters.
    :param reused: of a re-run: steps, and branches of maps, that were not run.
    """

    def __init__(
        self,
        steps: Steps,
        *,
        fails: Sequence[str] = (),
        killed: str = "",
        items: Mapping[str, list[Any]] | None = None,
        takes: Mapping[str, Sequence[str]] | None = None,
        puts: Mapping[str, Sequence[str]] | None = None,
        sets: Mapping[str, dict[str, Any]] | None = None,
        reused: Sequence[str] = (),
        subs: Mapping[str, Steps] | None = None,
        **parameters: Any,
    ) -> None:
        self.header = header(steps, subs, run_id="r1", **parameters)
        self.fails, self.killed, self.items, self.takes = fails, killed, items or {}, takes or {}
        self.puts, self.sets, self.reused = puts or {}, sets or {}, reused
        self.parts: list[AttemptOpened | AttemptClosed] = []
        self._walk("", self.header.definition)

    def _walk(self, name: str, section: Mapping[str, Any], is_reused: bool = False) -> bool:
        current = section["start_at"]
        edges = edges_of(section)
        while section["steps"][current]["type"] not in ("success", "fail"):
            succeeded = self._step(name, current, section["steps"][current], is_reused)
            if succeeded is None:
                return False
            current = edges(current)[0 if succeeded else 1]
        kind = section["steps"][current]["type"]
        self.parts.append(closed(step(current, kind, name)))
        return kind == "success"

    def _step(self, graph: str, name: str, definition: Mapping[str, Any], is_reused: bool) -> bool | None:
        internal_name = f"{graph}.{name}" if graph else name
        identity = step(name, definition["type"], graph)
        if internal_name == self.killed:
            self.parts.append(opened(identity))
            return None
        mock = is_reused or internal_name in self.reused
        outcome: dict[str, Any] = {
            "parameters": self.sets.get(internal_name, {}),
            "data_catalog": [entry(file) for file in self.puts.get(internal_name, ())],
            "mock": mock,
            "is_attempt": not mock,
        }
        succeeded = internal_name not in self.fails
        if definition["type"] in COMPOSITE_TYPES:
            items = self.items.get(internal_name, [])
            branches = self._branches(internal_name, definition, items)
            outcome |= {"branches": branches, "items": items}
            if not mock:
                succeeded &= self._inside(internal_name, definition, branches)
        if succeeded:
            self.parts.append(closed(identity, **outcome))
        else:
            self.parts.append(
                closed(
                    identity, status="FAIL", message="boom\nat line 1", branches=outcome.get("branches", [])
                )
            )
        return succeeded

    def _branches(self, name: str, definition: Mapping[str, Any], items: list[Any]) -> list[str]:
        if definition["type"] == "map":
            return branch_names(items)
        if name in self.takes:
            return list(self.takes[name])
        if definition["type"] == "loop":
            return [str(number) for number in range(definition["max_iterations"])]
        return ["dag"] if definition["type"] == "dag" else list(definition["branches"])

    def _inside(self, name: str, definition: Mapping[str, Any], branches: Sequence[str]) -> bool:
        succeeded = True
        for branch in branches:
            section = branch_of(definition, branch, self.header.sub_definitions.get(name))
            assert section is not None
            full = f"{name}.{branch}"
            succeeded &= self._walk(full, section, full in self.reused)
        return succeeded

    def again(
        self,
        steps: Steps | None = None,
        *,
        lost: Sequence[str] = (),
        new_parameters_win: bool = False,
        subs: Mapping[str, Steps] | None = None,
        **parameters: Any,
    ) -> RerunPlan:
        """The plan of a re-run, of the same steps unless others are given."""
        if steps is None:
            definition, sub_definitions = self.header.definition, self.header.sub_definitions
        else:
            new = header(steps, subs)
            definition, sub_definitions = new.definition, new.sub_definitions
        return plan_rerun(
            self.header,
            graphs(*self.parts),
            RunHeader(
                run_id="r2",
                token="t",
                definition=definition,
                sub_definitions=sub_definitions,
                parameters=parameters,
            ),
            lost=lost,
            new_parameters_win=new_parameters_win,
        )


def header(
    steps: Steps, subs: Mapping[str, Steps] | None = None, run_id: str = "r2", **parameters: Any
) -> RunHeader:
    return RunHeader(
        run_id=run_id,
        token="t",
        definition=graph(steps),
        sub_definitions={name: graph(inner) for name, inner in (subs or {}).items()},
        parameters=parameters,
    )


def reused(plan: RerunPlan) -> str:
    return " ".join(plan.reused)


def runs(plan: RerunPlan) -> dict[str, str]:
    return {decision.internal_name: decision.why for decision in plan.decisions if decision.action == "run"}


# steps one behind the other


def test_steps_before_the_first_that_did_not_succeed_are_reused() -> None:
    plan = Run({"a": S, "b": S, "c": S, "d": S}, fails=["c"]).again()
    assert reused(plan) == "a b"
    assert runs(plan) == {"c": "it failed: boom", "d": "it follows 'c'"}
    assert plan.warnings == ()


def test_all_is_reused_of_a_run_that_succeeded() -> None:
    plan = Run({"a": S, "b": S}, puts={"a": ["f", "g"]}).again()
    assert reused(plan) == "a b"
    assert [(d.internal_name, d.action, d.files) for d in plan.decisions] == [
        ("a", "restore", 2),
        ("b", "skip", 0),
    ]


def test_step_that_was_killed_runs_again() -> None:
    plan = Run({"a": S, "b": S, "c": S}, killed="b").again()
    assert (reused(plan), runs(plan)["b"]) == ("a", "it failed")


def test_step_that_was_never_reached_runs() -> None:
    plan = Run({"a": {**S, "next": "success"}}).again({"a": S, "b": S})
    assert (reused(plan), runs(plan), plan.warnings) == ("a", {"b": "it was not run"}, ())


def test_run_that_went_through_a_handler_starts_at_the_failed_step() -> None:
    steps = {"a": S, "b": {**S, "on_failure": "h"}, "c": {**S, "next": "success"}, "h": {**S, "next": "c"}}
    plan = Run(steps, fails=["b"]).again()
    assert reused(plan) == "a"
    assert runs(plan) == {"b": "it failed: boom", "c": "it follows 'b'"}


@pytest.mark.parametrize("change", [{"command": "false"}, {"catalog": {"put": ["*"]}}, {"retry": 2}])
def test_changed_step_runs_again_and_what_follows_with_a_warning(change: dict[str, Any]) -> None:
    plan = Run({"a": S, "b": S, "c": S}).again({"a": S, "b": {**S, **change}, "c": S})
    assert reused(plan) == "a"
    assert runs(plan) == {"b": "it was changed", "c": "it follows 'b'"}
    (warning,) = plan.warnings
    assert warning == "the pipeline has changed since run r1: step 'b' runs again, and what follows"


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ({"a": S, "c": S}, "a"),
        ({"b": S, "a": S, "c": S}, ""),
        ({"a": S, "c": S, "b": S}, "a"),
        ({"a": S, "new": S, "b": S, "c": S}, "a"),
        ({"a": S, "b": S}, "a b"),
        ({"a": S, "b": S, "c": S, "d": S}, "a b c"),
    ],
)
def test_step_that_follows_others_than_before_runs_again(steps: Steps, kept: str) -> None:
    """It may have read what the steps before it had left."""
    assert reused(Run({"a": S, "b": S, "c": S}).again(steps)) == kept


def test_another_handler_is_no_change_of_a_step_that_succeeded() -> None:
    plan = Run({"a": S, "b": S}).again({"a": {**S, "on_failure": "b"}, "b": S})
    assert (reused(plan), plan.warnings) == ("a b", ())


def test_step_whose_files_are_gone_runs_again_with_a_warning() -> None:
    plan = Run({"a": S, "b": S, "c": S}, puts={"b": ["f"]}).again(lost=["b"])
    assert reused(plan) == "a"
    assert runs(plan)["b"] == "files that it put are gone from the catalog"
    assert plan.warnings == ("step 'b' runs again: files that it put are gone from the catalog",)


def test_run_without_a_definition_is_run_anew() -> None:
    """Of a DAG that was written by hand."""
    earlier = RunHeader(run_id="r1", token="t")
    plan = plan_rerun(earlier, graphs(closed(step("a"))), header({"a": S}))
    assert reused(plan) == ""


# parameters


def test_earlier_parameters_win_with_a_warning_of_both() -> None:
    run = Run({"a": S, "b": S}, fails=["b"], sets={"a": {"y": 1}, "b": {"z": 9}}, x="old", same=[1])
    plan = run.again(x="new", y=2, z=3, same=[1])
    assert plan.parameters == {"x": "old", "y": 2, "z": 3, "same": [1]}, "y comes with the record of a"
    assert plan.warnings == (
        "parameter 'x': 'old' of run r1 wins over 'new'; with --new-parameters the new value wins",
        "parameter 'y': 1 of run r1 wins over 2; with --new-parameters the new value wins",
    )
    assert reused(plan) == "a"


def test_a_run_begins_with_what_the_earlier_one_began_with() -> None:
    """Not with what its steps had made of it: the first step may run again in a later re-run."""
    assert Run({"a": S, "b": S}, fails=["b"], sets={"a": {"x": 1}}, x=0).again().parameters == {"x": 0}


@pytest.mark.parametrize(
    ("before", "given", "kept"), [(1, 1, "a b"), (1, 2, ""), (1, True, ""), (1, 1.0, ""), ([1], [1], "a b")]
)
def test_new_value_is_another_one_to_json(before: Any, given: Any, kept: str) -> None:
    steps = {"a": function("lambda x: {}"), "b": S}
    assert reused(Run(steps, x=before).again(new_parameters_win=True, x=given)) == kept


def test_new_parameters_win_and_all_runs_from_the_first_step_that_could_read_one() -> None:
    steps = {
        "a": function("lambda y: {}"),
        "b": {"type": "as-is"},
        "c": function("lambda z, x=1: {}"),
        "d": function("lambda y: {}"),
    }
    plan = Run(steps, x=1, y=1).again(new_parameters_win=True, x=2, y=1, new=5)
    assert plan.parameters == {"x": 2, "y": 1, "new": 5}
    assert reused(plan) == "a b"
    assert runs(plan)["c"] == "it could read the new value of x"
    assert plan.warnings == ()


@pytest.mark.parametrize(
    ("made", "read"),
    [
        (S, ["x", "y"]),
        ({"type": "as-is"}, []),
        (function("lambda x: {}"), ["x"]),
        (function("lambda *, y=1: {}"), ["y"]),
        (function("lambda z: {}"), []),
        (function("lambda **all: {}"), []),
        (function("no lambda"), ["x", "y"]),
        (function("dict"), ["x", "y"]),
        (mapped({"s": S}, "x"), ["x"]),
        (mapped({"s": S}, "z"), []),
        (conditional("y", {"b": {}}), ["y"]),
        (loop({}, 2, break_on="x"), ["x"]),
        (loop({}, 2), []),
        (parallel({"b": {"s": S}}), []),
        (sub("x"), []),
    ],
)
def test_what_a_step_itself_could_read(made: dict[str, Any], read: list[str]) -> None:
    assert could_read(made, ["y", "x"]) == read
    assert could_read(made, []) == []


# parallel


BOTH = {"first": S, "p": parallel({"one": {"s": S, "t": S}, "two": {"s": S, "t": S}}), "last": S}


def test_composite_step_that_succeeded_is_taken_as_one() -> None:
    plan = Run(BOTH, fails=["last"], puts={"p": ["f"], "p.one.s": ["f"]}).again()
    assert reused(plan) == "first p"
    assert runs(plan) == {"last": "it failed: boom"}
    assert [(d.internal_name, d.files) for d in plan.decisions if d.action == "restore"] == [("p", 1)]


def test_of_a_failed_composite_step_only_what_failed_runs_again() -> None:
    plan = Run(BOTH, fails=["p.two.t"]).again()
    assert reused(plan) == "first p.one.s p.one.t p.two.s"
    assert runs(plan) == {"p": "it failed: boom", "p.two.t": "it failed: boom", "last": "it follows 'p'"}
    assert [d.internal_name for d in plan.decisions] == [
        "first", "p", "p.one.s", "p.one.t", "p.two.s", "p.two.t", "last",
    ]  # fmt: skip


def test_changed_step_inside_runs_again_with_what_follows_in_its_branch_and_behind() -> None:
    changed = {**BOTH, "p": parallel({"one": {"s": shell("false"), "t": S}, "two": {"s": S, "t": S}})}
    plan = Run(BOTH).again(changed)
    assert reused(plan) == "first p.two.s p.two.t"
    assert runs(plan) == {
        "p": "a step in it runs again",
        "p.one.s": "it was changed",
        "p.one.t": "it follows 'p.one.s'",
        "last": "it follows 'p'",
    }
    assert "step 'p.one.s' runs again" in plan.warnings[0]


def test_lost_file_inside_runs_its_step_again() -> None:
    plan = Run(BOTH).again(lost=["p.two.s"])
    assert reused(plan) == "first p.one.s p.one.t"
    assert plan.warnings == ("step 'p.two.s' runs again: files that it put are gone from the catalog",)


def test_new_value_that_a_step_inside_could_read() -> None:
    steps = {"p": parallel({"one": {"s": function("lambda x: {}")}, "two": {"s": function("lambda y: {}")}})}
    plan = Run(steps, x=1).again(new_parameters_win=True, x=2)
    assert (reused(plan), list(runs(plan))) == ("p.two.s", ["p", "p.one.s"])


@pytest.mark.parametrize(
    ("branches", "kept"),
    [
        (["one", "two", "three"], "p.one.s p.two.s"),
        (["two"], "p.two.s"),
        (["two", "one"], "p.two.s p.one.s"),
        (["other"], ""),
    ],
)
def test_step_with_other_branches_is_concluded_anew(branches: list[str], kept: str) -> None:
    run = Run({"p": parallel({"one": {"s": S}, "two": {"s": S}}), "last": S})
    plan = run.again({"p": parallel({name: {"s": S} for name in branches}), "last": S})
    assert reused(plan) == kept
    assert runs(plan)["p"] == "it was changed"
    assert "last" in runs(plan)
    assert "step 'p' runs again" in plan.warnings[0]


def test_branch_that_its_handler_made_good_runs_again_from_the_failed_step_beside_one_that_failed() -> None:
    steps = {
        "p": parallel({"one": {"s": {**S, "on_failure": "h", "next": "success"}, "h": S}, "two": {"t": S}})
    }
    assert reused(Run(steps, fails=["p.one.s"]).again()) == "p", "it succeeded as a whole"
    assert reused(Run(steps, fails=["p.one.s", "p.two.t"]).again()) == ""


# maps


MAP = {"m": mapped({"s": S, "t": S}), "last": S}


def test_items_that_succeeded_are_taken_as_one_and_of_the_others_what_came_before_the_failure() -> None:
    plan = Run(MAP, items={"m": ["a", "b", 3, "b"]}, fails=["m.b.t", "m.b~2.s"]).again()
    assert reused(plan) == "m.a m.b.s m.3"
    assert list(runs(plan)) == ["m", "m.b.t", "m.b~2.s", "m.b~2.t", "last"]


def test_item_that_its_handler_made_good_is_done() -> None:
    inner = {"s": {**S, "on_failure": "h", "next": "t"}, "t": {**S, "next": "success"}, "h": S}
    plan = Run({"m": mapped(inner)}, items={"m": ["a", "b", "c"]}, fails=["m.a.s", "m.b.s", "m.b.h"]).again()
    assert reused(plan) == "m.a m.c"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"lost": ["m.a.h"]}, "files that it put are gone from the catalog"),
        ({"new_parameters_win": True, "x": 2}, "it failed: boom"),
    ],
)
def test_item_that_its_handler_made_good_runs_again_when_its_steps_would(
    change: dict[str, Any], why: str
) -> None:
    inner = {"s": {**function("lambda x: {}"), "on_failure": "h", "next": "success"}, "h": {"type": "as-is"}}
    run = Run({"m": mapped(inner)}, items={"m": ["a"]}, fails=["m.a.s"], x=1)
    assert reused(run.again()) == "m"
    assert reused(run.again(**change)) == ""


def test_item_whose_failed_composite_step_was_made_good_is_done_unless_its_files_are_gone() -> None:
    inner = {"p": {**parallel({"x": {"s": S, "t": S}}), "on_failure": "h", "next": "success"}, "h": S}
    run = Run({"m": mapped(inner)}, items={"m": ["a"]}, fails=["m.a.p.x.t"])
    assert reused(run.again()) == "m"
    assert reused(run.again(lost=["m.a.p.x.s"])) == ""
    changed = {"m": mapped({**inner, "p": {**inner["p"], **parallel({"x": {"s": S, "t": shell("false")}})}})}
    assert reused(run.again(changed)) == "m.a.p.x.s"


def test_changed_step_in_a_map_is_named_once_and_not_for_thousands_of_items() -> None:
    run = Run(MAP, items={"m": [*range(1000)]})
    plan = run.again({**MAP, "m": mapped({"s": S, "t": shell("false")})})
    assert reused(plan) == " ".join(f"m.{n}.s" for n in range(1000))
    (warning,) = plan.warnings
    assert warning.startswith("the pipeline has changed since run r1: step 'm.0.t', 'm.1.t'")
    assert "'m.9.t' and 990 more runs again" in warning


def test_of_a_new_list_only_whole_items_can_be_reused() -> None:
    """Whether an item is the one of that name is looked at when the list is there; of single steps it is not."""
    inner = {"s": function("lambda item: {}"), "t": S}
    run = Run({"m": mapped({"s": inner["s"]})}, items={"m": ["a", "b"]}, fails=["m.b.s"], items_=0)
    assert reused(run.again()) == "m.a"
    plan = run.again(new_parameters_win=True, items=["b", "a"])
    assert (reused(plan), runs(plan)["m"]) == ("m.a", "it failed: boom")
    longer = Run({"m": mapped({"s": inner["s"], "t": inner["s"]})}, items={"m": ["a", "b"]}, fails=["m.b.t"])
    assert reused(longer.again()) == "m.a m.b.s"
    assert reused(longer.again(new_parameters_win=True, items=["b"])) == "m.a"


def test_maps_inside_maps() -> None:
    steps = {"m": mapped({"n": mapped({"s": S}, "inner", "j"), "t": S}, "outer", "i")}
    lists = {"m": ["a", "b"], "m.a.n": [1, 2], "m.b.n": [1, 2]}
    plan = Run(steps, items=lists, fails=["m.b.n.2.s"]).again()
    assert reused(plan) == "m.a m.b.n.1"
    assert list(runs(plan)) == ["m", "m.b.n", "m.b.n.2.s", "m.b.t"]


def test_map_of_other_settings_runs_again() -> None:
    run = Run(MAP, items={"m": ["a"]})
    assert reused(run.again({**MAP, "m": mapped({"s": S, "t": S}, name="other")})) == ""


# dag, conditional


def test_sub_pipeline_is_compared_as_its_file_was_then() -> None:
    steps = {"d": sub("f.yaml"), "e": sub("f.yaml"), "last": S}
    run = Run(steps, subs={"d": {"s": S, "t": S}, "e": {"s": S, "t": S}})
    same = {"d": {"s": S, "t": S}, "e": {"s": S, "t": S}}
    assert reused(run.again(steps, subs=same)) == "d e last"
    plan = run.again(steps, subs={**same, "e": {"s": S, "t": shell("false")}})
    assert reused(plan) == "d e.dag.s"
    assert "step 'e.dag.t' runs again" in plan.warnings[0]


def test_sub_pipeline_in_a_map_and_in_a_loop() -> None:
    steps = {"m": mapped({"d": sub("f.yaml")}), "l": loop({"d": sub("f.yaml")}, 2)}
    subs = {name: {"s": S} for name in ("m.map_variable_placeholder.d", "l.0.d", "l.1.d")}
    run = Run(steps, items={"m": []}, takes={"l": []}, subs=subs)
    for name in ("m.a.d.dag", "m.b.d.dag", "l.0.d.dag"):
        run.parts.append(closed(step("s", graph=name)))
        run.parts.append(closed(step("d", "dag", name.rsplit(".", 2)[0]), branches=["dag"]))
    run.parts += [
        closed(step("m", "map"), branches=["a", "b"], items=["a", "b"]),
        closed(step("l", "loop"), branches=["0"]),
    ]
    assert reused(run.again(steps, subs=subs)) == "m l"
    changed = {**subs, "m.map_variable_placeholder.d": {"s": shell("false")}}
    assert list(runs(run.again(steps, subs=changed))) == [
        "m",
        "m.a.d",
        "m.a.d.dag.s",
        "m.b.d",
        "m.b.d.dag.s",
        "l",
    ]


X = {"s": S}


@pytest.mark.parametrize(
    ("took", "branches", "default", "kept"),
    [
        ("x", {"x": X, "y": X}, X, "c last"),
        ("x", {"x": X}, None, "c last"),
        ("x", {"x": X, "y": {"s": shell("false")}, "z": X}, X, "c last"),
        ("x", {"y": X}, X, ""),
        ("x", {"x": {"s": shell("false")}, "y": X}, X, ""),
        ("default", {"x": X, "y": X}, X, "c last"),
        ("default", {"x": X}, X, "c last"),
        ("default", {"x": X, "y": X, "z": X}, X, ""),
        ("default", {"x": X, "y": X}, None, ""),
    ],
)
def test_conditional_is_reused_when_it_would_take_the_same_branch(
    took: str, branches: dict[str, Steps], default: Steps | None, kept: str
) -> None:
    run = Run({"c": conditional("p", {"x": X, "y": X}, X), "last": S}, takes={"c": [took]})
    assert reused(run.again({"c": conditional("p", branches, default), "last": S})) == kept


def test_failed_conditional_runs_its_branch_again() -> None:
    steps = {"c": conditional("p", {"x": {"s": S, "t": S}, "y": X}), "last": S}
    plan = Run(steps, takes={"c": ["x"]}, fails=["c.x.t"]).again()
    assert (reused(plan), list(runs(plan))) == ("c.x.s", ["c", "c.x.t", "last"])


def test_conditional_by_a_new_value_runs_again() -> None:
    steps = {"c": conditional("p", {"x": {"s": {"type": "as-is"}}, "y": X})}
    plan = Run(steps, takes={"c": ["x"]}, p="x").again(new_parameters_win=True, p="y")
    assert runs(plan)["c"] == "it could read the new value of p"


# loops


@pytest.mark.parametrize(
    ("ran", "most_before", "most", "kept"),
    [
        (3, 3, 3, "l last"),
        (2, 5, 5, "l last"),
        (2, 5, 2, "l last"),
        (2, 5, 9, "l last"),
        (3, 3, 5, "l.0.s l.1.s l.2.s"),
        (3, 3, 2, "l.0.s l.1.s"),
        (3, 5, 2, "l.0.s l.1.s"),
    ],
)
def test_loop_is_reused_when_it_would_end_at_the_same_repetition(
    ran: int, most_before: int, most: int, kept: str
) -> None:
    run = Run(
        {"l": loop({"s": S}, most_before, break_on="b"), "last": S}, takes={"l": [str(n) for n in range(ran)]}
    )
    assert reused(run.again({"l": loop({"s": S}, most, break_on="b"), "last": S})) == kept


def test_failed_loop_goes_on_in_the_repetition_that_failed() -> None:
    run = Run({"l": loop({"s": S, "t": S}, 5), "last": S}, takes={"l": ["0", "1"]}, fails=["l.1.t"])
    assert reused(run.again()) == "l.0.s l.0.t l.1.s"


def test_loop_that_was_killed_goes_on() -> None:
    """Its end was not written: the record names all repetitions that there could be."""
    run = Run({"l": loop({"s": S}, 5)}, takes={"l": ["0", "1"]}, killed="l.1.s")
    run.parts = [p for p in run.parts if p.step.name != "l"] + [
        opened(step("l", "loop"), branches=list("01234"))
    ]
    assert reused(run.again()) == "l.0.s"


def test_loop_that_its_parameter_ended_is_reused_though_it_began_with_more_repetitions() -> None:
    run = Run({"l": loop({"s": S}, 5, break_on="b"), "last": S}, takes={"l": ["0", "1"]}, fails=["last"])
    run.parts.append(opened(step("l", "loop"), branches=list("01234")))
    assert reused(run.again()) == "l"


def test_changed_repetition_and_all_behind_it_run_again() -> None:
    run = Run({"l": loop({"s": S, "t": S}, 3)})
    assert reused(run.again({"l": loop({"s": S, "t": shell("false")}, 3)})) == "l.0.s"


def test_loop_by_a_new_value_of_the_parameter_that_ends_it() -> None:
    run = Run({"l": loop({"s": {"type": "as-is"}}, 3, break_on="b")}, takes={"l": ["0"]}, b=True)
    assert runs(run.again(new_parameters_win=True, b=False))["l"] == "it could read the new value of b"


# a re-run of a re-run


def test_what_was_reused_is_reused_again() -> None:
    kept = ["first", "p"]
    run = Run(BOTH, fails=["last"], reused=kept)
    assert reused(run.again()) == "first p"
    items = Run(MAP, items={"m": ["a", "b"]}, fails=["m.b.t"], reused=["m.a", "m.b.s"])
    assert reused(items.again()) == "m.a m.b.s"


def test_composite_step_that_was_reused_runs_whole_when_anything_in_it_calls_for_it() -> None:
    """No record says what its branches did."""
    run = Run(BOTH, fails=["last"], reused=["first", "p"])
    changed = {**BOTH, "p": parallel({"one": {"s": S, "t": shell("false")}, "two": {"s": S, "t": S}})}
    plan = run.again(changed)
    assert (reused(plan), runs(plan)["p"]) == ("first", "it was changed")
    assert "step 'p' runs again" in plan.warnings[0]
    assert reused(run.again({**BOTH, "p": {**BOTH["p"], "on_failure": "last"}})) == "first p"
    assert reused(run.again(lost=["p"])) == "first"
    plan = run.again(new_parameters_win=True, x=1)
    assert (reused(plan), plan.warnings) == ("", ())
    reads = {"p": parallel({"one": {"s": function("lambda x: {}")}}), "last": S}
    plan = Run(reads, reused=["p"], x=1).again(new_parameters_win=True, x=2)
    assert runs(plan)["p"] == "it could read the new value of x"
    assert reused(Run(reads, reused=["p"], x=1).again(new_parameters_win=True, y=2)) == "p"


def test_reused_sub_pipeline_whose_file_was_changed_runs_again() -> None:
    steps = {"p": parallel({"one": {"d": sub("f.yaml")}})}
    run = Run(steps, reused=["p"], subs={"p.one.d": {"s": S}})
    assert reused(run.again(steps, subs={"p.one.d": {"s": S}})) == "p"
    assert reused(run.again(steps, subs={"p.one.d": {"s": shell("false")}})) == ""


# files


def test_files_that_a_later_reused_step_has_put_again_are_shadowed() -> None:
    puts = {"a": ["f", "g", "h"], "b": ["f"], "c": ["g", "f"], "d": ["h"]}
    plan = Run({"a": S, "b": S, "c": S, "d": S}, puts=puts, fails=["d"]).again()
    assert plan.shadowed == {"a": ["f", "g"], "b": ["f"]}


def test_files_of_reused_branches_and_items_are_shadowed_too() -> None:
    steps = {"first": S, "p": parallel({"one": {"s": S, "t": S}, "two": {"s": S}})}
    puts = {"first": ["f", "x"], "p.one.s": ["f"], "p.one.t": ["f"]}
    assert Run(steps, puts=puts, fails=["p.two.s"]).again().shadowed == {"first": ["f"], "p.one.s": ["f"]}
    puts = {"m.a.s": ["f"], "m.a.t": ["f"]}
    assert Run(MAP, items={"m": ["a", "b"]}, puts=puts, fails=["m.b.s"]).again().shadowed == {"m.a.s": ["f"]}


def test_files_of_a_composite_step_that_is_taken_as_one_count_once() -> None:
    steps = {"first": S, "p": parallel({"one": {"s": S}}), "last": S}
    plan = Run(steps, puts={"first": ["f"], "p": ["f"], "p.one.s": ["f"]}, fails=["last"]).again()
    assert plan.shadowed == {"first": ["f"]}


# the records of a branch that is taken as one


def test_records_along_the_way_of_a_branch() -> None:
    inner = graph({"s": {**S, "on_failure": "h", "next": "t"}, "h": {**S, "next": "t"}, "t": S})
    parts = [closed(step(name)) for name in ("s", "h", "t")]
    assert [r.step.name for r in path_records(inner, graphs(*parts)[""])] == ["s", "t"]
    failed = [closed(step("s"), status="FAIL"), *parts[1:]]
    assert [r.step.name for r in path_records(inner, graphs(*failed)[""])] == ["s", "h", "t"]
    assert [r.step.name for r in path_records(inner, graphs(opened(step("s")))[""])] == []
    assert path_records(None, {}) == []


def test_a_default_that_nobody_gave_is_not_a_new_value() -> None:
    earlier = header({"a": S}, day="1", x=1)
    new = header({"a": S}, day="2", x=2).model_copy(update={"given": ["x"]})
    for wins, expected in ((False, {"day": "1", "x": 1}), (True, {"day": "1", "x": 2})):
        plan = plan_rerun(earlier, graphs(closed(step("a"))), new, new_parameters_win=wins)
        assert plan.parameters == expected
        assert "day" not in " ".join(plan.warnings)


def test_a_step_that_was_only_mocked_runs_again() -> None:
    mocked = {"executor": {"type": "mocked", "config": {}}}
    earlier = header({"a": S}).model_copy(update={"run_config": mocked})
    done = closed(step("a")).model_copy(update={"mock": True})
    plan = plan_rerun(earlier, graphs(done), header({"a": S}))
    assert (plan.reused, plan.decisions[0].why) == ((), "it was only mocked")
