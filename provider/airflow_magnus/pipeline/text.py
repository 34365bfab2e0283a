"""YAML text as plain values, with the place of every key and value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import yaml
from yaml.reader import Reader

from airflow_magnus.errors import Fault, PipelineError, Position

Keys = tuple[str | int, ...]
"""The way from the top of a document to a value: keys of mappings, indexes of lists (from 0)."""

MAX_VALUES = 1_000_000
"""How many values a file may hold once its aliases are written out."""

_MAP, _SEQUENCE, _MERGE, _TEXT = (f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "merge", "str"))
_SCALAR_ERRORS = (yaml.YAMLError, ValueError, KeyError, AttributeError, OverflowError)
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Place(NamedTuple):
    """Where a value stands: the node that PyYAML has read, so that lines are worked out for messages only.

    :param node: None for an empty file.
    :param children: key or index to the node of the key, of an item the item itself, and the place of the value.
    """

    node: yaml.Node | None
    children: Mapping[str | int, tuple[yaml.Node, Place]] = MappingProxyType({})


@dataclass(frozen=True)
class Document:
    """A YAML file that was read.

    :param value: what PyYAML's safe loader gives, but keys of mappings are text; None for an empty file.
    """

    file: Path
    text: str
    value: Any
    place: Place

    def position(self, keys: Keys, *, of_key: bool = False) -> Position:
        """Where the value (or its key) stands; the nearest value around it when there is none."""
        place, node = self.place, self.place.node
        for key in keys:
            if key not in place.children:
                break
            node, place = place.children[key]
        else:
            if not of_key:
                node = place.node
        return _position(self.file, node) if node is not None else Position(self.file, 1, 1)

    def source(self, keys: Keys) -> str | None:
        """A scalar as it is written in the file, without quotes; None for anything else."""
        place = self._place(keys)
        return _source(place.node) if place else None

    def key_source(self, keys: Keys) -> str | None:
        """The last key of the way to a value as it is written in the file: ``yes`` where the key is "true"."""
        around = self._place(keys[:-1]) if keys else None
        if around is None or not isinstance(around.node, yaml.MappingNode):
            return None
        found = around.children.get(str(keys[-1]))
        return _source(found[0]) if found else None

    def _place(self, keys: Keys) -> Place | None:
        place = self.place
        for key in keys:
            if key not in place.children:
                return None
            place = place.children[key][1]
        return place


def _position(file: Path, node: yaml.Node) -> Position:
    return Position(file, node.start_mark.line + 1, node.start_mark.column + 1)


def _source(node: yaml.Node | None) -> str | None:
    return node.value if isinstance(node, yaml.ScalarNode) else None


def dotted(keys: Keys) -> str:
    """The way to a value as people read it: ``dag.steps.train.catalog.get[0]``."""
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def read_document(file: Path) -> Document:
    """Read a YAML file.

    :raises PipelineError: the file cannot be read, is not UTF-8 or not YAML, repeats a key, or its aliases form a
        circle or grow beyond all measure.
    """
    text = _read_text(file)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return Document(file, text, None, Place(None))
        builder = _Builder(file, loader)
        value, place = builder.build(node, ())
    except yaml.MarkedYAMLError as error:
        raise PipelineError([_syntax_fault(file, error)]) from error
    except yaml.reader.ReaderError as error:
        raise PipelineError([_character_fault(file, text)]) from error
    except RecursionError as error:
        raise PipelineError([Fault(Position(file, 1, 1), "", "is nested too deeply")]) from error
    finally:
        loader.dispose()
    if builder.sizes.get(id(node), 1) > MAX_VALUES:
        builder.fault(node, (), f"holds more than {MAX_VALUES} values once its aliases are written out")
    if builder.faults:
        raise PipelineError(builder.faults)
    return Document(file, text, value, place)


def _read_text(file: Path) -> str:
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        reason = f"{file}: there is no such file (looked for {file.absolute()})"
    except IsADirectoryError:
        reason = f"{file}: is a folder; name a YAML file"
    except (OSError, ValueError) as error:
        reason = f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}"
    else:
        return _decoded(file, data)
    raise PipelineError([Fault(None, "", reason)])


def _decoded(file: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", errors="replace")
        position = Position(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        message = f"is not UTF-8 text (byte 0x{data[error.start]:02x}); save the file as UTF-8"
        raise PipelineError([Fault(position, "", message)]) from error


def _syntax_fault(file: Path, error: yaml.MarkedYAMLError) -> Fault:
    mark = error.problem_mark or error.context_mark
    position = Position(file, mark.line + 1, mark.column + 1) if mark else Position(file, 1, 1)
    parts = [part for part in (error.context, error.problem) if part]
    return Fault(position, "", f"is not YAML: {', '.join(parts)}")


def _character_fault(file: Path, text: str) -> Fault:
    match = Reader.NON_PRINTABLE.search(text)
    start = match.start() if match else 0
    position = Position(file, text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start))
    shown = f"U+{ord(match.group()):04X}" if match else "unknown"
    return Fault(
        position,
        "",
        f"is not YAML: the character {shown} is not allowed; write it as an escape in double quotes",
    )


class _Loader(_SafeLoader):
    """The safe loader, which asks the patterns of its tags for no scalar twice, and not at all where none can match."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._tags: dict[str, str] = {}

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


