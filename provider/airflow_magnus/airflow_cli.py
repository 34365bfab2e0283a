"""``airflow magnus …``: the same commands as ``magnus …``, found by Airflow through the provider's metadata."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

_COMMANDS = "execute, validate, show, dags, runlog, …"


def get_cli_commands() -> list[Any]:
    """Give Airflow the command ``magnus``; what follows it is passed on as it is."""
    from airflow.cli.cli_config import ActionCommand, Arg

    # One command that takes the rest, not a group: argparse refuses options that come first in a sub-command's rest.
    return [
        ActionCommand(
            name="magnus",
            help="Run and inspect Magnus pipelines",
            description="Run and inspect Magnus pipelines, as the command `magnus` does.",
            epilog=f"Commands: {_COMMANDS}. `airflow magnus COMMAND --help` explains one, `magnus --help` lists all.",
            func=run,
            args=(
                Arg(
                    ("command",),
                    help=f"a command of `magnus` ({_COMMANDS}) and its arguments",
                    nargs=argparse.REMAINDER,
                ),
            ),
        )
    ]


def run(args: argparse.Namespace) -> None:
    """Become ``python -m airflow_magnus …``: a run chooses its environment before Airflow is imported."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "airflow_magnus", *(args.command or ["--help"])])
