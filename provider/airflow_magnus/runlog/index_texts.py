"""The index of runs as texts: lines of records, and the first line says how many, so that a torn text is known as one.

A line is ASCII: a record's head, a tab, and the files of the run, packed. A search looks through the packed files and
unpacks those of the few runs where it finds something.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from airflow_magnus.runlog.records import timestamp
from airflow_magnus.runlog.summaries import Code, FileUse, RunFacts, RunSummary

FORMAT = 1
UNKNOWN = "?"
"""Version of an object in a store that cannot tell versions."""
Kind = Literal["run", "pin", "collection"]
_KINDS = ("run", "pin", "collection")


@dataclass(frozen=True)
class IndexRecord:
    """What the index knows of a run, or of a mark on it, as it was at one moment.

    :param version: of the object that it was made of, as its store tells versions apart; "" where there was none:
        of a run without a document.
    :param written: when; of two records of one thing the later one counts.
    :param value: of a run its summary, of a mark whether it holds.
    :param files: of a run: its uses of files, packed.
    """

    kind: Kind
    run_id: str
    version: str
    written: str
    value: Any
    files: str = ""

    @property
    def about(self) -> tuple[Kind, str]:
        """Records that agree in this say one thing anew."""
        return self.kind, self.run_id

    @property
    def rank(self) -> tuple[bool, str]:
        """Which of two records of one thing counts: that of a document before that of none, then the later one."""
        return self.version not in ("", UNKNOWN), self.written

    @property
    def file_count(self) -> int:
        """How many uses of files it holds."""
        return len(json.loads(self.files)[1]) if self.files else 0


class TornIndexError(ValueError):
    """A text of the index that is none, or not whole: it is made anew."""


def run_record(facts: RunFacts, version: str, *, written: str = "") -> IndexRecord:
    """The record of a run. ``written``: now, unless told."""
    value = facts.summary.model_dump(mode="json", exclude_defaults=True)
    return IndexRecord(
        "run", facts.summary.run_id, version, written or timestamp(), value, packed(facts.uses)
    )


def mark_record(kind: Kind, run_id: str, is_set: bool, version: str, *, written: str = "") -> IndexRecord:
    """The record of a mark. ``written``: now, unless told."""
    return IndexRecord(kind, run_id, version, written or timestamp(), is_set)


def text_of_records(records: Sequence[IndexRecord]) -> str:
    """The text of records."""
    lines = [json.dumps({"format": FORMAT, "records": len(records)})]
    for one in records:
        head = json.dumps([one.kind, one.run_id, one.version, one.written, one.value], separators=(",", ":"))
        lines.append(f"{head}\t{one.files}")
    return "\n".join(lines)


def records_of_text(text: str) -> list[IndexRecord]:
    """The records of a text.

    :raises TornIndexError: when it is no text of the index, or not all of it.
    """
    first, *lines = text.split("\n")
    try:
        about = json.loads(first)
        if about["format"] != FORMAT or about["records"] != len(lines):
            raise TornIndexError(f"it has {len(lines)} lines and begins with {first[:100]!r}")
        return [_record(line) for line in lines]
    except TornIndexError:
        raise
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise TornIndexError(str(error)) from error


def _record(line: str) -> IndexRecord:
    head, tab, files = line.partition("\t")
    kind, run_id, version, written, value = json.loads(head)
    is_value = (
        isinstance(value, dict) and value.get("run_id") == run_id
        if kind == "run"
        else isinstance(value, bool)
    )
    if not (tab and kind in _KINDS and is_value):
        raise TornIndexError(f"a line is no record: {line[:100]!r}")
    return IndexRecord(kind, str(run_id), str(version), str(written), value, files)


def newest(records: Iterable[IndexRecord]) -> dict[tuple[Kind, str], IndexRecord]:
    """Of each thing the record that counts."""
    found: dict[tuple[Kind, str], IndexRecord] = {}
    for one in records:
        there = found.setdefault(one.about, one)
        if one.rank > there.rank:
            found[one.about] = one
    return found


def packed(uses: Iterable[FileUse]) -> str:
    """Uses of files, those of one step together, without what the run's summary says."""
    steps: dict[tuple[Any, ...], int] = {}
    rows = []
    for use in uses:
        code = tuple((one.kind, one.identifier, one.is_dependable) for one in use.code)
        step = steps.setdefault((use.step, use.attempt, use.time, code), len(steps))
        rows.append([step, use.direction, use.name, use.sha256, use.size, use.holder])
    return json.dumps([list(steps), rows], separators=(",", ":")) if rows else ""


def unpacked(summary: RunSummary, files: str) -> list[FileUse]:
    """The uses of files of a run.

    :raises TornIndexError: when the text is none of :func:`packed`.
    """
    if not files:
        return []
    try:
        steps, rows = json.loads(files)
        known = [
            (step, attempt, time, tuple(Code(*one) for one in code)) for step, attempt, time, code in steps
        ]
        return [_use(summary, known[row[0]], row) for row in rows]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise TornIndexError(f"the files of run {summary.run_id!r}: {error}") from error


def _use(summary: RunSummary, step: tuple[Any, ...], row: Sequence[Any]) -> FileUse:
    _, direction, name, sha256, size, holder = row
    internal_name, attempt, time, code = step
    return FileUse(
        summary.run_id,
        summary.pipeline,
        internal_name,
        attempt,
        direction,
        name,
        sha256,
        size,
        time,
        code,
        holder,
    )


def marked(summary: RunSummary, records: Mapping[tuple[Kind, str], IndexRecord]) -> RunSummary:
    """A summary with what the marks on its run say."""
    pin, collection = (records.get((kind, summary.run_id)) for kind in ("pin", "collection"))
    is_pinned, is_collected = bool(pin and pin.value), bool(collection and collection.value)
    if (is_pinned, is_collected) == (summary.is_pinned, summary.is_collected):
        return summary
    changes: dict[str, Any] = {"is_pinned": is_pinned, "is_collected": is_collected}
    if is_collected:
        changes["bytes_stored"] = 0
    return summary.model_copy(update=changes)
