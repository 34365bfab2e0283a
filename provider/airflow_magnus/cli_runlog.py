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

from airflow_magnus.errors import MagnusError, RunNotFoundError

if TYPE_CHECKING:
    from airflow_magnus.runlog.records import RunHeader, RunLog
    from airflow_magnus.stores.runlogs import RunLogStore

DIFFERENT = 1
_RUN = "run id, an Airflow run id, or `latest`, `latest~1`, …"
_DIFF = f"""Where two runs part, and what differs of each step. A and B: {_RUN}; or a file that holds a
run log: a path with a `/`, or one that ends in `.json`. Exit status: 0 they are equal, 1 they differ, 2 refused."""


_REPAIR = "end the run log of a run that has ended without telling it; asks Airflow's database on its machine"


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
    for command in (show, listing, diff, repair):
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
    store = _Runs(options).store
    started = {header.run_id: header.started for header in store.headers()}
    for log in store.summaries():
        when = _moment(started.get(log.run_id, ""))
        tag = f"  {log.tag}" if log.tag else ""
        _tell(f"{log.run_id}  {log.status:<10}  {when:<20}  {getattr(log, 'pipeline', '')}{tag}")
    return 0


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
