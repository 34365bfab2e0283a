"""A run that is killed at any of its requests: what can be read is whole, and the run goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract_writers import started_processes
from killed_runs import CHANGED, MADE, Bucket, check_whole, killed, walk
from servers.fault import FaultProxy, fault_proxy
from servers.s3 import S3Server


@pytest.fixture(params=["moto", pytest.param("ceph", marks=pytest.mark.external)])
def server(request: pytest.FixtureRequest) -> S3Server:
    found: S3Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def proxy(server: S3Server, tmp_path: Path) -> Iterator[FaultProxy]:
    with fault_proxy(server, tmp_path) as made:
        yield made


def test_a_run_that_is_killed_at_any_request_is_whole_and_goes_on(
    server: S3Server, proxy: FaultProxy, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    requests = _requests(server, proxy, tmp_path)
    assert len(requests) > 30
    # What is there changes with a write only: the state before a request is that after the last write.
    writes = [number for number, method in enumerate(requests, start=1) if method in ("PUT", "POST")]
    cases = [(number, at) for number in writes for at in ("after", "mid_upload")]
    if request.node.callspec.params["server"] == "moto":
        cases = cases[::6]  # Ceph is asked for all
    with started_processes() as start:
        for number, at in cases:
            bucket = Bucket(server, server.make_bucket())
            folder = tmp_path / f"{number}-{at}"
            rule = {"action": "kill", "nth": number, "at": at, "offset": 1_000, "forward": True, "max": 1}
            proxy.set_rules(rule)
            process = start(killed, Bucket(proxy.server, bucket.name), folder, tmp_path / "pgid")
            process.join(60)
            what = f"killed {at} request {number}, {requests[number - 1]}: {proxy.log(3)}"
            assert process.exitcode == -9, what
            check_whole(bucket)
            document = walk(bucket, folder, "next")
            check_whole(bucket)
            assert document.status == "SUCCESS", what
            assert {name: step.status for name, step in document.steps.items()} == dict.fromkeys(
                ("make", "change", "success"), "SUCCESS"
            )
            plain = {key: content for key, content in bucket.objects().items() if "/.versions/" not in key}
            assert plain == {f"catalog/run-1/{name}": c for name, c in {**MADE, **CHANGED}.items()}, what


def _requests(server: S3Server, proxy: FaultProxy, tmp_path: Path) -> list[str]:
    """The methods of the requests of a run that is left alone."""
    proxy.set_rules()
    walk(Bucket(proxy.server, server.make_bucket()), tmp_path / "whole", "first")
    return [entry["method"] for entry in proxy.log(1_000)]
