"""From the nodes that PyYAML makes of a text to plain values, each with its place; what nothing could cope with is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import yaml

from airflow_magnus.errors import Fault, Position

Keys = tuple[str | int, ...]
"""The way from the top of a document to a value: keys of mappings, indexes of lists (from 0)."""

MAX_VALUES = 1_000_000
"""How many values a file may hold once its aliases are written out; each 100 characters of a text count as one more."""
MAX_DEPTH = 150
"""How deep values may be nested. More would be too much for the stack of whoever walks through them."""
_LONGEST_NUMBER = 1_000
"""Characters: Python turns a number into text and back only where it has fewer than 4,300 digits."""

_MAP, _SEQUENCE, _MERGE, _TEXT = (f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "merge", "str"))
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
TOO_DEEP = f"is nested too deeply: more than {MAX_DEPTH} lists and mappings are inside each other"
_TOO_MANY = f"holds more than {MAX_VALUES} values once its aliases are written out"
_SCALAR_ERRORS = (yaml.YAMLError, ValueError, KeyError, AttributeError, OverflowError)
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Place(NamedTuple):
    """Where a value stands: the node that PyYAML has read, so that lines are worked out for messages only.

    :param node: None for an empty file.
    :param children: key or index to the node of the key, of an item the item itself, and the place of the value.
    """

    node: yaml.Node | None
    children: Mapping[str | int, tuple[yaml.Node, Place]] = MappingProxyType({})


_Pairs = dict[str, tuple[yaml.Node, yaml.Node]]
"""Key of a mapping → the nodes of the key and of its value."""


def position_of(file: Path, node: yaml.Node) -> Position:
    """Where a node begins."""
    return Position(file, node.start_mark.line + 1, node.start_mark.column + 1)


def dotted(keys: Keys) -> str:
    """The way to a value as people read it: ``dag.steps.train.catalog.get[0]``."""
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


class TooMuchError(Exception):
    """A file is of a size or depth that nothing later could cope with."""

    def __init__(self, node: yaml.Node, message: str) -> None:
        self.node = node
        self.message = message
        super().__init__(message)


class Loader(_SafeLoader):
    """The safe loader, which asks the patterns of its tags for no scalar twice, and not at all where none can match.

    It counts nodes and levels, as libyaml makes a tree of any size and goes down by C's stack until the process crashes.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._tags: dict[str, str] = {}
        self._depth = self._nodes = 0

    def descend_resolver(self, parent: yaml.Node | None, _: Any) -> None:
        """Called before the nodes inside ``parent`` are made; nothing here gives tags by their path."""
        self._depth += 1
        self._nodes += 1
        if parent is not None and self._depth > MAX_DEPTH:
            raise TooMuchError(parent, TOO_DEEP)
        if parent is not None and self._nodes > 2 * MAX_VALUES:  # keys are nodes too
            raise TooMuchError(parent, _TOO_MANY)

    def ascend_resolver(self) -> None:
        """Called when a node is made."""
        self._depth -= 1

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        """The tag of a node that names none."""
        if kind is not yaml.ScalarNode or not implicit[0]:
            found: str = super().resolve(kind, value, implicit)
            return found
        if value[:1] not in self.yaml_implicit_resolvers:
            return _TEXT
        tag = self._tags.get(value)
        if tag is None:
            tag = self._tags[value] = super().resolve(kind, value, implicit)
        return tag


