"""The command ``magnus``; thin, no rules of its own.

Exit status: 0 the run succeeded (two runs are equal), 1 it failed (they differ), 2 it was refused and nothing ran,
130 and 143 it was interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from airflow_magnus import __version__
from airflow_magnus.cli_catalog import add_catalog
from airflow_magnus.cli_execute import add_execute, add_plan, add_var_file
from airflow_magnus.cli_runlog import add_runlog
from airflow_magnus.errors import MagnusError, PipelineError, RunInterruptedError

REFUSED = 2
_ABOUT = """Run pipelines written in YAML, check them, and look at their runs.
Exit status: 0 the run succeeded, 1 it failed, 2 it was refused and nothing ran."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; gives its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options, rest = parser.parse_known_args(given)
    if rest and options.command not in ("execute", "plan"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    run: Callable[[argparse.Namespace, list[str]], int] = options.handler
    if options.command != "execute":
        # Airflow logs to standard output, which is for the result alone.
        os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")
    try:
        return run(options, rest)
    except PipelineError as error:
        for fault in error.faults:
            _say(str(fault))
        _say(f"refused: {len(error.faults)} fault(s), nothing was run")
    except RunInterruptedError as error:
        _say(f"magnus: {error}")
        return 128 + error.number
    except MagnusError as error:
        _say(f"magnus: {error}")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader has seen enough
        return 0
    return REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="magnus", description=_ABOUT, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_execute(commands.add_parser("execute", help="run a pipeline here", allow_abbrev=False))
    add_plan(commands.add_parser("plan", help="what a re-run would do, without running", allow_abbrev=False))
    validate = commands.add_parser("validate", help="name every fault of pipeline files", allow_abbrev=False)
    validate.add_argument("files", nargs="+", type=Path, metavar="FILE", help="or a folder of pipeline files")
    add_var_file(validate)
    validate.set_defaults(handler=_validate)
    show = commands.add_parser("show", help="the graph of a pipeline, as text or Mermaid", allow_abbrev=False)
    show.add_argument("file", type=Path, metavar="FILE")
    show.add_argument("--format", choices=("text", "mermaid"), help="default: both")
    add_var_file(show)
    show.set_defaults(handler=_show)
    add_runlog(commands.add_parser("runlog", help="look at the runs there were", allow_abbrev=False))
    add_catalog(commands.add_parser("catalog", help="the files of runs", allow_abbrev=False))
    _add_dags(commands.add_parser("dags", help="DAG files for pipelines", allow_abbrev=False))
    return parser


def _add_dags(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="dags_command", required=True, metavar="COMMAND")
    sync = commands.add_parser("sync", help="write one DAG file for each pipeline file", allow_abbrev=False)
    sync.add_argument("pipelines", type=Path, metavar="PIPELINES", help="folder of pipeline files")
    sync.add_argument("dags", type=Path, metavar="DAGS", help="folder that Airflow reads")
    sync.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="files below PIPELINES that become no DAGs",
    )
    sync.set_defaults(handler=_dags_sync)


def _validate(options: argparse.Namespace, _: list[str]) -> int:
    from airflow_magnus.dags.checking import check_files
    from airflow_magnus.pipeline.variables import read_variables

    total = 0
    for checked in check_files(options.files, read_variables(options.var_file, os.environ), Path.cwd()):
        total += len(checked.faults)
        for fault in checked.faults:
            _tell(str(fault))
        for warning in checked.warnings:
            _tell(f"{warning} (warning)")
        if not checked.faults:
            _tell(f"{checked.file}: valid")
    return REFUSED if total else 0


def _show(options: argparse.Namespace, _: list[str]) -> int:
    from airflow_magnus.pipeline.describe import as_mermaid, as_text
    from airflow_magnus.pipeline.parser import load_pipeline
    from airflow_magnus.pipeline.variables import read_variables

    variables = read_variables(options.var_file, os.environ)
    pipeline = load_pipeline(options.file, variables=variables, base=Path.cwd())
    if options.format != "mermaid":
        _tell(as_text(pipeline).rstrip("\n"))
    if options.format is None:
        _tell("")
    if options.format != "text":
        _tell(as_mermaid(pipeline).rstrip("\n"))
    return 0


def _dags_sync(options: argparse.Namespace, _: list[str]) -> int:
    from airflow_magnus.dags.stubs import sync

    for line in sync(options.pipelines, options.dags, options.exclude):
        _tell(line)
    return 0


def _tell(text: str) -> None:
    print(text)  # noqa: T201


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201
