"""The contents tests of jupyter_server itself, run on our contents manager.

``python tests/foreign/jupyter_suite.py CHECKOUT [-k EXPRESSION] [--store moto|memory|ceph]``. Nothing of the suite is
here: CHECKOUT is an unpacked sdist (``pip download --no-deps --no-binary :all: jupyter_server``), and the Python that
runs this has what the suite needs beside this package (``jupyter_server[test]``, moto). The suite works on files of this
machine: ``jupyter_plugin.py`` keeps a folder and a prefix of a bucket alike. The status is 1 when a test fails that
``jupyter_failing.txt`` does not name.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))

from foreign.s3_tests import moto  # noqa: E402
from servers.ceph import ceph_server  # noqa: E402
from servers.memory import memory_server  # noqa: E402
from servers.s3 import S3Server  # noqa: E402

_FAILING = HERE / "jupyter_failing.txt"
_TESTS = "tests/services/contents"


@contextmanager
def _ceph(folder: Path) -> Iterator[S3Server]:
    with ceph_server(folder) as (server, _):
        yield server


_STORES = {"moto": lambda _: moto(), "memory": memory_server, "ceph": _ceph}


def main() -> int:
    """Run the suite; gives the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("-k", dest="chosen", default="")
    parser.add_argument("--store", choices=sorted(_STORES), default="moto")
    asked = parser.parse_args()
    if not (asked.checkout / _TESTS).is_dir():
        raise SystemExit(f"{asked.checkout} is no sdist of jupyter_server: it has no {_TESTS}")
    with tempfile.TemporaryDirectory() as folder, _STORES[asked.store](Path(folder)) as server:
        report = Path(folder, "report.json")
        environment = {
            "SUITE_S3_ENDPOINT": server.endpoint,
            "SUITE_S3_KEY": server.access_key,
            "SUITE_S3_SECRET": server.secret_key,
            "SUITE_S3_BUCKET": server.make_bucket(),
            "SUITE_REPORT": str(report),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH", "")])),
        }
        arguments = [
            "-p",
            "jupyter_plugin",
            "-p",
            "no:cacheprovider",
            "-q",
            "--tb=short",
            "--show-capture=no",
            # A test that copies 10,000 files has them put one by one first.
            "--timeout=900",
        ]
        subprocess.run(
            [sys.executable, "-m", "pytest", *arguments, "-k", asked.chosen, _TESTS],
            cwd=asked.checkout,
            env={**os.environ, **environment},
            check=False,
        )
        outcomes: dict[str, tuple[str, str]] = json.loads(report.read_text())
    return _told(outcomes)


def _told(outcomes: dict[str, tuple[str, str]]) -> int:
    results = [result for result, _ in outcomes.values()]
    print(
        f"{results.count('passed')} passed, {results.count('failed')} failed, {results.count('skipped')} skipped"
    )
    listed = [
        re.compile(line.partition("  #")[0])
        for line in _FAILING.read_text().splitlines()
        if line[:1] not in ("", "#")
    ]
    failed = {test: why for test, (result, why) in outcomes.items() if result == "failed"}
    unlisted = {test: why for test, why in failed.items() if not any(one.search(test) for one in listed)}
    for test, why in sorted(unlisted.items()):
        print(f"failed, and not listed: {test}  {why}")
    for one in listed:
        if any(one.search(test) for test in outcomes) and not any(one.search(test) for test in failed):
            print(f"listed, and passed: {one.pattern}")
    return 1 if unlisted else 0


if __name__ == "__main__":
    sys.exit(main())
