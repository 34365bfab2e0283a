"""Checked pipelines, kept on disk for the next process that reads the same file: every parse is a process of its own.

Reading a pipeline back takes a tenth of the time of reading and checking its YAML. There is one entry for each file and
set of variables; it counts as long as the texts of all files of the pipeline are those that were checked. Whatever is
wrong with an entry, the file is read as if there were none.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import hashlib
import importlib
import io
import logging
import os
import pickle
import stat
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from airflow_magnus.hooks.services import default_folder
from airflow_magnus.pipeline.hashing import texts_digest
from airflow_magnus.pipeline.model import Pipeline

log = logging.getLogger(__name__)

MAX_ENTRIES = 2000
"""When there are more, the half that was written first is removed."""
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OWN = ("airflow_magnus.pipeline.", "airflow_magnus.errors.")
_VALUES = (PurePath, datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo)


def plans_folder() -> Path | None:
    """Where Airflow's processes keep entries; None when ``[magnus] cache_plans`` is off."""
    from airflow.providers.common.compat.sdk import conf

    return default_folder() / "plans" if conf.getboolean("magnus", "cache_plans", fallback=True) else None


def load(file: Path, variables: Mapping[str, str], folder: Path | None) -> Pipeline:
    """Give a pipeline as ``load_pipeline`` does.

    :param folder: of the entries; made for this user alone when it is missing. Entries that another user owns, or could
        have written, are not read. None: keep nothing.
    :raises PipelineError: with every fault of the file; faults are not kept.
    """
    if folder is None:
        return _checked(file, variables)[0]
    entry = folder / _key(file, variables)
    try:
        return _kept(entry)
    except FileNotFoundError:
        pass
    except Exception:
        log.debug("%s is not used", entry, exc_info=True)
    pipeline, files = _checked(file, variables)
    try:
        _keep(entry, pipeline, files)
    except Exception:
        log.debug("%s cannot be kept", entry, exc_info=True)
    return pipeline


def _checked(file: Path, variables: Mapping[str, str]) -> tuple[Pipeline, tuple[Path, ...]]:
    from airflow_magnus.pipeline.parser import load_with_files  # a third of what a DAG file would import

    return load_with_files(file, variables=variables)


def _kept(entry: Path) -> Pipeline:
    with open(os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as stream:
        _refuse_foreign(os.fstat(stream.fileno()))
        files, pipeline = _Restored(stream).load()
    if texts_digest(path.read_bytes().decode("utf-8-sig") for path in files) != pipeline.digest:
        raise FileNotFoundError(f"{entry} is of other texts")
    assert isinstance(pipeline, Pipeline)
    return pipeline


def _keep(entry: Path, pipeline: Pipeline, files: tuple[Path, ...]) -> None:
    folder = entry.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_foreign(folder.lstat())
    data = pickle.dumps((tuple(map(Path.absolute, files)), pipeline), protocol=5)
    _Restored(io.BytesIO(data)).load()  # what would be refused later is not kept
    handle, name = tempfile.mkstemp(dir=folder)  # for this user alone
    try:
        with open(handle, "wb") as stream:
            stream.write(data)
        os.replace(name, entry)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _bound(folder)


def _bound(folder: Path) -> None:
    entries = [path for path in folder.iterdir() if path.is_file()]
    if len(entries) > MAX_ENTRIES:
        entries.sort(key=lambda path: path.stat().st_mtime)
        for path in entries[: len(entries) // 2]:
            path.unlink(missing_ok=True)


def _refuse_foreign(found: os.stat_result) -> None:
    """Make sure that nobody else can have written it.

    :raises PermissionError: when somebody could.
    """
    if found.st_uid != os.geteuid() or found.st_mode & _OTHERS:
        raise PermissionError("others could have written it")


def _key(file: Path, variables: Mapping[str, str]) -> str:
    """The name of an entry: of a file as it was named, the variables, and the code that has checked it."""
    beside = "" if file.is_absolute() else os.getcwd()
    named = repr((beside, str(file), sorted(variables.items()), _code()))
    return hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()


@functools.cache
def _code() -> tuple[Any, ...]:
    """What changes when the checks, or the packages that extend them, do."""
    folder = Path(__file__).parents[1] / "pipeline"
    with os.scandir(folder) as found:
        sources = sorted((e.name, e.stat().st_mtime_ns, e.stat().st_size) for e in found if e.is_file())
    packages = sysconfig.get_path("purelib")
    installed = os.stat(packages).st_mtime_ns if os.path.isdir(packages) else 0
    return sys.version_info[:3], installed, tuple(sources)


class _Restored(pickle.Unpickler):
    """Restores the classes of a pipeline and nothing else: no entry can call other code."""

    def find_class(self, module: str, name: str) -> Any:
        """A class by its name.

        :raises UnpicklingError: for anything that no pipeline holds.
        """
        is_ours = f"{module}.".startswith(_OWN)
        if "." not in name and (is_ours or module.partition(".")[0] in ("pathlib", "datetime")):
            found = getattr(importlib.import_module(module), name)
            if isinstance(found, type) and (
                dataclasses.is_dataclass(found) if is_ours else issubclass(found, _VALUES)
            ):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a pipeline")
