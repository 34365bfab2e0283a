"""The first rows of a CSV file."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import ClassVar

from airflow_magnus.ui.previews.sample import Sample, text_of

_ENDINGS = {"csv": ",;\t|", "tsv": "\t", "tab": "\t", "psv": "|"}
_ROWS, _COLUMNS, _LONGEST = 100, 50, 300


@dataclass(frozen=True)
class TablePreview:
    """The first rows and columns.

    :param what: kind, delimiter and encoding, for people.
    :param heads: the first row.
    :param columns: how many there are.
    """

    template: ClassVar[str] = "previews/table.html"
    what: str
    heads: list[str]
    rows: list[list[str]]
    columns: int
    is_cut: bool

    @property
    def hidden(self) -> int:
        """How many columns are not shown."""
        return max(0, self.columns - _COLUMNS)


def table_preview(sample: Sample) -> TablePreview | None:
    """Show a table; None when the file is called otherwise, or has no rows and columns."""
    delimiters = _ENDINGS.get(sample.ending)
    found = text_of(sample) if delimiters else None
    if found is None or delimiters is None:
        return None
    text, encoding = found
    if not sample.is_whole:
        text = text[: text.rfind("\n") + 1] or text  # the last row was cut
    delimiter = _delimiter(text, delimiters)
    try:
        rows = _first_rows(text, delimiter)
    except csv.Error:
        return None
    if not rows:
        return None
    columns = max(map(len, rows))
    shown = [[cell[:_LONGEST] + "…" * (len(cell) > _LONGEST) for cell in row[:_COLUMNS]] for row in rows]
    named = {"\t": "tabs", ";": "semicolons", "|": "bars"}.get(delimiter, "commas")
    return TablePreview(
        what=f"Table, columns parted by {named}, {encoding}",
        heads=shown[0],
        rows=shown[1 : _ROWS + 1],
        columns=columns,
        is_cut=not sample.is_whole or len(rows) > _ROWS + 1,
    )


def _delimiter(text: str, allowed: str) -> str:
    """The one that the first line has most of."""
    first = text.partition("\n")[0]
    return max(allowed, key=first.count)


def _first_rows(text: str, delimiter: str) -> list[list[str]]:
    rows = []
    for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
        rows.append(row)
        if len(rows) > _ROWS + 1:
            break
    return rows
