"""The S3 endpoint around code that is no step of a pipeline, and steps of DAGs that are written by hand."""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3  # noqa: TID253 - a client of the endpoint is what is tested
import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import DAG, BaseOperator

from airflow_magnus import EndOfRun, StepMixin, StepSettings, s3_endpoint
from airflow_magnus.errors import CatalogError, ConfigurationError, MagnusError
from airflow_magnus.runlog.records import RunLog
from fixtures_s3 import s3_client


class FunctionStep(StepMixin, PythonOperator):
    """A function as a step."""

    result_is_parameters = True


class CommandStep(StepMixin, BashOperator):
    """A command as a step."""


@pytest.fixture(autouse=True)
def _home(airflow_home: Path) -> None:
    """Airflow is set up."""


@pytest.fixture
def lab(
    moto_server: str, make_bucket: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Any]:
    """A bucket with files, that the connection ``lab`` opens, and a client of the real store."""
    bucket, client = make_bucket(), s3_client(moto_server)
    for key in ("in/a.txt", "in/sub/b.txt", "secret.txt"):
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    connection = {
        "conn_type": "aws",
        "login": "key",
        "password": "secret",
        "extra": {"endpoint_url": moto_server},
    }
    monkeypatch.setenv("AIRFLOW_CONN_LAB", json.dumps(connection))
    return bucket, client


def keys(client: Any, bucket: str, prefix: str = "") -> list[str]:
    return [item["Key"] for item in client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]


def copy_all() -> None:
    """What the block of a test does: all of ``lab`` to ``out``."""
    s3 = boto3.client("s3")
    for key in keys(s3, "lab"):
        s3.copy_object(Bucket="out", Key=f"copy of {key}", CopySource={"Bucket": "lab", "Key": key})


def test_block_finds_buckets_of_a_connection_and_leaves_its_results(lab: tuple[str, Any]) -> None:
    bucket, client = lab
    with s3_endpoint({"lab": f"s3://{bucket}/in"}, out=f"s3://{bucket}/results", conn_id="lab") as endpoint:
        assert os.environ["S3_ENDPOINT"] == endpoint.endpoint
        copy_all()
        assert keys(client, bucket, "results/copy") == [], "not before the block has ended"
    assert "S3_ENDPOINT" not in os.environ
    assert keys(client, bucket, "results/") == ["results/copy of a.txt", "results/copy of sub/b.txt"]
    body = client.get_object(Bucket=bucket, Key="results/copy of a.txt")["Body"].read()
    assert body == b"in/a.txt"


def test_block_that_raises_leaves_nothing(lab: tuple[str, Any]) -> None:
    bucket, client = lab

    def fail() -> None:
        with s3_endpoint({"lab": f"s3://{bucket}/in"}, out=f"s3://{bucket}/results", conn_id="lab"):
            copy_all()
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        fail()
    assert keys(client, bucket, "results/") == []


def test_folders_as_input_and_output(tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "sub" / "a.txt").write_text("a")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "before.txt").write_text("before")
    with s3_endpoint({"lab": tmp_path / "in"}, out=tmp_path / "out") as endpoint:
        copy_all()
        boto3.client("s3").put_object(Bucket="out", Key="folder/", Body=b"")
        passed = {(p.action, p.bucket, p.key) for p in endpoint.passed()}
    assert {("read", "lab", "sub/a.txt"), ("write", "out", "copy of sub/a.txt")} <= passed
    found = {
        str(p.relative_to(tmp_path / "out")): p.read_text()
        for p in (tmp_path / "out").rglob("*")
        if p.is_file()
    }
    assert found == {"before.txt": "before", "copy of sub/a.txt": "a"}
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("no/such/folder", "there is no folder"),
        (
            {"bucket": "no-such-bucket", "conn_id": "lab"},
            "s3: bucket 'lab':.* 'no-such-bucket' does not exist",
        ),
        ({"files": "*.csv"}, "write pipeline, the id of a run, digest or bucket"),
        ({"run": "latest"}, "write pipeline, the id of a run, digest or bucket"),
        ({"bukket": "x"}, "bukket"),
        ({"bucket": "b", "conn_id": "nobody"}, "'nobody', which is not defined"),
    ],
)
def test_input_that_is_no_good(lab: tuple[str, Any], source: Any, said: str) -> None:
    with pytest.raises(MagnusError, match=said), s3_endpoint({"lab": source}):
        pytest.fail("the block must not run")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (({"Lab": "/tmp"},), '"Lab" cannot be a bucket'),
        ((["s3://lab"],), "a mapping of a bucket's name"),
        (({},), "a mapping of a bucket's name"),
        (({}, True), "only a step has a catalog"),
    ],
)
def test_arguments_that_are_no_good(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said), s3_endpoint(*arguments):
        pytest.fail("the block must not run")


def test_connection_counts_for_mappings_too(lab: tuple[str, Any]) -> None:
    with s3_endpoint({"lab": {"bucket": lab[0], "prefix": "in"}}, conn_id="lab"):
        assert keys(boto3.client("s3"), "lab") == ["a.txt", "sub/b.txt"]


def write_results() -> None:
    """Leave files by the bucket ``out``."""
    boto3.client("s3").put_object(Bucket="out", Key="results/a.txt", Body=b"alpha")


