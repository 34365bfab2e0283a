"""YAML text as plain values, with the place of every key and value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.reader import Reader

from airflow_magnus.errors import Fault, PipelineError, Position
from airflow_magnus.pipeline.nodes import (
    TOO_DEEP,
    Builder,
    Keys,
    Loader,
    Place,
    TooMuchError,
    position_of,
)

MAX_BYTES = 32 * 1024 * 1024
"""How large a file may be: 300,000 steps and more."""


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
        return position_of(self.file, node) if node is not None else Position(self.file, 1, 1)

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


def _source(node: yaml.Node | None) -> str | None:
    return node.value if isinstance(node, yaml.ScalarNode) else None


def read_document(file: Path) -> Document:
    """Read a YAML file.

    :raises PipelineError: the file cannot be read, is not UTF-8 or not YAML, repeats a key, is too large or too deep,
        or its aliases form a circle or grow beyond all measure.
    """
    text = _read_text(file)
    loader = Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return Document(file, text, None, Place(None))
        builder = Builder(file, loader)
        value, place = builder.build(node, ())
    except TooMuchError as error:
        raise PipelineError([Fault(position_of(file, error.node), "", error.message)]) from error
    except yaml.MarkedYAMLError as error:
        raise PipelineError([_syntax_fault(file, error)]) from error
    except yaml.reader.ReaderError as error:
        raise PipelineError([_character_fault(file, text)]) from error
    except RecursionError as error:
        raise PipelineError([Fault(Position(file, 1, 1), "", TOO_DEEP)]) from error
    finally:
        loader.dispose()
    if builder.faults:
        raise PipelineError(builder.faults)
    return Document(file, text, value, place)


def _read_text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        reason = f"{file}: there is no such file (looked for {file.absolute()})"
    except IsADirectoryError:
        reason = f"{file}: is a folder; name a YAML file"
    except (OSError, ValueError) as error:
        reason = f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}"
    else:
        if len(data) <= MAX_BYTES:
            return _decoded(file, data)
        reason = f"{file}: is larger than {MAX_BYTES // 1024**2} MiB: no pipeline or settings file; is it the right one?"
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
