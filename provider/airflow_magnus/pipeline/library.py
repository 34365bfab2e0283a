"""The files of one pipeline: its own, and those of its sub-pipelines, each read once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from airflow_magnus.errors import PipelineError
from airflow_magnus.pipeline.cursor import Cursor, Report
from airflow_magnus.pipeline.text import Document, read_document
from airflow_magnus.pipeline.variables import substituted

MAX_STEPS = 50_000
"""How many steps a pipeline may have with all its sub-pipelines, those of a loop once for each iteration."""


class Library:
    """Reads files and keeps what was read.

    :param variables: substituted in every file.
    :param base: where a file is looked for that does not lie beside the file that names it; None: nowhere else.
    """

    def __init__(self, variables: Mapping[str, str], base: Path | None) -> None:
        self.report = Report()
        self._variables = variables
        self._base = base
        self._read: dict[Path, Document | None] = {}
        self._steps = 0

    def texts(self) -> Iterator[str]:
        """The text of every file that could be read, in the order of reading."""
        return (document.text for document in self._read.values() if document is not None)

    def files(self) -> tuple[Path, ...]:
        """The files of these texts."""
        return tuple(document.file for document in self._read.values() if document is not None)

    def open(self, file: Path, asked_by: Cursor | None = None) -> Cursor | None:
        """Give the top of a file; None, and faults in the report, when it cannot be read.

        :param asked_by: the value that names the file: a fault of the whole file is reported there.
        """
        key = file.resolve()
        if key not in self._read:
            self._read[key] = self._load(file, asked_by)
        document = self._read[key]
        return Cursor(document, self.report, document.value) if document is not None else None

    def _load(self, file: Path, asked_by: Cursor | None) -> Document | None:
        try:
            return substituted(read_document(file), self._variables)
        except PipelineError as error:
            for fault in error.faults:
                if fault.position is None and asked_by is not None:
                    asked_by.fault(fault.message)
                else:
                    self.report.add(fault)
        return None

    def path_of(self, entry: Cursor, name: str) -> Path | None:
        """The file that a value names; None, and a fault, when there is none."""
        if "\0" in name:
            entry.fault("must be the path of a file: no path holds a NUL character")
            return None
        beside = entry.document.file.parent / name
        other = beside if self._base is None else self._base / name
        found = [place for place in (beside, other) if _is_there(place)]
        if not found and other.absolute() != beside.absolute():
            entry.fault(
                f'there is no such file "{name}": looked beside this file ({beside.absolute()}) and in the '
                f"current folder ({other.absolute()}); write its path from one of these folders"
            )
            return None
        if len(found) == 2 and all(map(os.path.exists, found)) and not beside.samefile(other):
            where = f"beside this file and in the current folder ({other.absolute()})"
            entry.warn(f'"{name}" lies {where}: the one beside this file is taken')
        return found[0] if found else beside

    def count_step(self, step: Cursor) -> bool:
        """Count one more step; False, and once a fault, when there are too many."""
        return self.count_steps(1, step)

    def count_steps(self, number: int, place: Cursor) -> bool:
        """Count more steps, as :meth:`count_step` does one; the fault stands at ``place``."""
        before = self._steps
        self._steps += number
        if before <= MAX_STEPS < self._steps:
            where = "counting its sub-pipelines and every iteration of its loops"
            place.fault(f"the pipeline has more than {MAX_STEPS} steps, {where}", at_key=True)
        return self._steps <= MAX_STEPS


def _is_there(path: Path) -> bool:
    """Whether there is anything of that name; what cannot be looked at is left to the reader's message."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
