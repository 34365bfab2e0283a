"""One file of a run, as its page shows it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from airflow_magnus.errors import CatalogError, MagnusError
from airflow_magnus.runlog.contents import Held, recorded_in_document
from airflow_magnus.stores.contents import records_of
from airflow_magnus.stores.reading import StoredFile, run_of, stored_file
from airflow_magnus.ui.found_runs import FoundRun, find_run
from airflow_magnus.ui.previews.choice import Preview, preview_of
from airflow_magnus.ui.previews.sample import sample_of
from airflow_magnus.ui.responses import PageError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileOfRun:
    """A file that the records of a run name.

    :param held: the record.
    :param others: records of the run that have the same name and other bytes.
    """

    run: FoundRun
    held: Held
    others: tuple[Held, ...]

    @property
    def name(self) -> str:
        """Of the file, in the catalog."""
        return self.held.entry.name

    @property
    def digest(self) -> str:
        """The recorded one."""
        return self.held.entry.data_hash

    def stored(self) -> StoredFile:
        """The file in the catalog. Cost: 3 requests.

        :raises PageError: 410 when its bytes are gone or elsewhere, 503 when they cannot be read.
        """
        services, entry = self.run.services, self.held.entry
        try:
            mark = services.run_log.marks.collection(run_of(entry))
            if mark is not None and mark.covers(self.held.recorded):
                raise PageError(
                    410, "The catalog has this file no more", f"{mark.told}. What is recorded of it stays."
                )
            return stored_file(services.catalog, entry)
        except CatalogError as error:
            title = "This file is not in the catalog"
            status = 410 if isinstance(error, FileNotFoundError) else 409
            raise PageError(status, title, _sentence(error)) from error
        except MagnusError as error:
            log.warning("a file of a run cannot be read", exc_info=error)
            raise PageError(503, "The catalog cannot be read", _sentence(error)) from error


@dataclass(frozen=True)
class FileLook:
    """What the page shows.

    :param preview: None when there is nothing to look into; ``trouble`` says why.
    :param doubt: why what is shown may not be what was recorded; "" when it is.
    """

    file: FileOfRun
    preview: Preview | None
    trouble: PageError | None = None
    doubt: str = ""
    is_unpacked: bool = False


def find_file(dag_id: str, run_id: str, name: str, digest: str = "") -> FileOfRun:
    """The file of a page's address. The user's right to read the DAG was checked before.

    Cost: as of :func:`find_run`, and the run's document; its parts where that does not name the file.

    :param digest: sha256 hex; "": what the run has put last under the name, else read.
    :raises PageError: when the run has no such file.
    """
    run = find_run(dag_id, run_id)
    document = run.document()
    held = _called(recorded_in_document(document), name)
    if not held or (digest and all(one.entry.data_hash != digest for one in held)):
        held = _called(run.reading(lambda: records_of(run.services.run_log, run.header.run_id)), name)
    wanted = [one for one in held if one.entry.data_hash == digest] if digest else held
    if not wanted:
        raise PageError(
            404,
            f"Run {run.run_id} has no file {name}",
            "No step of it has read or put a file of this name"
            + (" with this digest. " if digest else ". ")
            + "Open it by the tab Data of a task, or search for it.",
        )
    chosen = max(enumerate(wanted), key=lambda it: (it[1].entry.stage == "put", it[0]))[1]
    others = {one.entry.data_hash: one for one in held if one.entry.data_hash != chosen.entry.data_hash}
    return FileOfRun(run, chosen, tuple(others.values()))


def look_at_file(dag_id: str, run_id: str, name: str, digest: str = "") -> FileLook:
    """A file with a look into it. Cost: as of :func:`find_file`, and a few requests whatever its size."""
    file = find_file(dag_id, run_id, name, digest)
    try:
        stored = file.stored()
        sample = sample_of(stored)
        preview = preview_of(sample, stored)
    except PageError as error:
        return FileLook(file, None, error)
    except CatalogError as error:
        return FileLook(file, None, PageError(503, "This file cannot be read", _sentence(error)))
    is_other = sample.digest and sample.digest != file.digest
    doubt = ""
    if is_other or not stored.has_recorded_size:
        doubt = (
            f"Somebody has changed this file since: {stored.size:,} bytes are there"
            + (f" with the sha256 {sample.digest}" if sample.digest else "")
            + ". What you see is not what the step has left."
        )
    return FileLook(file, preview, doubt=doubt, is_unpacked=sample.is_unpacked)


def _called(held: Iterable[Held], name: str) -> list[Held]:
    return [one for one in held if one.entry.name == name]


def _sentence(error: MagnusError) -> str:
    text = str(error)
    return text[:1].upper() + text[1:].rstrip(".") + "."
