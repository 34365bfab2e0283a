"""Checks of a graph as a whole: where its links lead, circles, its ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from airflow_magnus.pipeline.cursor import Cursor, nearest
from airflow_magnus.pipeline.model import Graph, StepKind

LINKS = ("next", "on_failure")


@dataclass(frozen=True)
class Outline:
    """What the checks of a graph need of a step, faulty ones included.

    :param kind: None when the step's type is missing or unknown.
    :param links: ``next`` and ``on_failure`` as far as they are text.
    """

    cursor: Cursor
    kind: StepKind | None
    links: Mapping[str, str]

    @property
    def may_be_end(self) -> bool:
        """True when the step could be a success or fail node whose type is misspelt."""
        return self.kind is None and "next" not in self.links


def check_links(graph: Cursor, start_at: str | None, outlines: Mapping[str, Outline]) -> bool:
    """Report missing targets, circles and wrong numbers of ends.

    A circle is reported only when every name exists, and a missing end only when no step of unknown type could be it.

    :returns: True when nothing was reported.
    """
    missing = [_check_targets(outline, outlines) for outline in outlines.values()]
    start_is_missing = start_at is not None and start_at not in outlines
    if start_is_missing:
        graph.at("start_at").fault(_no_step(start_at or "", outlines))
    circles = [] if any(missing) else list(_circles(outlines))
    for circle in circles:
        _report_circle(circle, outlines)
    ends = [_check_end(graph, kind, outlines) for kind in ("success", "fail")]
    return not (start_is_missing or any(missing) or circles) and all(ends)


def _no_step(name: str, outlines: Mapping[str, Outline]) -> str:
    return f'there is no step "{name}" in this graph; the nearest is "{nearest(name, outlines)}"; steps: {", ".join(outlines)}'


def _check_targets(outline: Outline, outlines: Mapping[str, Outline]) -> bool:
    missing = {link: target for link, target in outline.links.items() if target not in outlines}
    for link, target in missing.items():
        outline.cursor.at(link).fault(_no_step(target, outlines))
    return bool(missing)


def _check_end(graph: Cursor, kind: str, outlines: Mapping[str, Outline]) -> bool:
    ends = [name for name, outline in outlines.items() if outline.kind == kind]
    if len(ends) == 1:
        return True
    if ends:
        for name in ends[1:]:
            message = f'there must be exactly one {kind} node, and "{ends[0]}" is one already; remove one'
            outlines[name].cursor.fault(message, at_key=True)
        return False
    if not any(outline.may_be_end for outline in outlines.values()):
        graph.at("steps").fault(
            f"there must be exactly one {kind} node, and there is none: add {kind}: {{type: {kind}}}",
            at_key=True,
        )
    return False


def _circles(outlines: Mapping[str, Outline]) -> Iterator[list[tuple[str, str]]]:
    """Give circles as lists of (step, link taken from it); one at least of those that share steps."""
    finished: set[str] = set()
    for start in outlines:
        if start in finished:
            continue
        path: list[tuple[str, str]] = []
        stack = [(start, iter(outlines[start].links.items()))]
        on_path = {start}
        while stack:
            name, links = stack[-1]
            link, target = next(links, ("", ""))
            if not link:
                stack.pop()
                finished.add(name)
                on_path.discard(name)
                if path:
                    path.pop()
            elif target in on_path:
                whole = [*path, (name, link)]
                yield whole[[step for step, _ in whole].index(target) :]
            elif target not in finished:
                path.append((name, link))
                on_path.add(target)
                stack.append((target, iter(outlines[target].links.items())))


def _report_circle(circle: list[tuple[str, str]], outlines: Mapping[str, Outline]) -> None:
    names = [name for name, _ in circle]
    way = " → ".join(
        [f"{name} (on_failure)" if link == "on_failure" else name for name, link in circle] + names[:1]
    )
    last, link = circle[-1]
    outlines[last].cursor.at(link).fault(
        f"the steps go round in a circle: {way}; every way must end in success or fail"
    )


def warn_unreachable(graph: Graph, outlines: Mapping[str, Outline]) -> None:
    """Warn of steps that no path from the start visits, and of a success node that none reaches."""
    reached = {step.name for step in graph.reachable}
    for name, outline in outlines.items():
        if name in reached:
            continue
        if outline.kind == "success":
            outline.cursor.warn("no path from start_at leads here: every run fails", at_key=True)
        else:
            outline.cursor.warn("no path from start_at leads to this step: it never runs", at_key=True)
