"""The commands ``magnus runlog …``: list, show and compare the runs there were."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_magnus.cli_output import line, number, say
from airflow_magnus.errors import MagnusError, RunNotFoundError

if TYPE_CHECKING:
    from airflow_magnus.runlog.index_view import IndexView
    from airflow_magnus.runlog.records import RunHeader, RunLog
    from airflow_magnus.stores.runlogs import RunLogStore

DIFFERENT = 1
_MOST_FOUND = 1_000
_RUN = "run id, an Airflow run id, or `latest`, `latest~1`, …"
_DIFF = f"""Where two runs part, and what differs of each step. A and B: {_RUN}; or a file that holds a
run log: a path with a `/`, or one that ends in `.json`. Exit status: 0 they are equal, 1 they differ, 2 refused."""


_REPAIR = "end the run log of a run that has ended without telling it; asks Airflow's database on its machine"

_FIND = "the runs that read or made a file, the newest first"
_REINDEX = "make the index that lists and searches read anew, from the run logs"


def add_runlog(parser: argparse.ArgumentParser) -> None:
    """Add the commands to the parser of ``magnus runlog``."""
    commands = parser.add_subparsers(dest="runlog_command", required=True, metavar="COMMAND")
    show = commands.add_parser("show", help="print the run log of a run", allow_abbrev=False)
    show.add_argument("run", metavar="RUN", help=_RUN)
    show.set_defaults(handler=_show)
    listing = commands.add_parser("list", help="one line a run, newest last", allow_abbrev=False)
    listing.set_defaults(handler=_list)
    diff = commands.add_parser("diff", help="where two runs part", description=_DIFF, allow_abbrev=False)
    diff.add_argument("a", metavar="A", help="a run, or a file that holds a run log")
    diff.add_argument("b", metavar="B", help="another one")
    diff.add_argument("--json", action="store_true", help="everything that was compared, for programs")
    diff.set_defaults(handler=_diff)
    repair = commands.add_parser("repair", help=_REPAIR, description=_REPAIR, allow_abbrev=False)
    repair.add_argument("run", metavar="RUN", help=_RUN)
    repair.set_defaults(handler=_repair)
    find = commands.add_parser("find", help=_FIND, description=_FIND, allow_abbrev=False)
    find.add_argument(
        "wanted", metavar="DIGEST|NAME", help="at least 6 characters of a sha256, or part of a name"
    )
    find.set_defaults(handler=_find)
    reindexing = commands.add_parser("reindex", help=_REINDEX, description=_REINDEX, allow_abbrev=False)
    reindexing.set_defaults(handler=_reindex)
    for command in (show, listing, diff, repair, find, reindexing):
        add_config_file(command)
        command.add_argument("--conn-id", metavar="ID", help="read from this Airflow connection")
        command.add_argument(
            "--airflow",
            action="store_true",
            help="read where Airflow keeps run logs that no file or connection places",
        )


def add_config_file(parser: argparse.ArgumentParser) -> None:
    """Add the option that all commands which open a store have."""
    parser.add_argument(
        "-c", "--config-file", type=Path, metavar="FILE", help="services; wins over all other files"
    )


def _show(options: argparse.Namespace, _: list[str]) -> int:
    _tell(_Runs(options).find(options.run).to_json())
    return 0


def _list(options: argparse.Namespace, _: list[str]) -> int:
    for run in reversed(_Runs(options).index.summaries.values()):
        tag = f"  {run.tag}" if run.tag else ""
        _tell(f"{run.run_id}  {run.status:<10}  {_moment(run.start):<20}  {run.pipeline}{tag}")
    return 0


def _find(options: argparse.Namespace, _: list[str]) -> int:
    found = _Runs(options).index.find_files(options.wanted, limit=_MOST_FOUND)
    for use in found.uses:
        size = "" if use.size is None else f"{use.size:,}"
        name, step = line(use.name), line(use.step)
        _tell(
            f"{use.sha256}  {size:>12}  {use.direction:<8}  {name}  {use.run_id}  {step}  {_moment(use.time)}"
        )
    if found.is_cut:
        say(f"these are the first {_MOST_FOUND:,}: give more of the digest or the name")
    return 0 if found.uses else DIFFERENT


def _reindex(options: argparse.Namespace, _: list[str]) -> int:
    from airflow_magnus.stores.reindexing import reindex

    store = _Runs(options).store
    done = reindex(store, lambda looked, of: say(f"{looked:,} of {of:,} read") if of > looked else None)
    _tell(
        f"{number(done.runs, 'run')} and {number(done.files, 'use')} of files are in the index of {store.location}: "
        f"{number(done.texts, 'text')} written, {number(done.removed, 'text')} removed"
    )
    for run_id, reason in done.unreadable.items():
        say(f"left out: run {line(run_id)}: {reason}")
    return DIFFERENT if done.unreadable else 0


def _moment(text: str) -> str:
    """A timestamp of a run log to the second, in UTC; "" of none."""
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if text else ""


def _repair(options: argparse.Namespace, _: list[str]) -> int:
    from airflow_magnus.dags.repairing import repair

    runs = _Runs(options)
    log, told = repair(runs.store, runs.find(options.run).run_id)
    _tell(told)
    return 0 if log.status != "PROCESSING" else DIFFERENT


def _diff(options: argparse.Namespace, _: list[str]) -> int:
    from airflow_magnus.runlog.difference import compare
    from airflow_magnus.runlog.difference_text import as_text

    runs = _Runs(options)
    (a, header_a), (b, header_b) = (_found(runs, wanted) for wanted in (options.a, options.b))
    difference = compare(a, b, (header_a, header_b))
    _tell(json.dumps(difference.to_plain(), indent=4) if options.json else as_text(difference).rstrip("\n"))
    return 0 if difference.is_equal else DIFFERENT


class _Runs:
    """The runs in the store that the options name; it is opened when it is first needed."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    @cached_property
    def store(self) -> RunLogStore:
        from airflow_magnus.dags.reading import run_log_store

        options = self._options
        logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
        return run_log_store(Path.cwd(), options.config_file, options.conn_id, of_airflow=options.airflow)

    @property
    def index(self) -> IndexView:
        """The index of the runs, compared with their run logs."""
        from airflow_magnus.stores.run_index import RunIndex

        return RunIndex(self.store).view(most_read=sys.maxsize)

    def find(self, wanted: str) -> RunLog:
        """The run log of a run by its id, Airflow's run id, or how many came after it (``latest~1``)."""
        from airflow_magnus.stores.runlogs import LATEST

        if back := LATEST.fullmatch(wanted):
            wanted = self.store.latest(int(back[1] or 0))
        try:
            return self.store.find(wanted)
        except RunNotFoundError as error:
            raise RunNotFoundError(self._unbegun(wanted) or str(error)) from error

    def _unbegun(self, wanted: str) -> str:
        """Why a run of Airflow's has no run log; "" where Airflow was not asked for, or does not know the run."""
        if not self._options.airflow:
            return ""
        from airflow_magnus.dags.unbegun import unbegun

        return unbegun(wanted, self.store.location)

    def header(self, log: RunLog) -> RunHeader | None:
        """The header of a run; None of one that another tool has written."""
        try:
            return self.store.header(log.run_id)
        except RunNotFoundError:
            return None


def _found(runs: _Runs, wanted: str) -> tuple[RunLog, RunHeader | None]:
    if "/" in wanted or os.sep in wanted or wanted.endswith(".json"):
        return _read(Path(wanted)), None
    try:
        log = runs.find(wanted)
        return log, runs.header(log)
    except MagnusError:
        raise
    except ValueError as error:  # it must not end as exit status 1: that says that they differ
        raise MagnusError(f"run {wanted!r} in {runs.store.location} cannot be read: {error}") from error


def _read(file: Path) -> RunLog:
    from airflow_magnus.runlog.records import RunLog

    try:
        return RunLog.model_validate_json(file.read_bytes())
    except OSError as error:
        raise MagnusError(f"{file} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise MagnusError(
            f"{file} holds no run log: give a file that `magnus execute` or `magnus runlog show` printed"
        ) from error


def _tell(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))  # noqa: T201
