"""What happens to a run, and how everything then stands: one row a scenario, for ``test_states``.

A step of these pipelines fails when the run's parameter ``bad`` names it, with the items of the maps around it
(``w.x``), until the file that ``mended`` names is there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Section = dict[str, Any]
_STEP = r"(\S+?)([-+*]\d*|\.)(?:\s|$)"


@dataclass(frozen=True)
class Mark:
    """What the UI's "mark as" does.

    :param task: its id; of a mapped one with its label: ``m.each.w[x]``.
    """

    task: str
    state: str
    downstream: bool = False


@dataclass(frozen=True)
class Clear:
    """What the UI's "clear" does, with its switches.

    :param tasks: as of :class:`Mark`, apart by ``&``.
    """

    tasks: str
    downstream: bool = True
    only_failed: bool = False
    on_latest: bool | None = None


@dataclass(frozen=True)
class Row:
    """One scenario.

    :param ends: how the DAG run ends; the run log's status is the same.
    :param steps: the steps that ran and how they ended: ``+`` SUCCESS and a green task, ``-`` FAIL and a red one. No
        other step is in the run log, and their tasks are skipped or upstream_failed. A number behind it: attempts in
        the run log, where it is not one. ``*``: a green task of a step that is not on the way any more.
        ``m.x.w`` is step ``w`` of item ``x`` of the map ``m``.
    :param bad: steps that fail.
    :param conf: of the run, over ``CONF`` of the pipeline.
    :param then: what is done by hand, each when the run has ended; from there on nothing is bad any more.
    :param repaired: no task runs after the change, so ``magnus runlog repair`` comes before the look at the run log.
    """

    name: str
    pipeline: str
    ends: str
    steps: str
    bad: str = ""
    conf: Mapping[str, Any] = field(default_factory=dict)
    then: tuple[Mark | Clear, ...] = ()
    repaired: bool = False


def task(name: str, next: str = "success", on_failure: str = "", reads: str = "", sets: str = "") -> Section:
    """A step, by name. Inside maps it is bad for some items: ``i`` and ``j`` of ``reads``.

    :param reads: what it reads besides, apart by commas.
    :param sets: what it sets besides a parameter of its own name, as the inside of a dict.
    """
    items = "".join(f"+'.'+str({item})" for item in ("i", "j", "n") if item in reads.split(", "))
    given = ", ".join(["bad", "mended", *filter(None, [reads])])
    is_well = f"'{name}'{items} not in bad or __import__('os').path.exists(mended)"
    settings = {
        "type": "task",
        "command_type": "python-lambda",
        "command": f"lambda {given}: {{'{name}': 1 // ({is_well}), {sets}}}",
    }
    return {name: settings | _edges(next, on_failure)}


def composite(name: str, kind: str, next: str = "success", on_failure: str = "", **keys: Any) -> Section:
    """A composite step, by name."""
    return {name: {"type": kind, **keys} | _edges(next, on_failure)}


def graph(*steps: Section) -> Section:
    """A graph that starts at the first of its steps."""
    named = {name: settings for step in steps for name, settings in step.items()}
    return {
        "start_at": next(iter(named)),
        "steps": {**named, "success": {"type": "success"}, "fail": {"type": "fail"}},
    }


def _edges(next: str, on_failure: str) -> Section:
    return {"next": next, **({"on_failure": on_failure} if on_failure else {})}


def _pair(name: str) -> Section:
    return graph(task(f"{name}1", f"{name}2"), task(f"{name}2"))


_TWO: Section = {"branches": {"left": _pair("l"), "right": graph(task("r1", on_failure="r2"), task("r2"))}}
_OVER: Section = {"iterate_on": "list", "iterate_as": "i"}
_EACH: Section = {**_OVER, "branch": graph(task("w", "v", reads="i"), task("v", reads="i"))}
_REPAIRED = graph(task("w", "v", "h", reads="i"), task("h", "v", reads="i"), task("v", reads="i"))
_GIVES_LIST = "**({'list': later} if later and __import__('os').path.exists(mended) else {})"
_GIVES_NUMBERS = "**({'numbers': inner[i]} if i in inner else {})"


def _nested(handler: str = "") -> Section:
    inner = {"iterate_on": "numbers", "iterate_as": "j", "branch": graph(task("w", reads="i, j"))}
    each = graph(
        task("p", "k", reads="i, inner", sets=_GIVES_NUMBERS),
        composite("k", "map", "q", handler, **inner),
        task("q", reads="i"),
        task(handler, reads="i") if handler else {},
    )
    return graph(composite("m", "map", **_OVER, branch=each))


PIPELINES: dict[str, Section] = {
    "line": graph(task("a", "b"), task("b", "c", "h"), task("c", on_failure="g"), task("h", "c"), task("g")),
    "parallel": graph(composite("p", "parallel", "z", **_TWO), task("z")),
    "parallel, handled": graph(composite("p", "parallel", "z", "h", **_TWO), task("z"), task("h")),
    "parallel behind a": graph(task("a", "p"), composite("p", "parallel", "z", **_TWO), task("z")),
    "parallel beside a": graph(task("a", "p", "z"), composite("p", "parallel", "z", **_TWO), task("z")),
    "sub-dag": graph(composite("d", "dag", "z", dag_definition="sub/pair.yaml"), task("z")),
    "map": graph(composite("m", "map", "z", **_EACH), task("z")),
    "map, handled": graph(composite("m", "map", "z", "h", **_EACH), task("z"), task("h")),
    "map behind a": graph(
        task("a", "m", reads="later=None", sets=_GIVES_LIST), composite("m", "map", "z", **_EACH), task("z")
    ),
    "map of steps with a handler": graph(composite("m", "map", "z", **_OVER, branch=_REPAIRED), task("z")),
    "conditional": graph(
        composite(
            "c", "conditional", "z", parameter="which", branches={"eu": graph(task("e")), "us": _pair("u")}
        ),
        task("z"),
    ),
    "loop": graph(
        composite(
            "l",
            "loop",
            "z",
            max_iterations=3,
            break_on="enough",
            index_as="n",
            branch=graph(
                task("s", "t", reads="n, stop", sets="'enough': n + 1 >= stop"), task("t", reads="n")
            ),
        ),
        task("z"),
    ),
    "nested": _nested(),
    "nested, handled": _nested("h"),
}
"""All start at their first step; second and third name of a step: what follows its success and its failure."""
SUB = _pair("s")
"""``sub/pair.yaml``."""
CONF: dict[str, Section] = {
    "map": {"list": ["x", "y"]},
    "conditional": {"which": "eu"},
    "loop": {"stop": 2},
    "nested": {"list": ["x", "y"], "inner": {"x": ["1", "2"], "y": ["1"]}},
}
"""Of the pipelines that begin with the word."""

_P = "p+ p.left.l1+ p.left.l2+ p.right.r1+ z+"
_M = "m+ m.x.w+ m.x.v+ m.y.w+ m.y.v+ z+"
_N = "m+ m.x.p+ m.x.k+ m.x.k.1.w+ m.x.k.2.w+ m.x.q+ m.y.p+ m.y.k+ m.y.k.1.w+ m.y.q+"
"""When all goes well: a pipeline with two branches, a map, maps in maps."""


def but(steps: str, changes: str) -> str:
    """Steps with others in their places; ``.`` for one that did not run."""
    signs = dict(re.findall(_STEP, f"{steps} {changes}"))
    return " ".join(name + sign for name, sign in signs.items() if sign != ".")


BY_THEMSELVES = (
    Row("all goes well", "line", "success", "a+ b+ c+"),
    Row("step fails", "line", "failed", "a-", bad="a"),
    Row("handler rejoins", "line", "success", "a+ b- h+ c+", bad="b"),
    Row("handler fails", "line", "failed", "a+ b- h-", bad="b h"),
    Row("handler leads to the end", "line", "success", "a+ b+ c- g+", bad="c"),
    Row("two handlers", "line", "success", "a+ b- h+ c- g+", bad="b c"),
    Row("second handler fails", "line", "failed", "a+ b- h+ c- g-", bad="b c g"),
    Row("branches go well", "parallel", "success", _P),
    Row("branch fails", "parallel", "failed", "p- p.left.l1- p.right.r1+", bad="l1"),
    Row("branch repairs itself", "parallel", "success", but(_P, "p.right.r1- p.right.r2+"), bad="r1"),
    Row("handler in a branch fails", "parallel", "failed", but(_P, "p- p.right.r1- z. p.right.r2-"), bad="r1 r2"),
    Row("sub-dag goes well", "sub-dag", "success", "d+ d.dag.s1+ d.dag.s2+ z+"),
    Row("step of a sub-dag fails", "sub-dag", "failed", "d- d.dag.s1+ d.dag.s2-", bad="s2"),
    Row("composite off the path", "parallel beside a", "success", "a- z+", bad="a"),
    Row("composite behind a failed step", "parallel behind a", "failed", "a-", bad="a"),
    Row("composite fails and is handled", "parallel, handled", "success", "p- p.left.l1- p.right.r1+ h+", bad="l1"),
    Row("composite and its handler fail", "parallel, handled", "failed", but(_P, "p- p.left.l2- z. h-"), bad="l2 h"),
    Row("map goes well", "map", "success", _M),
    Row("handler inside an item", "map of steps with a handler", "success", but(_M, "m.x.w- m.x.h+"), bad="w.x"),
    Row("one item fails", "map", "failed", but(_M, "m- m.x.v- z."), bad="v.x"),
    Row("handler of an item fails", "map of steps with a handler", "failed", "m- m.x.w+ m.x.v+ m.y.w- m.y.h-", bad="w.y h.y"),
    Row("all items fail", "map of steps with a handler", "failed", "m- m.x.w- m.x.h- m.y.w+ m.y.v-", bad="w.x h.x v.y"),
    Row("map of nothing", "map", "success", "m+ z+", conf={"list": []}),
    Row("no list", "map", "failed", "m-", conf={"list": None}),
    Row("list is none", "map", "failed", "m-", conf={"list": 5}),
    Row("map behind a failed step", "map behind a", "failed", "a-", bad="a"),
    Row("items of equal text", "map", "success", "m+ m.1.w+ m.1.v+ m.1~2.w+ m.1~2.v+ z+", conf={"list": [1, "1"]}),
    Row("map fails and is handled", "map, handled", "success", "m- m.x.w+ m.x.v+ m.y.w+ m.y.v- h+", bad="v.y"),
    Row("map without a list is handled", "map, handled", "success", "m- h+", conf={"list": None}),
    Row("branch is chosen", "conditional", "success", "c+ c.us.u1+ c.us.u2+ z+", conf={"which": "us"}),
    Row("chosen branch fails", "conditional", "failed", "c- c.eu.e-", bad="e"),
    Row("no such branch", "conditional", "failed", "c-", conf={"which": "nowhere"}),
    Row("nothing to choose by", "conditional", "failed", "c-", conf={"which": None}),
    Row("loop ends early", "loop", "success", "l+ l.0.s+ l.0.t+ l.1.s+ l.1.t+ z+"),
    Row("loop to its maximum", "loop", "success", "l+ l.0.s+ l.0.t+ l.1.s+ l.1.t+ l.2.s+ l.2.t+ z+", conf={"stop": 9}),
    Row("repetition fails", "loop", "failed", "l- l.0.s+ l.0.t+ l.1.s-", bad="s.1"),
    Row("maps in maps", "nested", "success", _N),
    Row("inner map fails for an item", "nested", "failed", but(_N, "m- m.x.k- m.x.k.1.w- m.x.q."), bad="w.x.1"),
    Row("inner map fails for an item and is handled", "nested, handled", "success", but(_N, "m.x.k- m.x.k.1.w- m.x.q. m.x.h+"), bad="w.x.1"),
    Row("inner map and its handler fail", "nested, handled", "failed", but(_N, "m- m.y.k- m.y.k.1.w- m.y.q. m.y.h-"), bad="w.y.1 h.y"),
    Row("item lost before the inner map", "nested", "failed", "m- m.x.p- m.y.p+ m.y.k+ m.y.k.1.w+ m.y.q+", bad="p.x"),
    Row("all items lost before the inner map", "nested", "failed", "m- m.x.p- m.y.p-", bad="p.x p.y"),
    Row("one item's inner list is missing", "nested, handled", "success", "m+ m.x.p+ m.x.k- m.x.h+ m.y.p+ m.y.k+ m.y.k.1.w+ m.y.q+", conf={"inner": {"y": ["1"]}}),
    Row("one item's inner list is empty", "nested", "success", but(_N, "m.x.k.1.w. m.x.k.2.w."), conf={"inner": {"x": [], "y": ["1"]}}),
)  # fmt: skip

BY_HAND = (
    Row("failed step marked success", "line", "success", "a+ b+ c+", bad="a", then=(Mark("a", "success"),)),
    Row("step marked failed at last", "line", "success", "a+ b- c+", then=(Mark("b", "failed"),), repaired=True),
    Row("step marked failed with downstream at last", "line", "success", "a+ b- h+ c+2", then=(Mark("b", "failed", downstream=True),)),
    Row("failed step marked success with downstream", "line", "failed", "a+ b+0 c+0 g* h*", bad="a", then=(Mark("a", "success", downstream=True),), repaired=True),
    Row("handled step marked success at last", "line", "success", "a+ b+ h* c+", bad="b", then=(Mark("b", "success"),), repaired=True),
    Row("failed step cleared with downstream", "line", "success", "a+2 b+ c+", bad="a", then=(Clear("a"),)),
    Row("failed step cleared, only failed", "line", "success", "a+2 b+ c+", bad="a", then=(Clear("a", only_failed=True),)),
    Row("failed step cleared on the latest version", "line", "success", "a+2 b+ c+", bad="a", then=(Clear("a", on_latest=True),)),
    Row("failed step cleared alone", "line", "failed", "a+2", bad="a", then=(Clear("a", downstream=False),)),
    Row("handled step cleared with downstream", "line", "success", "a+ b+2 c+2", bad="b", then=(Clear("b"),)),
    Row("failed handler cleared with downstream", "line", "success", "a+ b- h+2 c+", bad="b h", then=(Clear("h"),)),
    Row("step cleared alone", "line", "success", "a+ b+2 c+", then=(Clear("b", downstream=False),)),
    Row("success cleared", "line", "success", "a+ b+ c+", then=(Clear("success"),)),
    Row("success cleared alone", "line", "success", "a+ b+ c+", then=(Clear("success", downstream=False),)),
    Row("fail cleared", "line", "failed", "a-", bad="a", then=(Clear("fail"),)),
    Row("fail cleared after success", "line", "success", "a+ b+ c+", then=(Clear("fail"),)),
    Row("success marked failed", "line", "success", "a+ b+ c+", then=(Mark("success", "failed"),), repaired=True),
    Row("fail marked success", "line", "failed", "a-", bad="a", then=(Mark("fail", "success"),), repaired=True),
    Row("success marked success after a failure", "line", "success", "a-", bad="a", then=(Mark("success", "success"),)),
    Row("step in a branch cleared with downstream", "parallel", "success", but(_P, "p.left.l1+2"), bad="l1", then=(Clear("p.left.l1"),)),
    Row("step in a branch cleared alone", "parallel", "failed", "p- p.left.l1+2 p.right.r1+", bad="l1", then=(Clear("p.left.l1", downstream=False),)),
    Row("step in a branch marked failed, the end cleared", "parallel", "failed", but(_P, "p- p.left.l2- z."), then=(Mark("p.left.l2", "failed"), Clear("p.end"))),
    Row("step in a branch marked success", "parallel", "success", _P, bad="l1", then=(Mark("p.left.l1", "success"),)),
    Row("start of a composite cleared with downstream", "parallel", "success", "p+ p.left.l1+2 p.left.l2+2 p.right.r1+2 z+2", then=(Clear("p.start"),)),
    Row("start of a composite cleared alone", "parallel", "success", _P, then=(Clear("p.start", downstream=False),)),
    Row("end of a composite cleared with downstream", "parallel", "success", but(_P, "z+2"), then=(Clear("p.end"),)),
    Row("end of a composite cleared alone", "parallel", "success", _P, then=(Clear("p.end", downstream=False),)),
    Row("end of a failed composite marked success", "parallel, handled", "success", "p+ p.left.l1- p.right.r1+ h* z+", bad="l1", then=(Mark("p.end", "success"),)),
    Row("end of a composite marked failed", "parallel, handled", "success", but(_P, "p-"), then=(Mark("p.end", "failed"),), repaired=True),
    Row("start of a composite marked failed", "parallel, handled", "success", but(_P, "p- z. h+"), then=(Mark("p.start", "failed"), Clear("p.end"))),
    Row("item cleared with downstream", "map", "success", but(_M, "m.x.v+2"), bad="v.x", then=(Clear("m.each.v[x]"),)),
    Row("item cleared alone", "map", "success", but(_M, "m.x.w+2"), then=(Clear("m.each.w[x]", downstream=False),)),
    Row("item with a failed handler cleared", "map of steps with a handler", "success", but(_M, "m.x.w+2"), bad="w.x h.x", then=(Clear("m.each.w[x]"),)),
    Row("item marked success", "map", "success", _M, bad="v.x", then=(Mark("m.each.v[x]", "success"),)),
    Row("item marked success before its last step", "map of steps with a handler", "failed", "m- m.x.w- m.x.h+ m.y.w+ m.y.v+", bad="w.x h.x", then=(Mark("m.each.h[x]", "success"),)),
    Row("item marked success, the step behind cleared", "map of steps with a handler", "success", but(_M, "m.x.w- m.x.h+"), bad="w.x h.x", then=(Mark("m.each.h[x]", "success"), Clear("m.each.v[x]"))),
    Row("item marked failed, end of the map cleared", "map", "failed", but(_M, "m- m.x.v- z."), then=(Mark("m.each.v[x]", "failed"), Clear("m.end"))),
    Row("start of a map cleared with downstream", "map", "success", "m+ m.x.w+2 m.x.v+2 m.y.w+2 m.y.v+2 z+2", then=(Clear("m.start"),)),
    Row("start of a map cleared alone", "map", "success", _M, then=(Clear("m.start", downstream=False),)),
    Row("end of a map cleared alone", "map", "success", _M, then=(Clear("m.end", downstream=False),)),
    Row("end of a map marked success", "map", "success", but(_M, "m.x.v-"), bad="v.x", then=(Mark("m.end", "success"),)),
    Row("list is another one after a clear", "map behind a", "success", "a+2 m+ m.y.w+2 m.y.v+2 m.n.w+ m.n.v+ m.o.w+ m.o.v+ z+2", conf={"later": ["n", "y", "o"]}, then=(Clear("a"),)),
    Row("list is shorter after a clear", "map behind a", "success", "a+2 m+ m.y.w+2 m.y.v+2 z+2", conf={"later": ["y"]}, then=(Clear("a"),)),
    Row("step of an inner map cleared with downstream", "nested", "success", but(_N, "m.x.k.1.w+2 m.y.q+2"), bad="w.x.1", then=(Clear("m.k.each.w[x / 1]"),)),
    Row("item lost before the inner map cleared", "nested", "success", but(_N, "m.x.p+2 m.y.k.1.w+2 m.y.q+2"), bad="p.x", then=(Clear("m.each.p[x]"),)),
    Row("step of an inner map marked success", "nested", "failed", but(_N, "m- m.x.k- m.x.q."), bad="w.x.1", then=(Mark("m.k.each.w[x / 1]", "success"),), repaired=True),
    Row("step of an inner map marked success, its end cleared", "nested", "success", but(_N, "m.y.q+2"), bad="w.x.1", then=(Mark("m.k.each.w[x / 1]", "success"), Clear("m.k.end"))),
    Row("join of an inner map cleared with downstream", "nested", "success", but(_N, "m.x.q+2"), then=(Clear("m.each-2.k[x]"),)),
    Row("join of an inner map cleared alone", "nested", "success", _N, then=(Clear("m.each-2.k[x]", downstream=False),)),
    Row("join of an inner map marked success", "nested", "failed", but(_N, "m- m.x.k.1.w- m.x.q."), bad="w.x.1", then=(Mark("m.each-2.k[x]", "success"),)),
    Row("join of an inner map marked success, the step behind cleared", "nested", "success", but(_N, "m.x.k.1.w-"), bad="w.x.1", then=(Mark("m.each-2.k[x]", "success"), Clear("m.each-2.q[x]"))),
    Row("repetition of a loop cleared", "loop", "success", "l+ l.0.s+ l.0.t+ l.1.s+2 l.1.t+ z+", bad="s.1", then=(Clear("l.1.s"),)),
    Row("start of a conditional cleared alone", "conditional", "success", "c+ c.eu.e+ z+", then=(Clear("c.start", downstream=False),)),
)  # fmt: skip