class _Builder:
    """Makes plain values and places of a tree of YAML nodes; a node with several aliases is made once."""

    def __init__(self, file: Path, loader: Any) -> None:
        self.file = file
        self.loader = loader
        self.faults: list[Fault] = []
        self.sizes: dict[int, int] = {}
        self._made: dict[int, tuple[Any, Place]] = {}
        self._open: set[int] = set()

    def fault(self, node: yaml.Node, keys: Keys, message: str) -> None:
        self.faults.append(Fault(_position(self.file, node), dotted(keys), message))

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
        self.fault(
            node, keys, f"the tag {node.tag} is not supported; write plain mappings, lists and scalars"
        )
        return None, Place(node)

    def _scalar(self, node: yaml.ScalarNode, keys: Keys) -> Any:
        if node.tag == "tag:yaml.org,2002:value":  # a lone "="
            return node.value
        try:
            return self.loader.construct_object(node)
        except _SCALAR_ERRORS as error:
            reason = getattr(error, "problem", None) or f"{node.value!r} is no value of the tag {node.tag}"
            self.fault(node, keys, f"is not a value of YAML: {reason}")
            return None

    def _sequence(self, node: yaml.SequenceNode, keys: Keys) -> tuple[Any, Place]:
        values: list[Any] = []
        children: dict[str | int, tuple[yaml.Node, Place]] = {}
        size = 1
        for index, item in enumerate(node.value):
            value, place = self.build(item, (*keys, index))
            size += self.sizes.get(id(item), 1)
            values.append(value)
            children[index] = (item, place)
        self.sizes[id(node)] = size
        return values, Place(node, children)

    def _mapping(self, node: yaml.MappingNode, keys: Keys) -> tuple[Any, Place]:
        values: dict[str, Any] = {}
        children: dict[str | int, tuple[yaml.Node, Place]] = {}
        size = 1
        for key, key_node, value_node in self._pairs(node, keys):
            values[key], place = self.build(value_node, (*keys, key))
            size += self.sizes.get(id(value_node), 1)
            children[key] = (key_node, place)
        self.sizes[id(node)] = size
        return values, Place(node, children)

    def _pairs(self, node: yaml.MappingNode, keys: Keys) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        """Merged pairs first, the mapping's own last, so that they win."""
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                yield from self._merged(value_node, keys)
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
        for key, (key_node, value_node) in own.items():
            yield key, key_node, value_node

    def _merged(self, node: yaml.Node, keys: Keys) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in reversed(sources):
            if not isinstance(source, yaml.MappingNode):
                self.fault(source, keys, "<< takes a mapping or a list of mappings")
            elif id(source) in self._open:
                self.fault(source, keys, "<< takes the mapping that it stands in")
            else:
                self._open.add(id(source))
                yield from self._pairs(source, keys)
                self._open.discard(id(source))

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