class Builder:
    """Makes plain values and places of a tree of YAML nodes; a node with several aliases is made once."""

    def __init__(self, file: Path, loader: Any) -> None:
        self.file = file
        self.loader = loader
        self.faults: list[Fault] = []
        self._made: dict[int, tuple[Any, Place]] = {}
        self._open: set[int] = set()
        self._measures: dict[int, tuple[int, int]] = {}  # of a node: how many values it is, how deep
        self._pairs_of: dict[int, _Pairs] = {}
        self._merged = 0

    def fault(self, node: yaml.Node, keys: Keys, message: str) -> None:
        self.faults.append(Fault(position_of(self.file, node), dotted(keys), message))

    def build(self, node: yaml.Node, keys: Keys) -> tuple[Any, Place]:
        if node.tag == _TEXT and isinstance(node, yaml.ScalarNode):
            return node.value, Place(node)
        if id(node) in self._made:
            return self._made[id(node)]
        if id(node) in self._open:
            self.fault(node, keys, "an alias stands inside the value that it refers to")
            return None, Place(node)
        self._open.add(id(node))
        made = self._made_of(node, keys)
        self._open.discard(id(node))
        self._made[id(node)] = made
        return made

    def _made_of(self, node: yaml.Node, keys: Keys) -> tuple[Any, Place]:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, keys), Place(node)
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            return self._mapping(node, keys)
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQUENCE:
            return self._sequence(node, keys)
        self._refuse_tag(node, keys)
        return None, Place(node)

    def _refuse_tag(self, node: yaml.Node, keys: Keys) -> None:
        what = f"the tag {node.tag} is not supported; write plain mappings, lists and scalars"
        self.fault(node, keys, what)

    def _scalar(self, node: yaml.ScalarNode, keys: Keys) -> Any:
        if node.tag == "tag:yaml.org,2002:value":  # a lone "="
            return node.value
        if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
            self.fault(
                node, keys, f"is a number of {len(node.value)} characters; write it in quotes, as text"
            )
            return None
        if node.tag.startswith("tag:yaml.org,2002:python/"):
            self._refuse_tag(node, keys)
            return None
        try:
            return self.loader.construct_object(node)
        except _SCALAR_ERRORS as error:
            reason = getattr(error, "problem", None) or f"{node.value!r} is no value of the tag {node.tag}"
            self.fault(node, keys, f"is not a value of YAML: {reason}")
            return None

    def _sequence(self, node: yaml.SequenceNode, keys: Keys) -> tuple[Any, Place]:
        values: list[Any] = []
        children: dict[str | int, tuple[yaml.Node, Place]] = {}
        for index, item in enumerate(node.value):
            value, place = self.build(item, (*keys, index))
            values.append(value)
            children[index] = (item, place)
        self._measure(node, node.value)
        return values, Place(node, children)

    def _mapping(self, node: yaml.MappingNode, keys: Keys) -> tuple[Any, Place]:
        values: dict[str, Any] = {}
        children: dict[str | int, tuple[yaml.Node, Place]] = {}
        pairs = self._pairs(node, keys)
        for key, (key_node, value_node) in pairs.items():
            values[key], place = self.build(value_node, (*keys, key))
            children[key] = (key_node, place)
        self._measure(node, [value_node for _, value_node in pairs.values()])
        return values, Place(node, children)

    def _measure(self, node: yaml.Node, inside: list[yaml.Node]) -> None:
        """Aliases let a short file stand for more values, and deeper ones, than any memory or stack holds."""
        size, depth = 1, 0
        for item in inside:
            if isinstance(item, yaml.ScalarNode):
                size += 1 + len(item.value) // 100
            else:
                more = self._measures.get(id(item), (1, 1))
                size, depth = size + more[0], max(depth, more[1])
        if size > MAX_VALUES:
            raise TooMuchError(node, _TOO_MANY)
        if depth >= MAX_DEPTH:
            raise TooMuchError(node, TOO_DEEP)
        self._measures[id(node)] = (size, depth + 1)

    def _pairs(self, node: yaml.MappingNode, keys: Keys) -> _Pairs:
        """Merged pairs first, the mapping's own last, so that they win; of each mapping worked out once."""
        if id(node) in self._pairs_of:
            return self._pairs_of[id(node)]
        pairs: _Pairs = {}
        own: _Pairs = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                self._merge(value_node, keys, pairs)
                continue
            key = self._key(key_node, keys)
            if key is None:
                continue
            if key in own:
                first = own[key][0].start_mark.line + 1
                self.fault(
                    key_node,
                    (*keys, key),
                    f'the key "{key}" is here twice, first in line {first}; keep one of them',
                )
                continue
            own[key] = (key_node, value_node)
        pairs.update(own)
        self._pairs_of[id(node)] = pairs
        return pairs

    def _merge(self, node: yaml.Node, keys: Keys, into: _Pairs) -> None:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in reversed(sources):
            if not isinstance(source, yaml.MappingNode):
                self.fault(source, keys, "<< takes a mapping or a list of mappings")
            elif id(source) in self._open:
                self.fault(source, keys, "<< takes the mapping that it stands in")
            else:
                self._open.add(id(source))
                found = self._pairs(source, keys)
                self._open.discard(id(source))
                into.update(found)
                self._merged += len(found)
                if self._merged > MAX_VALUES:
                    raise TooMuchError(source, _TOO_MANY)

    def _key(self, node: yaml.Node, keys: Keys) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self.fault(node, keys, "a key must be a scalar, not a list or mapping")
            return None
        value = node.value if node.tag == _TEXT else self._scalar(node, keys)
        if value is None or isinstance(value, bool):
            return {None: "null", True: "true", False: "false"}[value]
        if isinstance(value, str):
            return value
        if isinstance(value, int | float):
            return repr(value)
        self.fault(node, keys, f"the key {node.value} is not text: write it in quotes")
        return None
