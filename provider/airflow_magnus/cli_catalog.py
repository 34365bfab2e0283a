"""The commands ``magnus catalog …``: look at the files of runs, fetch, add, check and remove them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from airflow_magnus.cli_output import columns, line, number, say, tell
from airflow_magnus.cli_progress import shown_progress
from airflow_magnus.cli_stores import RUN, Stores, add_stores
from airflow_magnus.cli_upkeep import GC, VERIFY, add_gc, add_verify
from airflow_magnus.errors import CatalogError

FAULTY = 1
_PUT = """Store files in the catalog of a run that has ended, recorded as put from outside. Without --step they stand
beside the steps; with it the step is recorded as having put them, and a re-run takes them over."""
_PIN = "Keep the files of runs whatever their age. Without a run: print those that are pinned."


def add_catalog(parser: argparse.ArgumentParser) -> None:
    """Add the commands to the parser of ``magnus catalog``."""
    commands = parser.add_subparsers(dest="catalog_command", required=True, metavar="COMMAND")

    def command(
        name: str, handler: Callable[[argparse.Namespace, list[str]], int] | None, text: str, about: str = ""
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=about or text, allow_abbrev=False)
        if handler is not None:
            made.set_defaults(handler=handler)
        add_stores(made)
        return made

    listing = command("list", _list, "the files that a run has left")
    listing.add_argument("run", metavar="RUN", help=RUN)
    listing.add_argument("--json", action="store_true", help="for programs")
    get = command("get", _get, "fetch files of a run")
    get.add_argument("run", metavar="RUN", help=RUN)
    get.add_argument("patterns", nargs="*", metavar="PATTERN", help="default: all files")
    get.add_argument("--to", type=Path, metavar="FOLDER", help="default: the compute data folder")
    put = command("put", _put, "add files to a run that has ended", _PUT)
    put.add_argument("run", metavar="RUN", help=RUN)
    put.add_argument("patterns", nargs="+", metavar="PATTERN", help="of files below FOLDER")
    put.add_argument(
        "--from", type=Path, dest="source", metavar="FOLDER", help="default: the compute data folder"
    )
    put.add_argument("--step", metavar="NAME", help="the step that is to have put them")
    add_verify(command("verify", None, "check files against the run log", VERIFY))
    add_gc(command("gc", None, "remove the files of old runs", GC))
    pin = command("pin", _pin, "keep the files of runs whatever their age", _PIN)
    pin.add_argument("runs", nargs="*", metavar="RUN", help=RUN)
    unpin = command("unpin", _unpin, "let the files of runs go when they are old")
    unpin.add_argument("runs", nargs="+", metavar="RUN", help=RUN)


def _list(options: argparse.Namespace, _: list[str]) -> int:
    from airflow_magnus.runlog.plan_text import size_text

    stores = Stores(options)
    found, gone, told = stores.contents(stores.find(options.run))
    if options.json:
        rows = [
            {"name": name, "size": held.entry.size, "sha256": held.entry.data_hash, "step": held.step,
             "key": held.entry.catalog_relative_path, "location": held.entry.catalog_handler_location}
            for name, held in found.items()
        ]  # fmt: skip
        tell(json.dumps(rows, indent=4))
    else:
        cells = [
            (line(name), size_text(held.entry.size or 0), held.entry.data_hash[:12], line(held.step),
             line(held.entry.catalog_relative_path))
            for name, held in found.items()
        ]  # fmt: skip
        for row in columns(cells, right=1):
            tell(row)
    if gone:
        say(f"{told} ({gone} of the files that it had at its end)")
    elif not found:
        say("the run has no files")
    return 0


def _get(options: argparse.Namespace, _: list[str]) -> int:
    from airflow_magnus.runlog.plan_text import size_text
    from airflow_magnus.stores.globs import matches

    stores = Stores(options)
    catalog, _objects = stores.services.catalog, stores.objects
    run_id = stores.find(options.run)
    found, gone, told = stores.contents(run_id)
    if gone and not found:
        raise CatalogError(told)
    patterns = options.patterns or ["**"]
    unmatched = [pattern for pattern in patterns if not any(matches(pattern, name) for name in found)]
    for pattern in unmatched:
        say(f"magnus: {pattern!r} matches no file of run {run_id}" + (f"; {told}" if gone else ""))
    chosen = [held.entry for name, held in found.items() if any(matches(p, name) for p in patterns)]
    located = catalog.located(run_id, chosen)
    folder = options.to or Path(stores.services.compute_data_folder)
    try:
        with shown_progress("get") as progress:
            moved = catalog.get({e.name: e for e in located}, folder, ["**"], progress=progress)
    except CatalogError as error:
        say(f"magnus: {error}")
        return FAULTY
    tell(f"{number(len(located), 'file')}, {size_text(moved.size)}, of run {run_id} in {folder}")
    return FAULTY if unmatched else 0


def _put(options: argparse.Namespace, _: list[str]) -> int:
    from airflow_magnus.runlog.plan_text import size_text
    from airflow_magnus.stores.catalog import CatalogStore
    from airflow_magnus.stores.outside import put_from_outside

    stores = Stores(options)
    services, objects = stores.services, stores.objects
    run_id = stores.find(options.run)
    before = services.run_log.find(run_id)  # ends the run log of a run whose process was killed
    services.heed(services.run_log.header(run_id))
    assert isinstance(services.catalog, CatalogStore)
    folder = options.source or Path(services.compute_data_folder)
    with shown_progress("put") as progress:
        moved = put_from_outside(
            services.run_log,
            services.catalog,
            before,
            folder,
            options.patterns,
            step=options.step,
            progress=progress,
        )
    size = sum(entry.size or 0 for entry in moved.entries)
    by = f"step {options.step!r}" if options.step else "no step"
    tell(
        f"{number(len(moved.entries), 'file')}, {size_text(size)}, of {folder} in run {run_id} at {objects.location}, "
        f"recorded for {by}"
    )
    return 0


def _pin(options: argparse.Namespace, _: list[str]) -> int:
    stores = Stores(options)
    marks = stores.services.run_log.marks
    if not options.runs:
        for run_id in marks.pinned():
            tell(line(run_id))
        return 0
    gone = marks.collections()
    for run_id in [stores.find(run) for run in options.runs]:
        marks.pin(run_id)
        tell(f"run {line(run_id)} is pinned")
        if run_id in gone:
            say(f"note: {gone[run_id].told}")
    return 0


def _unpin(options: argparse.Namespace, _: list[str]) -> int:
    stores = Stores(options)
    for run_id in [stores.find(run) for run in options.runs]:
        stores.services.run_log.marks.pin(run_id, is_pinned=False)
        tell(f"run {line(run_id)} is no longer pinned")
    return 0
