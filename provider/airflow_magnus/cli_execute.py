"""The commands ``magnus execute`` and ``magnus plan``: they take a pipeline file, its services and parameters."""

from __future__ import annotations

import argparse
import logging
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from airflow_magnus.cli_runlog import add_config_file
from airflow_magnus.errors import MagnusError
from airflow_magnus.pipeline.cursor import nearest

if TYPE_CHECKING:
    from airflow_magnus.dags.embedded import Execution
    from airflow_magnus.pipeline.model import Pipeline

_OPTIONS = (
    "config-file",
    "file",
    "isolate",
    "log-level",
    "new-parameters",
    "parameters-file",
    "quiet",
    "run-id",
    "tag",
    "use-cached",
    "var-file",
)
_IN_COMMANDS = re.compile(r"MAGNUS_PRM_(\w+)")


def add_execute(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``magnus execute``."""
    parser.description = "Run a pipeline here. Any other --NAME VALUE gives the parameter NAME, as text."
    parser.add_argument("-f", "--file", type=Path, default=Path("pipeline.yaml"), metavar="FILE")
    _add_common(parser)
    parser.add_argument("--run-id", metavar="ID", help="default: made from the time")
    parser.add_argument("--tag", metavar="TEXT", help="kept in the run log")
    parser.add_argument("--use-cached", metavar="RUN", help="skip what succeeded in that earlier run")
    parser.add_argument(
        "--isolate", action="store_true", help="run each step in a folder of its own, as a worker does"
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing of steps that have ended")
    parser.add_argument(
        "--log-level",
        default="WARNING",
        type=str.upper,
        choices=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
    )
    parser.set_defaults(handler=_execute)


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``magnus plan``."""
    parser.description = """What `magnus execute --use-cached RUN` would do with each step: skip it, skip it and
restore its files, or run it; and why. Nothing is run and nothing is written. With --airflow: what a DAG run with
the configuration {"use_cached": RUN} would do."""
    parser.add_argument("file", type=Path, metavar="FILE")
    _add_common(parser)
    parser.add_argument("--use-cached", metavar="RUN", required=True, help="the earlier run")
    parser.add_argument("--airflow", action="store_true", help="the earlier run is one of this Airflow")
    parser.set_defaults(handler=_plan)


def _add_common(parser: argparse.ArgumentParser) -> None:
    add_config_file(parser)
    parser.add_argument("-p", "--parameters-file", type=Path, metavar="FILE", help="YAML: name to value")
    add_var_file(parser)
    parser.add_argument(
        "--new-parameters",
        action="store_true",
        help="of a re-run: given parameters win over the earlier run's, and what could read a changed one runs again",
    )


def add_var_file(parser: argparse.ArgumentParser) -> None:
    """Add the option of all commands that read a pipeline file."""
    parser.add_argument(
        "-v", "--var-file", type=Path, metavar="FILE", help="YAML: variables for $name and ${name}"
    )


def _execute(options: argparse.Namespace, rest: list[str]) -> int:
    from airflow_magnus.dags.embedded import execute

    execution = _execution(options, rest)
    with _OnlyOurs() as output:
        log = execute(execution)
        output.write(log.to_json() + "\n")
    return 0 if log.status == "SUCCESS" else 1


def _plan(options: argparse.Namespace, rest: list[str]) -> int:
    from airflow_magnus.dags.planning import plan
    from airflow_magnus.runlog.plan_text import plan_text

    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    earlier, decided = plan(_execution(options, rest), options.use_cached, of_airflow=options.airflow)
    print(plan_text(decided, earlier.run_id))  # noqa: T201
    return 0


def _execution(options: argparse.Namespace, rest: list[str]) -> Execution:
    """The pipeline that the options name, checked, with everything that a run of it is given."""
    from airflow_magnus.dags.embedded import Execution
    from airflow_magnus.pipeline.parameters import given_names, initial_parameters
    from airflow_magnus.pipeline.parser import load_pipeline
    from airflow_magnus.pipeline.services import resolve_services
    from airflow_magnus.pipeline.variables import read_variables

    folder = Path.cwd()
    variables = read_variables(options.var_file, os.environ)
    given = _parameters(rest, "--file " if options.command == "execute" else "")
    pipeline = load_pipeline(
        options.file, variables=variables, base=None if getattr(options, "airflow", False) else folder
    )
    for warning in pipeline.warnings:
        _say(f"warning: {warning}")
    for doubt in _unexpected(given, pipeline):
        _say(f"warning: {doubt}")
    return Execution(
        pipeline=pipeline,
        services=resolve_services(options.config_file, pipeline.services, folder, variables),
        parameters=initial_parameters(pipeline.parameters, options.parameters_file, os.environ, given),
        given=given_names(options.parameters_file, os.environ, given),
        folder=folder,
        use_cached=options.use_cached,
        new_parameters_win=options.new_parameters,
        run_id=getattr(options, "run_id", None),
        tag=getattr(options, "tag", None),
        is_isolated=getattr(options, "isolate", False),
        log_level=getattr(options, "log_level", "WARNING"),
        is_quiet=getattr(options, "quiet", False),
    )


def _unexpected(given: Iterable[str], pipeline: Pipeline) -> Iterator[str]:
    """Parameters that look like something else that was meant."""
    declared, named = set(pipeline.parameters), set(_named(pipeline))
    for name in given:
        close = nearest(name, declared | named | set(_OPTIONS), likeness=0.75)
        if name not in declared and (declared or (close and name not in named)):
            meant = f"; did you mean --{close}?" if close and close != name else ""
            known = "that the file does not declare" if declared else "that no step names"
            yield f"--{name} gives a parameter {known}{meant}"


def _named(pipeline: Pipeline) -> Iterator[str]:
    """The parameters that steps are seen to read; functions, notebooks and programs may read others."""
    from airflow_magnus.pipeline.model import CompositeStep, TaskStep
    from airflow_magnus.runlog.changes import lambda_arguments

    for step in pipeline.graph.walk():
        if isinstance(step, CompositeStep):
            yield from filter(None, (step.iterate_on, step.parameter, step.break_on))
        elif isinstance(step, TaskStep) and step.command_type == "python-lambda":
            yield from lambda_arguments(step.command) or ()
        elif isinstance(step, TaskStep):
            yield from _IN_COMMANDS.findall(step.command)


def _parameters(rest: Sequence[str], file_option: str) -> dict[str, str]:
    """``--name value``, ``-name value`` and ``--name=value`` as name → text.

    :param file_option: how a pipeline file is given where it has to be an option; else "".
    """
    from airflow_magnus.runlog.records import printable

    found: dict[str, str] = {}
    words = iter(rest)
    for word in words:
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("-") or not name:
            is_file = file_option and Path(word).suffix in (".yaml", ".yml")
            hint = f", and the pipeline file by {file_option}{shlex.quote(word)}" if is_file else ""
            raise MagnusError(f"{word!r} is not an option: parameters are given as --NAME VALUE{hint}")
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


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201
