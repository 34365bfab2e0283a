"""A directed graph in layers: which layer each node stands in, in which order, and the way of each edge through them.

Pure arithmetic, no drawing. After Sugiyama, Tagawa and Toda, in a simple form: layers by the longest way, an unseen node
where an edge passes a layer, and in each layer the order by the middle of the neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

_SWEEPS = 8


@dataclass(frozen=True)
class Layering:
    """A graph in layers.

    :param layers: of each layer the keys in order, those of unseen nodes among them.
    :param ways: of each edge the keys from its start to its end; what lies between them is unseen.
    """

    layers: list[list[str]]
    ways: list[list[str]]


def layered(nodes: Sequence[str], edges: Iterable[tuple[str, str]]) -> Layering:
    """Put a graph into layers; each edge leads to a later layer, but for those that close a circle.

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
    layers: list[list[str]] = [[] for _ in range(max(number.values(), default=-1) + 1)]
    for node in nodes:
        layers[number[node]].append(node)
    ways = [_way(start, end, layers, number) for start in nodes for end in ahead[start]]
    _untangle(layers, ways)
    back = [[start, end] for start in nodes for end in following[start] if end not in ahead[start]]
    return Layering(layers, ways + back)


def _way(start: str, end: str, layers: list[list[str]], number: Mapping[str, int]) -> list[str]:
    """The keys of an edge; its unseen nodes are added to the layers between."""
    between = [f"\0{start}\0{end}\0{layer}" for layer in range(number[start] + 1, number[end])]
    for offset, key in enumerate(between, number[start] + 1):
        layers[offset].append(key)
    return [start, *between, end]


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


def _untangle(layers: Sequence[list[str]], ways: Iterable[Sequence[str]]) -> None:
    """Sort each layer so that few edges cross."""
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for start, end in (step for way in ways for step in pairwise(way)):
        after.setdefault(start, []).append(end)
        before.setdefault(end, []).append(start)
    for sweep in range(_SWEEPS):
        neighbours = before if sweep % 2 == 0 else after
        place = _places(layers)
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            middle = {
                node: _middle([place[n] for n in neighbours.get(node, ())], place[node]) for node in layer
            }
            layer.sort(key=middle.__getitem__)
            place.update(_places([layer]))


def _places(layers: Iterable[Sequence[str]]) -> dict[str, float]:
    """Where each node stands in its layer, from 0 to 1."""
    return {node: (i + 0.5) / len(layer) for layer in layers for i, node in enumerate(layer)}


def _middle(places: Sequence[float], own: float) -> float:
    return sum(places) / len(places) if places else own
