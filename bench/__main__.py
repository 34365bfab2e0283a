"""Run the benchmarks: ``python -m bench``; they print their tables and write them to a file."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path

from bench import processor

TABLES = ("import", "load", "build")


def main() -> None:
    """Run the tables that are asked for, all by default."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "tables", nargs="*", metavar="table", help=f"one of {', '.join(TABLES)}; default: all"
    )
    parser.add_argument(
        "--repetitions", type=int, default=11, help="of each measurement (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, help="write the tables to this file, as Markdown")
    arguments = parser.parse_args()
    wanted = arguments.tables or TABLES
    if unknown := set(wanted) - set(TABLES):
        parser.error(f"no such table: {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    with tempfile.TemporaryDirectory() as folder:
        written = [_about(arguments.repetitions)]
        print(written[0])
        processor.prepare(Path(folder, "home"))
        for name in TABLES:  # building comes last: it imports all that the others measure the import of
            if name in wanted:
                written.append(_report(name, Path(folder, name), arguments.repetitions))
                print(written[-1], flush=True)
    if arguments.output:
        arguments.output.write_text("\n".join(written), encoding="utf-8")
        print(f"written to {arguments.output}")


def _report(name: str, folder: Path, repetitions: int) -> str:
    from bench import dag_build, import_cost, load

    if name == "import":
        return import_cost.report(repetitions)
    return (load if name == "load" else dag_build).report(folder, repetitions)


def _about(repetitions: int) -> str:
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        )
        if Path("/proc/cpuinfo").exists()
        else iter(()),
        platform.processor() or platform.machine(),
    )
    return (
        "# Benchmarks\n\n"
        f"By `make bench`: Python {platform.python_version()}, Airflow {version('apache-airflow-core')}, "
        f"{os.cpu_count()} CPUs ({cpu}).\n"
        f"Medians of {repetitions} interleaved repetitions; compare ratios, the times are of this machine.\n"
    )


if __name__ == "__main__":
    main()
