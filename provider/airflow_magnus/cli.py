"""The command ``magnus``; thin, no rules of its own.

Exit status: 0 the run succeeded (two runs are equal), 1 it failed (they differ), 2 it was refused and nothing ran.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TextIO

from airflow_magnus import __version__
from airflow_magnus.cli_runlog import add_config_file, add_runlog
from airflow_magnus.errors import MagnusError, PipelineError

REFUSED = 2
_ABOUT = """Run pipelines written in YAML, check them, and look at their runs.
Exit status: 0 the run succeeded, 1 it failed, 2 it was refused and nothing ran."""
_OPTIONS = (
    "config-file",
    "file",
    "isolate",
    "log-level",
    "parameters-file",
    "run-id",
    "tag",
    "use-cached",
    "var-file",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; gives its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options, rest = parser.parse_known_args(given)
    if rest and options.command != "execute":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    run: Callable[[argparse.Namespace, list[str]], int] = options.handler
    try:
        return run(options, rest)
    except PipelineError as error:
        for fault in error.faults:
            _say(str(fault))
        _say(f"refused: {len(error.faults)} fault(s), nothing was run")
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
    _add_execute(commands.add_parser("execute", help="run a pipeline here", allow_abbrev=False))
    validate = commands.add_parser("validate", help="name every fault of pipeline files", allow_abbrev=False)
    validate.add_argument("files", nargs="+", type=Path, metavar="FILE")
    _add_var_file(validate)
    validate.set_defaults(handler=_validate)
    show = commands.add_parser("show", help="the graph of a pipeline, as text or Mermaid", allow_abbrev=False)
    show.add_argument("file", type=Path, metavar="FILE")
    show.add_argument("--format", choices=("text", "mermaid"), help="default: both")
    _add_var_file(show)
    show.set_defaults(handler=_show)
    add_runlog(commands.add_parser("runlog", help="look at the runs there were", allow_abbrev=False))
    _add_dags(commands.add_parser("dags", help="DAG files for pipelines", allow_abbrev=False))
    return parser


def _add_execute(parser: argparse.ArgumentParser) -> None:
    parser.description = "Run a pipeline here. Any other --NAME VALUE gives the parameter NAME, as text."
    parser.add_argument("-f", "--file", type=Path, default=Path("pipeline.yaml"), metavar="FILE")
    add_config_file(parser)
    parser.add_argument("-p", "--parameters-file", type=Path, metavar="FILE", help="YAML: name to value")
    _add_var_file(parser)
    parser.add_argument("--run-id", metavar="ID", help="default: made from the time")
    parser.add_argument("--tag", metavar="TEXT", help="kept in the run log")
    parser.add_argument("--use-cached", metavar="RUN", help="skip what succeeded in that earlier run")
    parser.add_argument(
        "--isolate", action="store_true", help="run each step in a folder of its own, as a worker does"
    )
    parser.add_argument(
        "--log-level",
        default="WARNING",
        type=str.upper,
        choices=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
    )
    parser.set_defaults(handler=_execute)


def _add_dags(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="dags_command", required=True, metavar="COMMAND")
    sync = commands.add_parser("sync", help="write one DAG file for each pipeline file", allow_abbrev=False)
    sync.add_argument("pipelines", type=Path, metavar="PIPELINES", help="folder of pipeline files")
    sync.add_argument("dags", type=Path, metavar="DAGS", help="folder that Airflow reads")
    sync.set_defaults(handler=_dags_sync)


def _add_var_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-v", "--var-file", type=Path, metavar="FILE", help="YAML: variables for $name and ${name}"
    )


def _execute(options: argparse.Namespace, rest: list[str]) -> int:
    from airflow_magnus.dags.embedded import Execution, execute
    from airflow_magnus.pipeline.parameters import initial_parameters
    from airflow_magnus.pipeline.parser import load_pipeline
    from airflow_magnus.pipeline.services import resolve_services
    from airflow_magnus.pipeline.variables import read_variables

    folder = Path.cwd()
    variables = read_variables(options.var_file, os.environ)
    given = _parameters(rest)
    pipeline = load_pipeline(options.file, variables=variables, base=folder)
    for warning in pipeline.warnings:
        _say(f"warning: {warning}")
    for doubt in _unexpected(given, pipeline.parameters):
        _say(f"warning: {doubt}")
    execution = Execution(
        pipeline=pipeline,
        services=resolve_services(options.config_file, pipeline.services, folder, variables),
        parameters=initial_parameters(pipeline.parameters, options.parameters_file, os.environ, given),
        folder=folder,
        run_id=options.run_id,
        tag=options.tag,
        use_cached=options.use_cached,
        is_isolated=options.isolate,
        log_level=options.log_level,
    )
    with _OnlyOurs() as output:
        log = execute(execution)
        output.write(log.to_json() + "\n")
    return 0 if log.status == "SUCCESS" else 1


def _unexpected(given: Iterable[str], declared: Collection[str]) -> Iterator[str]:
    """Parameters that look like something else that was meant."""
    for name in given:
        close = difflib.get_close_matches(name, [*declared, *_OPTIONS], 1, 0.75)
        if name not in declared and (declared or close):
            meant = f"; did you mean --{close[0]}?" if close else ""
            yield f"--{name} gives a parameter that the file does not declare{meant}"


def _parameters(rest: Sequence[str]) -> dict[str, str]:
    """``--name value``, ``-name value`` and ``--name=value`` as name → text."""
    from airflow_magnus.runlog.records import printable

    found: dict[str, str] = {}
    words = iter(rest)
    for word in words:
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("-") or not name:
            raise MagnusError(f"{word!r} is not an option: parameters are given as --NAME VALUE")
        if not equals:
            following = next(words, None)
            if following is None:
                raise MagnusError(f"parameter {word} has no value: write {word} VALUE")
            value = following
        if name in found:
            raise MagnusError(f"parameter {name!r} is given twice")
        if printable(value) != value or printable(name) != name:
            raise MagnusError(f"parameter {name!a} is not text in UTF-8: give other bytes by a file")
        found[name] = value
    return found


class _OnlyOurs:
    """Standard output for the result alone: whatever else this process or its children print goes to standard error."""

    def __enter__(self) -> TextIO:
        sys.stdout.flush()
        self._output = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        # sys.stdout itself may be another file than descriptor 1: in a notebook, in a test.
        self._redirection = redirect_stdout(sys.stderr)
        self._redirection.__enter__()
        return self._output

    def __exit__(self, *_: object) -> None:
        self._redirection.__exit__(None, None, None)
        sys.stdout.flush()
        self._output.flush()
        os.dup2(self._output.fileno(), 1)
        self._output.close()


def _validate(options: argparse.Namespace, _: list[str]) -> int:
    from airflow_magnus.dags.kinds import unsupported
    from airflow_magnus.pipeline.parser import check_pipeline, load_pipeline
    from airflow_magnus.pipeline.variables import read_variables

    variables = read_variables(options.var_file, os.environ)
    total = 0
    for file in options.files:
        faults, warnings = check_pipeline(file, variables=variables)
        faults = faults or tuple(unsupported(load_pipeline(file, variables=variables).graph))
        total += len(faults)
        for fault in faults:
            _tell(str(fault))
        for warning in warnings:
            _tell(f"{warning} (warning)")
        if not faults:
            _tell(f"{file}: valid")
    return REFUSED if total else 0


def _show(options: argparse.Namespace, _: list[str]) -> int:
    from airflow_magnus.pipeline.describe import as_mermaid, as_text
    from airflow_magnus.pipeline.parser import load_pipeline
    from airflow_magnus.pipeline.variables import read_variables

    pipeline = load_pipeline(options.file, variables=read_variables(options.var_file, os.environ))
    if options.format != "mermaid":
        _tell(as_text(pipeline).rstrip("\n"))
    if options.format is None:
        _tell("")
    if options.format != "text":
        _tell(as_mermaid(pipeline).rstrip("\n"))
    return 0


def _dags_sync(options: argparse.Namespace, _: list[str]) -> int:
    from airflow_magnus.dags.stubs import sync

    for line in sync(options.pipelines, options.dags):
        _tell(line)
    return 0


def _tell(text: str) -> None:
    print(text)  # noqa: T201


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201
