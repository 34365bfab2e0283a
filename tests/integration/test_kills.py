"""``magnus execute`` killed at its requests: every run log that can be read is whole, and a re-run takes the run up."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from killed_runs import CATALOG, RUN_LOG, Bucket, check_whole
from pipelines import function, linear, shell
from servers.fault import FaultProxy, fault_proxy
from servers.runner import Runner, command_runner
from servers.s3 import S3Server

ONE, BOTH, MANY = b"one\n", b"one\ntwo\n", b"".join(b"%d\n" % n for n in range(1, 20_001))
WHOLE = {hashlib.sha256(content).hexdigest() for content in (ONE, BOTH, MANY, b"5\n")}
AT = ("after", "mid_upload")


@pytest.fixture(params=["moto", pytest.param("ceph", marks=pytest.mark.external)])
def server(request: pytest.FixtureRequest) -> S3Server:
    if request.param == "moto":
        return S3Server(request.getfixturevalue("moto_server"), "test-access", "test-secret")
    found: S3Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def proxy(server: S3Server, tmp_path: Path) -> Iterator[FaultProxy]:
    with fault_proxy(server, tmp_path) as made:
        yield made


@pytest.fixture
def runner(server: S3Server, tmp_path: Path) -> Iterator[Runner]:
    keys = {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_DEFAULT_REGION": server.region,
    }
    (tmp_path / "home").mkdir()
    with command_runner(tmp_path / "home", tmp_path / "pgid", {**os.environ, **keys}) as made:
        yield made


def pipeline(bucket: Bucket) -> str:
    """Three steps that hand files and parameters on."""
    config = {"s3_bucket": bucket.name, "endpoint_url": bucket.server.endpoint}
    services = {
        "run_log_store": {"type": "s3", "config": {**config, "prefix": RUN_LOG}},
        "catalog": {"type": "s3", "config": {**config, "prefix": CATALOG}},
    }
    make = "mkdir -p data/sub; echo one > data/a.txt; seq 20000 > data/sub/b.txt"
    again = "echo two >> data/a.txt; echo $MAGNUS_PRM_y > data/y.txt"
    moves = {"get": ["**"], "put": ["**"]}
    steps = {
        "make": shell(make, catalog={"put": ["**"]}),
        "change": function("lambda x: {'y': x + 1}", catalog=moves),
        "again": shell(again, catalog=moves),
    }
    return linear(steps, parameters={"x": 4}, **services)


def test_a_command_that_is_killed_at_any_request_is_taken_up_by_a_rerun(
    server: S3Server, proxy: FaultProxy, runner: Runner, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    proxy.set_rules()
    first = _project(server, proxy, tmp_path / "whole")
    code, _, err = runner.run(first, "execute", "-f", "pipeline.yaml", "--run-id", "first")
    assert code == 0, err
    # What is there changes with a write only: the state before a request is that after the last write.
    writes = [number for number, e in enumerate(proxy.log(1_000), start=1) if e["method"] in ("PUT", "POST")]
    assert len(writes) > 15
    cases = [(number, at) for index, number in enumerate(writes) for at in (AT if index % 5 == 0 else AT[:1])]
    # Each costs two commands; tests/contract/test_kills.py, which costs less, is killed at all of them.
    cases = cases[7::7] if request.node.callspec.params["server"] == "moto" else cases[::2]
    for number, at in cases:
        folder = _project(server, proxy, tmp_path / f"killed-{at}-{number}")
        bucket = Bucket(server, (folder / "bucket").read_text())
        proxy.set_rules({"action": "kill", "nth": number, "at": at, "offset": 500, "forward": True, "max": 1})
        code, _, err = runner.run(folder, "execute", "-f", "pipeline.yaml", "--run-id", "first")
        what = f"killed {at} request {number}: {proxy.log(3)}, {err}"
        assert code == -9, what
        check_whole(bucket, WHOLE)
        again = ["execute", "-f", "pipeline.yaml", "--run-id", "second"]
        if bucket.run_log().run_ids():
            again += ["--use-cached", "first"]
        code, out, err = runner.run(folder, *again)
        assert code == 0, f"{what}; then: {err}"
        check_whole(bucket, WHOLE)
        log = json.loads(out)
        assert log["status"] == "SUCCESS", what
        assert (log["parameters"]["x"], log["parameters"]["y"]) == (4, 5)
        plain = {key: c for key, c in bucket.objects().items() if key.startswith(f"{CATALOG}/second/")}
        assert {key: c for key, c in plain.items() if "/.versions/" not in key} == {
            f"{CATALOG}/second/{name}": content
            for name, content in {"a.txt": BOTH, "sub/b.txt": MANY, "y.txt": b"5\n"}.items()
        }, what


def _project(server: S3Server, proxy: FaultProxy, folder: Path) -> Path:
    """A folder with the pipeline, over an empty bucket that is reached through the proxy."""
    folder.mkdir()
    bucket = server.make_bucket()
    (folder / "bucket").write_text(bucket)
    (folder / "pipeline.yaml").write_text(pipeline(Bucket(proxy.server, bucket)))
    return folder
