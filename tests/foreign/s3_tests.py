"""The public suite ceph/s3-tests, straight against a store and by a gateway over it: what is lost on the way?

``python tests/foreign/s3_tests.py CHECKOUT [--store moto|ceph|folder] [-k EXPRESSION]``. Nothing of the suite is here:
CHECKOUT is a copy of it, with its requirements installed (munch, pytz, requests). Tests about several users or buckets,
settings of buckets and forms are left out, see ``s3_tests_plugin.py``. A folder has no server of its own: its gateway
is compared with moto. The status is 1 when a test is lost that ``s3_tests_lost.txt`` does not name.
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
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))

from airflow_magnus.gateway.process import Gateway  # noqa: E402
from airflow_magnus.gateway.views import Folder, Origin, Prefix, View  # noqa: E402
from servers.ceph import ceph_server  # noqa: E402
from servers.s3 import S3Server  # noqa: E402

_LOST = HERE / "s3_tests_lost.txt"
_LINE = re.compile(r"(?P<test>\S+)(?: \[(?P<stores>[a-z, ]+)\])?\s+# .+")
_BELOW = "steps/manual__2026-10-01T00:00:00+00:00/.staging/a b/"
_BESIDE = (
    "aside.txt",
    "steps/manual__2026-10-01T00:00:00+00:00/.staging/a b.txt",
    "steps/manual/aside.txt",
)
_USER = "display_name = test\nuser_id = test\nemail = test@example.org\naccess_key = {key}\nsecret_key = {secret}\n"
_SECTIONS = ("s3 main", "s3 alt", "s3 tenant", "iam", "iam root", "iam alt root")


@dataclass(frozen=True)
class Outcome:
    """What came of one test; ``why``: the first line of what it failed with."""

    result: str
    why: str


Outcomes = dict[str, Outcome]


@dataclass(frozen=True)
class Target:
    """What the suite speaks to."""

    endpoint: str
    key: str
    secret: str
    bucket: str


class Suite:
    """The suite in a checkout.

    :param chosen: an expression for pytest's ``-k``; "" for all.
    """

    def __init__(self, checkout: Path, chosen: str) -> None:
        self._checkout, self._chosen = checkout, chosen
        # Older checkouts have two suites; the one in s3tests is for a client of the past.
        names = ("s3tests_boto3", "s3tests")
        packages = [name for name in names if (checkout / name / "functional").is_dir()]
        if not packages:
            raise SystemExit(f"{checkout} is no checkout of ceph/s3-tests")
        self._package = packages[0]

    def run(self, target: Target) -> Outcomes:
        """Run it."""
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder, "report.json")
            configuration = Path(folder, "s3tests.conf")
            configuration.write_text(_configuration(target))
            modules = [f"{self._package}/functional/{name}" for name in ("test_s3.py", "test_headers.py")]
            arguments = ["-p", "s3_tests_plugin", "-p", "no:cacheprovider", "-q", "--tb=short", "-rN"]
            done = subprocess.run(
                [sys.executable, "-m", "pytest", *arguments, "-k", self._chosen, *modules],
                cwd=self._checkout,
                env=_environment(folder)
                | {
                    "S3TEST_CONF": str(configuration),
                    "S3TESTS_PACKAGE": f"{self._package}.functional",
                    "S3TESTS_BUCKET": target.bucket,
                    "S3TESTS_REPORT": str(report),
                },
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode not in (0, 1):
                raise SystemExit(f"the suite did not run:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
            found = json.loads(report.read_text())
        return {test: Outcome(*outcome) for test, outcome in found.items()}


def main() -> int:
    """Run all of it; gives the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--store", choices=["moto", "ceph", "folder"], default="moto")
    parser.add_argument("-k", dest="chosen", default="")
    asked = parser.parse_args()
    suite = Suite(asked.checkout.resolve(), asked.chosen)
    with tempfile.TemporaryDirectory(prefix="foreign-", dir="/tmp") as folder:
        if asked.store == "ceph":
            with ceph_server(Path(folder)) as (server, _):
                direct, by_gateway = _straight(suite, server), _by_gateway(suite, server)
        else:
            with moto() as server:
                direct = _straight(suite, server)
                if asked.store == "moto":
                    by_gateway = _by_gateway(suite, server)
                else:
                    by_gateway = _through(suite, Folder(Path(folder, "out")))
    return _told(asked.store, direct, by_gateway)


def _straight(suite: Suite, server: S3Server) -> Outcomes:
    return suite.run(Target(server.endpoint, server.access_key, server.secret_key, server.make_bucket()))


def _by_gateway(suite: Suite, server: S3Server) -> Outcomes:
    """With objects beside the prefix, none of which may be seen or touched."""
    bucket, client = server.make_bucket(), server.client()
    for key in _BESIDE:
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    outcomes = _through(suite, Prefix(Origin.of(bucket, server.options), _BELOW))
    for key in _BESIDE:
        assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode(), f"{key} was touched"
    return outcomes


def _through(suite: Suite, out: View) -> Outcomes:
    with Gateway({}, out) as gateway:
        outcomes = suite.run(Target(gateway.endpoint, gateway.token, gateway.token, "out"))
        gateway.check()
    return outcomes


def _told(store: str, direct: Outcomes, by_gateway: Outcomes) -> int:
    """Print what was found; gives the exit status."""
    for name, outcomes in (("moto" if store == "folder" else store, direct), ("gateway", by_gateway)):
        results = [outcome.result for outcome in outcomes.values()]
        print(f"{name}: {results.count('passed')} passed, {results.count('failed')} failed")
    passed = {test for test, outcome in direct.items() if outcome.result == "passed"}
    lost = {test: by_gateway[test].why for test in passed if by_gateway[test].result == "failed"}
    won = {test for test in direct.keys() - passed if by_gateway[test].result == "passed"}
    listed = _listed(store)
    for title, tests in (
        ("lost", lost.keys() - listed),
        ("lost, and listed", lost.keys() & listed),
        ("listed, and not lost", (listed & by_gateway.keys()) - lost.keys()),
        ("passed by the gateway alone", won),
    ):
        if tests:
            print(f"{title}:")
            print("\n".join(f"  {test}  {lost.get(test, '')}".rstrip() for test in sorted(tests)))
    return 1 if lost.keys() - listed else 0


def _listed(store: str) -> set[str]:
    """The tests that may be lost over a store."""
    found = set()
    for line in _LOST.read_text().splitlines():
        if line and not line.startswith("#"):
            match = _LINE.fullmatch(line)
            if match is None:
                raise SystemExit(f"{_LOST.name}: a test id, perhaps [stores], and # why: {line!r}")
            if match["stores"] is None or store in match["stores"].replace(" ", "").split(","):
                found.add(match["test"])
    return found


def _configuration(target: Target) -> str:
    parts = urlsplit(target.endpoint)
    user = _USER.format(key=target.key, secret=target.secret)
    sections = "".join(f"[{name}]\n{user}tenant = test\n" for name in _SECTIONS)
    return f"[DEFAULT]\nhost = {parts.hostname}\nport = {parts.port}\nis_secure = no\n[fixtures]\n{sections}"


def _environment(folder: str) -> dict[str, str]:
    """The environment without what would give clients other keys."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "S3TEST"))}
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH", "")]))
    none = {name: str(Path(folder, "none")) for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")}
    return {**plain, **none, "AWS_EC2_METADATA_DISABLED": "true", "PYTHONPATH": path}


@contextmanager
def moto() -> Iterator[S3Server]:
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield S3Server(f"http://{host}:{port}", "test-access", "test-secret")
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