def read_results() -> dict[str, str]:
    """What lies in the bucket ``lab``."""
    return {"read": boto3.client("s3").get_object(Bucket="lab", Key="results/a.txt")["Body"].read().decode()}


def test_steps_of_a_dag_written_by_hand(run_dag: Callable[..., tuple[RunLog, dict[str, str]]]) -> None:
    with DAG("by_hand_s3", schedule=None) as dag:
        write = FunctionStep(
            task_id="write", python_callable=write_results, step=StepSettings(s3={"out": True})
        )
        read = FunctionStep(
            task_id="read",
            python_callable=read_results,
            step=StepSettings(s3={"inputs": {"lab": {"from": "results/**"}}}),
        )
        command = CommandStep(
            task_id="command",
            bash_command='test -n "$AWS_ENDPOINT_URL_S3" && test "$AWS_ACCESS_KEY_ID" = "$AWS_SECRET_ACCESS_KEY"',
            append_env=True,
            step=StepSettings(s3={"inputs": {"lab": {"from": ["results/**"]}}}),
        )
        write >> read >> command >> EndOfRun(task_id="end")
    log, states = run_dag(dag)
    assert set(states.values()) == {"success"}, states
    assert (log.status, log.parameters["read"]) == ("SUCCESS", "alpha")
    assert [(o.action, o.key) for o in log.steps["write"].objects] == [("write", "results/a.txt")]
    assert [e.name for e in log.steps["read"].data_catalog] == ["results/a.txt"]


def test_files_of_a_run_around_code_that_is_no_step(
    run_dag: Callable[..., tuple[RunLog, dict[str, str]]],
) -> None:
    with DAG("by_hand_source", schedule=None) as dag:
        write = FunctionStep(
            task_id="write", python_callable=write_results, step=StepSettings(s3={"out": True})
        )
        write >> EndOfRun(task_id="end")
    log, _ = run_dag(dag)
    digest = log.steps["write"].data_catalog[0].data_hash
    for source in ({"run": log.run_id}, {"pipeline": "by_hand_source"}, {"digest": digest}):
        with s3_endpoint({"lab": source}):
            assert read_results() == {"read": "alpha"}


def test_wrong_mapping_is_refused_where_the_dag_is_made() -> None:
    with (
        pytest.raises(ConfigurationError, match=r"s3\.inputs\.lab.*from is missing"),
        DAG("wrong", schedule=None),
    ):
        FunctionStep(task_id="t", python_callable=print, step=StepSettings(s3={"inputs": {"lab": {}}}))


class DeferringStep(StepMixin, BaseOperator):
    """Writes to ``out``, defers, writes again."""

    def execute(self, context: Any) -> None:
        s3 = boto3.client("s3")
        s3.put_object(Bucket="out", Key="before.txt", Body=b"before")
        s3.put_object(Bucket="out", Key="status.json", Body=b"half")
        self.defer(trigger=TimeDeltaTrigger(datetime.timedelta(seconds=0)), method_name="resumed")

    def resumed(self, context: Any, event: Any = None) -> None:
        s3 = boto3.client("s3")
        assert keys(s3, "out") == []
        s3.put_object(Bucket="out", Key="after.txt", Body=b"after")
        s3.put_object(Bucket="out", Key="status.json", Body=b"whole")


def test_what_was_written_before_a_deferral_is_not_lost(
    run_dag: Callable[..., tuple[RunLog, dict[str, str]]],
) -> None:
    with DAG("defers_s3", schedule=None) as dag:
        step = DeferringStep(task_id="only", step=StepSettings(s3={"out": True}))
        step >> EndOfRun(task_id="end")
    log, states = run_dag(dag)
    assert set(states.values()) == {"success"}, states
    only = log.steps["only"]
    puts = {entry.name: entry.size for entry in only.data_catalog}
    assert puts == {"after.txt": 5, "before.txt": 6, "status.json": 5}, "what was written last counts"
    assert sorted(o.key for o in only.objects) == ["after.txt", "before.txt", "status.json", "status.json"]
    assert len(only.attempts) == 1


def test_killed_block_is_cleared_up_by_the_next_one(tmp_path: Path, lab: tuple[str, Any]) -> None:
    bucket, client = lab
    code = """
import boto3, os, signal
from airflow_magnus import s3_endpoint
with s3_endpoint(out=os.environ["TARGET"], conn_id="lab"):
    boto3.client("s3").put_object(Bucket="out", Key="half.txt", Body=b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    target = f"s3://{bucket}/results"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "TARGET": target}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert any("half.txt" in key for key in keys(client, bucket, "results/"))
    with s3_endpoint(out=target, conn_id="lab"):
        assert not any("half.txt" in key for key in keys(client, bucket, "results/"))
    assert keys(client, bucket, "results/") == []


@pytest.mark.parametrize("key", ["a//b", "line\nbreak"])
def test_key_that_no_file_can_have_publishes_nothing(tmp_path: Path, key: str) -> None:
    def write() -> None:
        with s3_endpoint(out=tmp_path / "out"):
            s3 = boto3.client("s3")
            s3.put_object(Bucket="out", Key="good.txt", Body=b"good")
            s3.put_object(Bucket="out", Key=key, Body=b"bad")

    with pytest.raises(CatalogError):
        write()
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
