"""A value of a document, where it stands, and the faults that were found: what all checks work on."""

from __future__ import annotations

import datetime
import difflib
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_magnus.errors import Fault
from airflow_magnus.pipeline.nodes import Keys, dotted
from airflow_magnus.pipeline.text import Document

_NOT_PLAIN = frozenset({"true", "false", "null", "nan", "inf"})
"""Keys that may be written otherwise, beside numbers."""


@dataclass
class Report:
    """What was found so far. A fault that is found again, in a file used twice, counts once."""

    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)

    def add(self, fault: Fault) -> None:
        """Add a reason to refuse the file."""
        if fault not in self.faults:
            self.faults.append(fault)

    def warn(self, fault: Fault) -> None:
        """Add what is accepted but looks like a mistake."""
        if fault not in self.warnings:
            self.warnings.append(fault)

    def sort(self, first: Path) -> None:
        """Order everything by place, the file ``first`` before the others."""
        for found in (self.faults, self.warnings):
            found.sort(key=lambda fault: _order(fault, first))


def _order(fault: Fault, first: Path) -> tuple[bool, str, int, int]:
    place = fault.position
    return (place.file != first, str(place.file), place.line, place.column) if place else (False, "", 0, 0)


class Cursor:
    """One value of a document. Methods named ``as_…`` report a fault and give None when the value is of another type.

    A large file has tens of thousands of them; what only a message needs is worked out for messages.
    """

    __slots__ = ("_around", "_key", "document", "report", "value")

    def __init__(
        self,
        document: Document,
        report: Report,
        value: Any,
        *,
        key: str | int = "",
        around: Cursor | None = None,
    ) -> None:
        self.document = document
        self.report = report
        self.value = value
        self._key = key
        self._around = around

    def at(self, key: str | int) -> Cursor:
        """The value below ``key``; the value None when there is no such key."""
        value = self.value
        if isinstance(value, dict):
            value = value.get(str(key))
        elif isinstance(value, list) and isinstance(key, int):
            value = value[key]
        else:
            value = None
        return Cursor(self.document, self.report, value, key=key, around=self)

    def has(self, key: str) -> bool:
        """True when this is a mapping with that key."""
        return isinstance(self.value, dict) and key in self.value

    def items(self) -> Iterator[tuple[str, Cursor]]:
        """Every key of a mapping with its value; nothing of anything else."""
        for key in self._mapping:
            yield key, self.at(key)

    @property
    def _mapping(self) -> Mapping[str, Any]:
        return self.value if isinstance(self.value, dict) else {}

    @property
    def key(self) -> str:
        """The last key on the way here, "" at the top."""
        return str(self._key)

    @property
    def keys(self) -> Keys:
        """The way from the top of the document to here."""
        keys: list[str | int] = []
        cursor = self
        while cursor._around is not None:
            keys.append(cursor._key)
            cursor = cursor._around
        return tuple(reversed(keys))

    def fault(self, message: str, *, at_key: bool = False) -> None:
        """Report a reason to refuse the file; ``at_key`` points at the key instead of the value."""
        self.report.add(self._fault(message, at_key))

    def warn(self, message: str, *, at_key: bool = False) -> None:
        """Report what is accepted but looks like a mistake."""
        self.report.warn(self._fault(message, at_key))

    def _fault(self, message: str, at_key: bool) -> Fault:
        return Fault(self.document.position(self.keys, of_key=at_key), dotted(self.keys), message)

    def as_text(self, *, empty: bool = False) -> str | None:
        """The value when it is text; ``empty`` allows text without a visible character."""
        if not isinstance(self.value, str):
            is_scalar = isinstance(self.value, int | float | datetime.date)
            hint = f': write it in quotes, "{self.document.source(self.keys)}"' if is_scalar else ""
            self.fault(f"must be text, not {described(self.value)}{hint}")
            return None
        if not empty and not self.value.strip():
            self.fault("must not be empty")
            return None
        return self.value

    def as_mapping(self) -> Mapping[str, Any] | None:
        """The value when it is a mapping."""
        if not isinstance(self.value, dict):
            self.fault(f"must be a mapping (key: value), not {described(self.value)}")
            return None
        return self.value

    def as_integer(self, minimum: int | None = None) -> int | None:
        """The value when it is an integer of at least ``minimum``; true and false are none."""
        bound = "" if minimum is None else f" of at least {minimum}"
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            self.fault(f"must be an integer{bound}, not {described(self.value)}")
            return None
        if minimum is not None and self.value < minimum:
            self.fault(f"must be an integer{bound}, not {self.value}")
            return None
        return self.value

    def as_flag(self) -> bool | None:
        """The value when it is true or false; the texts "true" and "false" count."""
        if isinstance(self.value, bool):
            return self.value
        if isinstance(self.value, str) and self.value.lower() in ("true", "false"):
            return self.value.lower() == "true"
        self.fault(f"must be true or false, not {described(self.value)}")
        return None

    def as_texts(self) -> tuple[str, ...] | None:
        """The value when it is a list of text, none of it empty."""
        if not isinstance(self.value, list):
            hint = f": write a list, [{self.value!r}]" if isinstance(self.value, str) else ""
            self.fault(f"must be a list of text, not {described(self.value)}{hint}")
            return None
        texts = [self.at(index).as_text() for index in range(len(self.value))]
        return tuple(text for text in texts if text is not None) if None not in texts else None

    def lacks(self, key: str, known: Collection[str]) -> bool:
        """True when ``key`` is missing and no unknown key looks like a misspelling of it: that has its own fault."""
        if self.has(key):
            return False
        others = [other for other in self._mapping if other not in known]
        return key not in [nearest(other, known, likeness=0.6) for other in others]

    def check_keys(
        self,
        known: Collection[str],
        *,
        refused: Mapping[str, str] | None = None,
        ignored: Collection[str] = (),
    ) -> None:
        """Refuse every key that is not ``known``, naming the nearest.

        :param refused: keys of which a message says why they are refused, and what to do.
        :param ignored: keys that are passed over, and not offered as allowed.
        """
        for key in self._mapping:
            if key in ignored:
                continue
            if refused and key in refused:
                self.at(key).fault(refused[key], at_key=True)
            elif key not in known:
                self.at(key).fault(unknown("key", key, known), at_key=True)

    def check_key(self) -> None:
        """Refuse a key that YAML reads as something else than what is written: ``no`` is false, ``010`` is 8."""
        key = self.key
        if key not in _NOT_PLAIN and not key[:1].isdigit() and key[:1] != "-":
            return
        written = self.document.key_source(self.keys) or key
        if written.lower() != key.lower():
            self.fault(
                f'{written} is {key} in YAML: write it in quotes, "{written}", or write {key}', at_key=True
            )

    def is_json(self) -> bool:
        """True when all of the value is JSON; a part that is not (a date, bytes, nan) and has no fault yet is reported."""
        value = self.value
        if _is_json(value):
            return True
        if isinstance(value, dict | list):
            for key in value if isinstance(value, dict) else range(len(value)):
                self.at(key).is_json()
            return False
        fault = self._fault(f"must be a JSON value, not {described(value)}: write it in quotes", at_key=False)
        if not any(
            (known.position, known.path) == (fault.position, fault.path) for known in self.report.faults
        ):
            self.report.add(fault)
        return False


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_json, value.values()))
    if isinstance(value, list):
        return all(map(_is_json, value))
    return (
        value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    )


def described(value: Any) -> str:
    """A value as it is named in a message."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f'the text "{value if len(value) <= 40 else value[:37] + "..."}"'
    if isinstance(value, datetime.date):
        return f"the date {value}"
    for kind, name in ((dict, "a mapping"), (list, "a list"), (bytes, "binary data")):
        if isinstance(value, kind):
            return name
    return f"a {type(value).__name__}"


def nearest(word: str, known: Collection[str], likeness: float = 0.0) -> str:
    """The one of ``known`` that is most like ``word``; "" when none is as like as ``likeness``, from 0 to 1."""
    ordered = sorted(known)
    lowered = {name.lower(): name for name in reversed(ordered)}
    found = difflib.get_close_matches(word.lower(), list(lowered), 1, cutoff=likeness)
    return lowered[found[0]] if found else ""


def unknown(what: str, word: str, known: Collection[str]) -> str:
    """The message for a word that is not one of ``known``."""
    if not known:
        return f'unknown {what} "{word}": none is allowed here'
    listed = ", ".join(sorted(known))
    return f'unknown {what} "{word}"; the nearest is "{nearest(word, known)}"; allowed: {listed}'
