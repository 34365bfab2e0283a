"""Files that a person puts into the catalog of a run that has ended, recorded as such."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from airflow_magnus.errors import CatalogError, MagnusError
from airflow_magnus.runlog.records import (
    ENDS,
    OUTSIDE,
    AttemptClosed,
    CatalogEntry,
    RunHeader,
    RunLog,
    StepIdentity,
    timestamp,
)
from airflow_magnus.stores.catalog import CatalogStore, Moved, kept_at
from airflow_magnus.stores.names import files_to_put
from airflow_magnus.stores.progress import Progress
from airflow_magnus.stores.runlogs import RunLogStore

_LAST = 1_000_000
"""Rank behind all steps of a graph."""


def put_from_outside(
    run_log: RunLogStore,
    catalog: CatalogStore,
    before: RunLog,
    folder: Path,
    patterns: Sequence[str],
    *,
    step: str | None = None,
    progress: Progress | None = None,
) -> Moved:
    """Store files as a step behind all others would: as an attempt of its own, data first, record last.

    What is recorded already stays as it is. Each file is sent, also where the same bytes are recorded: they may be
    gone, or damaged. Killed before its end, it leaves an attempt without an end, and bytes that nobody names.

    :param before: the run log of the run, which has ended.
    :param step: a step of the pipeline's own graph that succeeded and is to have put the files too: then later steps
        get them in a re-run. None: they stand beside the steps, and a re-run does not take them over.
    :raises CatalogError: when the run has not ended, a pattern matches nothing, or a file cannot be stored.
    """
    header = run_log.header(before.run_id)
    if before.status == "PROCESSING":
        raise CatalogError(
            f"run {header.run_id!r} goes on, or its end was never told: only its own steps put files meanwhile; "
            "wait for its end, or see `magnus runlog repair`"
        )
    if step is not None:
        _latest(run_log, header, step)
    _check(folder, patterns)
    identity = StepIdentity(name=OUTSIDE, internal_name=OUTSIDE, step_type="put", position=_LAST)
    who = {"type": "command", "user": _user(), "hostname": socket.gethostname(), "pid": os.getpid()}
    # The attempt is claimed before its files are sent: a collection that has not begun to remove sees it, and waits.
    opened = run_log.open_attempt(header.run_id, identity, f"put-{uuid4().hex}", who).opened
    try:
        if (mark := run_log.marks.collection(header.run_id)) and mark.state == "removing":
            raise CatalogError(f"{mark.told}: put the files when that has ended")
        moved = catalog.put(
            header.run_id, folder, patterns, attempt_id=opened.attempt_id, known={}, progress=progress
        )
        moved.entries = _apart(catalog, header.run_id, moved.entries, opened.attempt_id)
    except MagnusError as error:
        run_log.close(header.run_id, opened.ended(status="FAIL", message=str(error)))
        _keep_document(run_log, before)
        raise
    note = f"{len(moved.entries)} files put from outside by {who['user']} on {who['hostname']}"
    note += f", for step {step!r}" if step else ""
    closed = opened.ended(status="SUCCESS", step_message=note, data_catalog=moved.entries)
    run_log.close(header.run_id, closed)
    if step is not None:
        _add_to_step(run_log, header, step, closed)
    catalog.settle(header.run_id, moved.entries)
    _keep_document(run_log, before)
    return moved


def _check(folder: Path, patterns: Sequence[str]) -> None:
    """Refuse a put that would leave out something that was asked for, before anything is sent."""
    if not folder.is_dir():
        raise CatalogError(f"there is no folder {folder} to put files from: name one by --from")
    warnings: list[str] = []
    files_to_put(folder, patterns, warnings)
    if warnings:
        raise CatalogError("; ".join(warnings))


def _apart(
    catalog: CatalogStore, run_id: str, entries: Sequence[CatalogEntry], attempt_id: str
) -> list[CatalogEntry]:
    """The entries with their bytes at keys that stay theirs.

    Where a run has settled, a record with a plain key means what that key held first. Whoever has removed the plain key
    alone has left it free: what takes it now gets a key of its own.
    """
    found = []
    for entry, there in zip(entries, catalog.located(run_id, entries), strict=True):
        if there.catalog_relative_path == entry.catalog_relative_path:
            found.append(entry)
        else:
            found.append(kept_at(entry, run_id, attempt_id))
            catalog.copy({found[-1].catalog_relative_path: entry.catalog_relative_path})
    return found


def _latest(run_log: RunLogStore, header: RunHeader, step: str) -> AttemptClosed:
    """The outcome of a step that may be given more files."""
    histories = run_log.graph(header.run_id, "")
    closed = histories[step].latest.closed if step in histories and step != OUTSIDE else None
    if closed is None or closed.status != "SUCCESS" or closed.step.step_type in ENDS:
        kinds = {name: history.latest.opened.step.step_type for name, history in histories.items()}
        names = [n for n, h in histories.items() if h.status == "SUCCESS" and kinds[n] not in (*ENDS, "put")]
        raise CatalogError(
            f"run {header.run_id!r} has no step {step!r} of its own graph that succeeded; there are: "
            f"{', '.join(map(repr, names)) or 'none'}"
        )
    return closed


def _add_to_step(run_log: RunLogStore, header: RunHeader, step: str, put: AttemptClosed) -> None:
    """Let the step's outcome name the files too. It is written beside the one before, and is no attempt."""
    latest = _latest(run_log, header, step)
    names = {entry.name for entry in put.data_catalog}
    kept = [e for e in latest.data_catalog if e.stage != "put" or e.name not in names]
    message = "\n".join(text for text in (latest.step_message, put.step_message) if text)
    changes = {
        "number": latest.number + 1,
        "attempt_id": put.attempt_id,
        "end_time": timestamp(),
        "is_attempt": False,
        "step_message": message,
        "data_catalog": [*kept, *put.data_catalog],
        "fingerprint": "",  # no longer what its command makes
    }
    run_log.append(header.run_id, latest.model_copy(update=changes))


def _keep_document(run_log: RunLogStore, before: RunLog) -> None:
    """Write the document anew. How the run ended is not asked again: parts alone may not say it."""
    log = run_log.assemble(before.run_id)
    run_log.keep_document(log.model_copy(update={"status": before.status}))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need have no name
        return str(os.getuid())
