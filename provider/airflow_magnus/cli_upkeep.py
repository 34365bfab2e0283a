"""The commands ``magnus catalog verify`` and ``magnus catalog gc``."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_magnus.cli_output import columns, line, number, say, tell
from airflow_magnus.cli_progress import shown_progress
from airflow_magnus.cli_stores import RUN, Stores
from airflow_magnus.errors import ConfigurationError, MagnusError, RunNotFoundError

if TYPE_CHECKING:
    from airflow_magnus.runlog.retention import Verdict
    from airflow_magnus.stores.collection import Chosen
    from airflow_magnus.stores.verification import Verified

FAULTY, REFUSED = 1, 2
VERIFY = """Whether every file that the records of a run name is in the catalog, with the recorded size and sha256.
Reads alone. Exit status: 0 all is whole, 1 something is missing or damaged, 2 refused."""
GC = """Remove the files of old runs from the catalog, whole runs only. Run logs stay. Kept are runs that go on, that
are pinned, and that a run refers to which is kept. Exit status: 0 done, 1 some files could not be removed, 2 refused."""
_NAMED = 5
"""Runs that are named where many are kept for one reason."""


def add_verify(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``magnus catalog verify``."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("run", metavar="RUN", nargs="?", default="latest", help=f"{RUN}; default: latest")
    which.add_argument("--all", action="store_true", help="all runs")
    parser.set_defaults(handler=_verify)


def add_gc(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``magnus catalog gc``."""
    parser.add_argument(
        "--older-than", required=True, type=_age, metavar="TIME", help="since they ended: 30d, 12h, 2w"
    )
    parser.add_argument(
        "--keep-last", type=_count, default=0, metavar="N",
        help="of each pipeline keep N runs that started last, and N that succeeded last",
    )  # fmt: skip
    parser.add_argument(
        "--pin", action="append", default=[], metavar="RUN", help="keep RUN this time; repeatable"
    )
    parser.add_argument(
        "--ended", action="append", default=[], metavar="RUN", help="you know that RUN has ended; repeatable"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be removed")
    parser.set_defaults(handler=_gc)


def _verify(options: argparse.Namespace, _: list[str]) -> int:
    from airflow_magnus.runlog.plan_text import size_text
    from airflow_magnus.stores.verification import verify

    stores = Stores(options)
    run_log, objects = stores.services.run_log, stores.objects
    run_ids = run_log.run_ids() if options.all else [stores.find(options.run)]
    marks = run_log.marks.collections()
    found: list[Verified] = []
    unread: dict[str, str] = {}
    try:
        with shown_progress("verify") as progress:
            for run_id in run_ids:
                try:
                    found.append(
                        verify(
                            run_log, objects, run_id,
                            mark=marks.get(run_id), begun=progress.begin, ended=progress.end,
                        )
                    )  # fmt: skip
                except MagnusError as error:
                    if not options.all:
                        raise
                    if isinstance(error, RunNotFoundError):
                        continue  # a folder among the run logs that is none
                    unread[run_id] = str(error)
    finally:  # also what was found before an interrupt; not amid the bar
        for one in found:
            _tell_verified(one)
        for run_id, why in unread.items():
            say(f"magnus: run {line(run_id)} cannot be verified: {why}")
    if not options.all and found[0].elsewhere and not found[0].files:
        raise ConfigurationError(
            f"nothing was verified: the files of run {found[0].run_id} are in the catalog "
            f"{', '.join(found[0].elsewhere)}: name the configuration of that one by --config-file"
        )
    damaged = sum(len(one.damages) for one in found)
    total = f"{number(len(found), 'run')}, {number(sum(one.files for one in found), 'file')}"
    total += f", {size_text(sum(one.size for one in found))}"
    tell(f"{total}: {f'{damaged} missing or damaged' if damaged else 'whole'}")
    return FAULTY if damaged else (REFUSED if unread else 0)


def _tell_verified(one: Verified) -> None:
    for damage in one.damages:
        tell(
            f"run {line(one.run_id)}: step {line(damage.step)!r}: {line(damage.name)}: {line(damage.what)} "
            f"({line(damage.key)})"
        )
    notes = [
        f"{count} files are in the catalog {where}: not looked at" for where, count in one.elsewhere.items()
    ]
    if one.collected and one.mark:
        notes.append(one.mark.told)
    if one.unnamed:
        size = sum(one.unnamed.values())
        notes.append(
            f"no record names {number(len(one.unnamed), 'object')} of {size:,} bytes in its folder, "
            f"such as {line(next(iter(one.unnamed)))}"
        )
    for note in notes:
        say(f"run {line(one.run_id)}: {note}")


def _gc(options: argparse.Namespace, _: list[str]) -> int:
    from airflow_magnus.runlog.plan_text import size_text
    from airflow_magnus.runlog.retention import Policy
    from airflow_magnus.stores.collection import Collected, Collector
    from airflow_magnus.stores.run_facts import Asked
    from airflow_magnus.stores.run_folders import run_folders

    stores = Stores(options)
    objects = stores.objects
    asked = Asked(
        pins=[stores.find(run) for run in options.pin], ended=[stores.find(run) for run in options.ended]
    )
    collector = Collector(stores.services.run_log, run_folders(objects.store, objects.location), asked)
    choice = collector.choose(Policy(options.older_than, options.keep_last))
    if options.dry_run:
        done = Collected(choice.chosen)
    else:
        with shown_progress("gc") as progress:
            progress.begin(
                sum(len(one.sizes) for one in choice.chosen), sum(one.size for one in choice.chosen)
            )
            done = collector.collect(choice.chosen, lambda files, size: progress.end(size, files))
    shown = [one for one in done.runs if one.sizes]
    for row in columns([_collected_row(one) for one in shown], right=2):
        tell(row)
    _tell_kept([*choice.kept, *done.kept])
    for run_id, why in choice.unreadable.items():
        say(f"left alone: run {line(run_id)}: its records cannot be read: {line(why)}")
    for run_id, why in done.failed.items():
        say(f"magnus: run {line(run_id)}: {why}; the next `magnus catalog gc` goes on here")
    files, size = sum(len(one.sizes) for one in shown), sum(one.size for one in shown)
    verb = "would free" if options.dry_run else "freed"
    tell(f"{verb} {size_text(size)} ({size:,} bytes): {number(files, 'file')} of {number(len(shown), 'run')}")
    return FAULTY if done.failed or choice.unreadable else 0


def _collected_row(one: Chosen) -> tuple[str, ...]:
    from airflow_magnus.runlog.plan_text import size_text

    rest = "what an interrupted gc had left" if one.is_rest else ""
    return f"run {line(one.run_id)}", number(len(one.sizes), "file"), size_text(one.size), rest


def _tell_kept(kept: Iterable[Verdict]) -> None:
    by_reason: dict[str, list[str]] = defaultdict(list)
    for verdict in kept:
        by_reason[verdict.why if verdict.is_told else ""].append(verdict.run_id)
    silent = by_reason.pop("", [])
    for why, run_ids in by_reason.items():
        more = f" and {len(run_ids) - _NAMED} more" if len(run_ids) > _NAMED else ""
        say(f"kept: run {', '.join(map(line, run_ids[:_NAMED]))}{more}: {why}")
    if silent:
        say(f"kept: {number(len(silent), 'run')} not old enough, or among the last")


def _age(text: str) -> timedelta:
    from airflow_magnus.pipeline.durations import parse_duration

    if not any(unit in text.lower() for unit in "wdhms"):  # a bare number would be seconds
        raise argparse.ArgumentTypeError(f"{text!r} has no unit: write 30d, 12h or 2w")
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time: write 30d, 12h or 2w") from error


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of runs")
    return int(text)
