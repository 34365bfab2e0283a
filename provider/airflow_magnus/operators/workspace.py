"""The folder that a step works in: the current one on a laptop, a private copy of the pipeline's on a worker."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from airflow_magnus.operators.environment import scratch_folder

log = logging.getLogger(__name__)

_NEVER_COPIED = {".git", ".catalog", ".run_log_store", "__pycache__", ".venv", "node_modules"}
_LARGE = 200 * 1024 * 1024


@dataclass(frozen=True)
class WorkspaceSettings:
    """How working folders are made.

    :param source: the pipeline's folder; None: a private folder starts empty.
    :param code: where Python looks for modules after the working folder; None: nowhere else.
    :param is_private: False to work in ``source`` itself, as the command line does.
    :param parent: where private folders are made; None: the system's folder for temporary files.
    :param has_links: link the pipeline's files instead of copying them.
    :param left_out: folders below ``source`` that are not copied: the run log, the catalog.
    :param is_kept: leave the private folder when the step has ended, to look at it.
    """

    source: Path | None = None
    code: Path | None = None
    is_private: bool = True
    parent: Path | None = None
    has_links: bool = False
    is_kept: bool = False
    left_out: tuple[Path, ...] = ()


class Workspace:
    """One step's working folder; a private one exists from :meth:`open` to :meth:`close`."""

    def __init__(self, settings: WorkspaceSettings, compute_data_folder: str) -> None:
        self._settings = settings
        self._data = compute_data_folder
        self.folder = settings.source if settings.source and not settings.is_private else Path()

    @property
    def data(self) -> Path:
        """The compute data folder."""
        return self.folder / self._data

    def open(self) -> None:
        """Make the private folder, with an empty compute data folder of its own."""
        if not self._settings.is_private:
            return
        if self._settings.parent is not None:
            self._settings.parent.mkdir(parents=True, exist_ok=True)
        self.folder = Path(
            tempfile.mkdtemp(prefix="magnus-step-", dir=self._settings.parent or scratch_folder())
        ).resolve()
        if self._settings.source is not None:
            _copy(self._settings, self._settings.source, self.folder, self._data)
        self.data.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Remove the private folder."""
        if not self._settings.is_private or not self.folder.is_absolute():
            return
        if self._settings.is_kept:
            log.info("the step's working folder is kept: %s", self.folder)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


def _copy(settings: WorkspaceSettings, source: Path, target: Path, data_folder: str) -> None:
    """Copy a pipeline's folder without its repository, its data and the stores that lie in it."""
    left_out = {path.resolve() for path in (source / data_folder, *settings.left_out)}
    copied = 0
    for root, folders, names in os.walk(source):
        here = Path(root)
        folders[:] = [f for f in folders if f not in _NEVER_COPIED and (here / f).resolve() not in left_out]
        there = target / here.relative_to(source)
        there.mkdir(exist_ok=True)
        for name in folders:
            if (here / name).is_symlink():  # not walked into
                (there / name).symlink_to((here / name).resolve())
        for name in names:
            file = here / name
            if settings.has_links:
                (there / name).symlink_to(file.resolve())
            elif file.is_file():
                shutil.copy2(file, there / name)
                copied += file.stat().st_size
    if copied > _LARGE:
        log.warning(
            "%d MB of %s were copied into the step's working folder: keep large files in the catalog, or set "
            "[magnus] link_working_copy = True to have links instead of copies",
            copied // 1024**2, source,
        )  # fmt: skip
