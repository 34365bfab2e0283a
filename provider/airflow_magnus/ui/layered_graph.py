"""A directed graph in layers from left to right: which column and row each node stands in. Pure arithmetic, no drawing.

After Sugiyama, Tagawa and Toda, in a simple form: layers by the longest way, rows by the middle of the neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

_SWEEPS = 6


def layers(nodes: Sequence[str], edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The nodes by layer; each edge leads to a later layer, but for those that close a circle.

    :param nodes: keys, each once; their order decides where nothing else does.
    :param edges: from, to; those of other nodes are passed over.
    """
    known = set(nodes)
    following: dict[str, list[str]] = {node: [] for node in nodes}
    for start, end in edges:
        if start in known and end in known and start != end and end not in following[start]:
            following[start].append(end)
    ahead = _without_circles(nodes, following)
    number = _longest_ways(nodes, ahead)
    found: list[list[str]] = [[] for _ in range(max(number.values(), default=-1) + 1)]
    for node in nodes:
        found[number[node]].append(node)
    return _untangled(found, ahead)


def _without_circles(nodes: Sequence[str], following: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The edges but for those that lead back to a node whose way is being gone."""
    kept: dict[str, list[str]] = {node: [] for node in nodes}
    done: set[str] = set()
    for first in nodes:
        way: list[tuple[str, int]] = [(first, 0)] if first not in done else []
        on_way = {first}
        while way:
            node, index = way.pop()
            if index == len(following[node]):
                done.add(node)
                on_way.discard(node)
                continue
            way.append((node, index + 1))
            end = following[node][index]
            if end in on_way:
                continue
            kept[node].append(end)
            if end not in done:
                way.append((end, 0))
                on_way.add(end)
    return kept


def _longest_ways(nodes: Sequence[str], ahead: Mapping[str, list[str]]) -> dict[str, int]:
    """Of each node the number of edges of the longest way to it; sources stand right before what they lead to."""
    before = dict.fromkeys(nodes, 0)
    for ends in ahead.values():
        for end in ends:
            before[end] += 1
    sources = [node for node in nodes if not before[node]]
    number, todo = dict.fromkeys(nodes, 0), list(sources)
    order = []
    while todo:
        node = todo.pop(0)
        order.append(node)
        for end in ahead[node]:
            number[end] = max(number[end], number[node] + 1)
            before[end] -= 1
            if not before[end]:
                todo.append(end)
    for node in reversed(order):
        if node in sources and ahead[node]:
            number[node] = min(number[end] for end in ahead[node]) - 1
    return number


def _untangled(found: list[list[str]], ahead: Mapping[str, list[str]]) -> list[list[str]]:
    """The layers, each in the order in which few edges cross."""
    behind: dict[str, list[str]] = {node: [] for layer in found for node in layer}
    for start, ends in ahead.items():
        for end in ends:
            behind[end].append(start)
    for sweep in range(_SWEEPS):
        neighbours, order = (behind, found) if sweep % 2 == 0 else (ahead, found[::-1])
        place = _places(found)
        for layer in order:
            middle = {node: _middle([place[n] for n in neighbours[node]], place[node]) for node in layer}
            layer.sort(key=lambda node, middle=middle: middle[node])  # type: ignore[misc]
            place.update(_places([layer]))
    return found


def _places(found: Iterable[Sequence[str]]) -> dict[str, float]:
    """Where each node stands in its layer, from 0 to 1."""
    return {node: (i + 0.5) / len(layer) for layer in found for i, node in enumerate(layer)}


def _middle(places: Sequence[float], own: float) -> float:
    return sum(places) / len(places) if places else own
