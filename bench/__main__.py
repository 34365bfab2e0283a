"""Run the benchmarks: ``python -m bench``; they print their tables and write them to a file."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from bench import again, gateway, index, jupyter, mount, overhead, peers, processor, run_log, transfers
from bench.servers import together
from bench.workloads import Workload, workloads

DAG_TABLES = (
    "import",
    "load",
    "build",
)  # building last: it imports all that the others measure the import of
S3_TABLES = ("transfers", "again", "gateway", "mount", "runlog", "overhead")
JUPYTER, INDEX = "jupyter", "index"
TABLES = (*DAG_TABLES, *S3_TABLES, JUPYTER, INDEX)
_SIZES, _CEPH_SIZES = "1000x16K,5000x16K,200x5M,1x2G", "1000x16K,40x5M,1x512M"
_QUICK_SIZES, _QUICK_CEPH_SIZES = "1000x16K,20x5M,1x256M", "200x16K,10x5M,1x64M"
_OF_DAGS, _OF_TRANSFERS, _QUICK = 11, 5, 2


def main() -> None:
    """Run the tables that are asked for, all by default."""
    parser = _parser()
    arguments = parser.parse_args()
    wanted = arguments.tables or TABLES
    if unknown := set(wanted) - set(TABLES):
        parser.error(f"no such table: {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers end, and files are removed
    written = [_about()]
    print(written[0])
    for report in _reports(wanted, arguments):
        written.append(report)
        print(report, flush=True)
    if arguments.output:
        arguments.output.write_text("\n".join(written), encoding="utf-8")
        print(f"written to {arguments.output}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    add = parser.add_argument
    add("tables", nargs="*", metavar="table", help=f"one of {', '.join(TABLES)}; default: all")
    add(
        "--repetitions",
        type=int,
        help=f"of each measurement (default: {_OF_DAGS} of DAGs, {_OF_TRANSFERS} of others)",
    )
    add("--quick", action="store_true", help=f"fewer and smaller files, and {_QUICK} repetitions")
    add("--sizes", type=_workloads, help=f"files that are moved (default: {_SIZES})")
    add("--ceph-sizes", type=_workloads, help=f"files that are moved on Ceph (default: {_CEPH_SIZES})")
    add(
        "--peers",
        type=_listed(peers.SHORT.values()),
        help=f"of {', '.join(peers.SHORT.values())}; default: all but nofsync",
    )
    add("--servers", type=_listed(together.NAMES), help=f"default: {','.join(together.NAMES)}")
    add("--output", type=Path, help="write the tables to this file, as Markdown")
    return parser


def _reports(wanted: Sequence[str], arguments: argparse.Namespace) -> Iterator[str]:
    """The tables, one after the other."""
    few = _QUICK if arguments.quick else None
    if set(wanted) & set(DAG_TABLES):
        with tempfile.TemporaryDirectory() as folder:
            processor.prepare(Path(folder, "home"))
            for name in DAG_TABLES:
                if name in wanted:
                    yield _of_dags(name, Path(folder, name), arguments.repetitions or few or _OF_DAGS)
    if JUPYTER in wanted:
        yield jupyter.report(arguments.repetitions or few or _OF_TRANSFERS, is_quick=arguments.quick)
    if INDEX in wanted:
        yield index.report(arguments.repetitions or few or _OF_TRANSFERS, is_quick=arguments.quick)
    if set(wanted) & set(S3_TABLES):
        with together.Servers(tuple(arguments.servers or together.NAMES)) as servers:
            settings = _settings(arguments, arguments.repetitions or few or _OF_TRANSFERS)
            if "transfers" in wanted:
                yield transfers.report(servers, settings)
            if "again" in wanted:
                yield again.report(servers, settings)
            if "gateway" in wanted:
                yield gateway.report(servers, settings.repetitions, is_quick=arguments.quick)
            if "mount" in wanted:
                yield mount.report(servers, settings.repetitions, is_quick=arguments.quick)
            if "runlog" in wanted:
                yield run_log.report(servers, run_log.QUICK_SIZES if arguments.quick else run_log.SIZES)
            if "overhead" in wanted:
                yield overhead.report(servers, settings.repetitions)


def _of_dags(name: str, folder: Path, repetitions: int) -> str:
    from bench import dag_build, import_cost, load

    if name == "import":
        return import_cost.report(repetitions)
    return (load if name == "load" else dag_build).report(folder, repetitions)


def _settings(arguments: argparse.Namespace, repetitions: int) -> transfers.Settings:
    shown = arguments.peers or [peers.SHORT[name] for name in peers.PEERS]
    return transfers.Settings(
        tuple(name for name, short in peers.SHORT.items() if short in shown),
        repetitions,
        arguments.sizes or workloads(_QUICK_SIZES if arguments.quick else _SIZES),
        arguments.ceph_sizes or workloads(_QUICK_CEPH_SIZES if arguments.quick else _CEPH_SIZES),
    )


def _workloads(text: str) -> list[Workload]:
    try:
        return workloads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _listed(allowed: Iterable[str]) -> Callable[[str], list[str]]:
    names = list(allowed)

    def chosen(text: str) -> list[str]:
        found = text.split(",")
        if unknown := set(found) - set(names):
            raise argparse.ArgumentTypeError(f"no {', '.join(sorted(unknown))}; there are {', '.join(names)}")
        return found

    return chosen


def _about() -> str:
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
        "Medians of interleaved repetitions; compare ratios, the times are of this machine.\n"
    )


if __name__ == "__main__":
    main()
