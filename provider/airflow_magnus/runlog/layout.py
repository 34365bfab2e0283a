"""Where the parts of a run lie in a run-log store: keys that any tool can read.

    <run id>/run.json                                     the header
    <run id>/steps/<graph>/<step>/<number>.open.json      the claim of an attempt
    <run id>/steps/<graph>/<step>/<number>.close.json     its outcome
    <run id>/steps/<graph>/<step>/<number>.carry.json     what it made before it was deferred
    <run id>.json                                         the document
    .fingerprints/<sha256>.json                           where the result of a cached step is
    .pins/<run id>.json                                   whether the files of a run are kept whatever its age
    .collected/<run id>.json                              that the files of a run were removed from the catalog
    .index/1/new/<token>.json                             what lists and search need of a run, as its writer left it
    .index/1/segments/<sha256>.json                       the same of many runs, put together by readers

``<graph>`` is ``@`` for the pipeline's own graph, else the branch's internal name. One LIST of a graph's folder tells
all about it, whatever the size of the rest of the run.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal
from urllib.parse import quote, unquote

PartKind = Literal["open", "close", "carry"]
_PART = re.compile(
    r"/steps/(?P<graph>[^/]+)/(?P<step>[^/]+)/(?P<number>\d+)\.(?P<kind>open|close|carry)\.json$"
)
_READABLE = " !$&'()+,;=@[]{}"
_LONGEST_SEGMENT = 180
_LONGEST_RUN_ID = 240  # names of files have at most 255 bytes, and obstore adds some while it writes one


def is_run_id(text: str) -> bool:
    """Whether a text can be the id of a run: the name of its folder, and with ``.json`` that of its document."""
    return (
        bool(text.strip())
        and text.isprintable()
        and not text.startswith(".")
        and not text.endswith(".json")
        and "/" not in text
        and "\\" not in text
        and len(text.encode()) <= _LONGEST_RUN_ID
    )


def segment(name: str) -> str:
    """A name as one segment of a key: readable, reversible, at most 180 bytes (longer ones end in a digest)."""
    text = quote(name, safe=_READABLE)
    if text == "@":  # stands for the pipeline's own graph
        text = "%40"
    text = text.replace(".", "%2E") if set(text) == {"."} else text
    if len(text) > _LONGEST_SEGMENT:
        text = f"{text[:140]}~{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    return text


def name_of(text: str) -> str:
    """The name that :func:`segment` was given, if it was not too long."""
    return unquote(text)


def header_key(run_id: str) -> str:
    """Key of the run's header."""
    return f"{run_id}/run.json"


def document_key(run_id: str) -> str:
    """Key of the run's document."""
    return f"{run_id}.json"


def fingerprint_key(fingerprint: str) -> str:
    """Key of the place of the attempt with a fingerprint; no run's id begins with a dot."""
    return f".fingerprints/{fingerprint}.json"


PINS = ".pins"
"""Prefix of the pins of all runs."""
COLLECTIONS = ".collected"
"""Prefix of what says whose files were removed."""
INDEX = ".index/1"
"""Prefix of the index; its number is that of the format."""
NEW_IN_INDEX = f"{INDEX}/new"
"""Prefix of what no segment holds yet."""


def index_key(token: str, *, is_segment: bool = False) -> str:
    """Key of a text of the index. No text is written twice, so that it may be removed when another one holds it."""
    return f"{INDEX}/segments/{token}.json" if is_segment else f"{NEW_IN_INDEX}/{token}.json"


def pin_key(run_id: str) -> str:
    """Key of the pin of a run."""
    return f"{PINS}/{run_id}.json"


def run_of(key: str) -> str:
    """The run that a document, or a mark, is of."""
    return key.rsplit("/", 1)[-1].removesuffix(".json")


def collection_key(run_id: str) -> str:
    """Key of what says that the files of a run were removed."""
    return f"{COLLECTIONS}/{run_id}.json"


def steps_prefix(run_id: str) -> str:
    """Prefix of all parts of all steps."""
    return f"{run_id}/steps"


def graph_prefix(run_id: str, graph_name: str) -> str:
    """Prefix of all parts of one graph's steps."""
    return f"{steps_prefix(run_id)}/{segment(graph_name) if graph_name else '@'}"


def step_prefix(run_id: str, graph_name: str, step_name: str) -> str:
    """Prefix of all parts of one step."""
    return f"{graph_prefix(run_id, graph_name)}/{segment(step_name)}"


def part_key(run_id: str, graph_name: str, step_name: str, number: int, kind: PartKind) -> str:
    """Key of one part of an attempt."""
    return f"{step_prefix(run_id, graph_name, step_name)}/{number:04d}.{kind}.json"


def parse_part(key: str) -> tuple[str, int, PartKind] | None:
    """``<graph>/<step>`` as they stand in the key, number and kind of a part; None for any other key."""
    match = _PART.search(key)
    if match is None:
        return None
    kind: PartKind = match["kind"]  # type: ignore[assignment]
    return f"{match['graph']}/{match['step']}", int(match["number"]), kind


def graph_segment(key: str) -> str:
    """The segment of a part's key that stands for its graph."""
    return key.rsplit("/", 3)[-3]
