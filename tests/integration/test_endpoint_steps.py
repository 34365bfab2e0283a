"""Steps with an S3 endpoint beside them: what they are given, what becomes of what they write, what the run log says."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.runlog.records import RunLog
from fixtures_s3 import s3_client
from pipelines import function, linear, mapped, notebook, only, python, shell, task

Execute = Callable[..., RunLog]
MAKE = shell(
    "mkdir -p data/results && printf one > data/results/a.txt && printf two > data/results/b.txt && printf x > data/c.bin",
    catalog={"put": ["**"]},
)
CODE = '''
import os
import boto3

def client():
    return boto3.client("s3")

def copy():
    """Copy all of the input to out."""
    s3 = client()
    for item in s3.list_objects_v2(Bucket="lab").get("Contents", []):
        body = s3.get_object(Bucket="lab", Key=item["Key"])["Body"].read()
        s3.put_object(Bucket="out", Key="copied/" + item["Key"], Body=body)

def names():
    """Names of all buckets and of what is in them."""
    s3 = client()
    buckets = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    return {"seen": {b: [o["Key"] for o in s3.list_objects_v2(Bucket=b).get("Contents", [])] for b in buckets}}

def head():
    return {"read": client().get_object(Bucket="lab", Key="results/a.txt", Range="bytes=1-1")["Body"].read().decode()}

def write_and_fail():
    client().put_object(Bucket="out", Key="half/result.txt", Body=b"half")
    raise RuntimeError("broken")

def write():
    client().put_object(Bucket="out", Key="a.txt", Body=b"by s3")

def environment():
    names = sorted(n for n in os.environ if n.startswith("AWS_") or n == "S3_ENDPOINT")
    assert os.environ["AWS_ACCESS_KEY_ID"] == os.environ["AWS_SECRET_ACCESS_KEY"]
    return {"names": names, "token": os.environ["AWS_ACCESS_KEY_ID"][:4]}
'''


LATE = """
import boto3, threading

def write():
    s3 = boto3.client("s3")
    s3.put_object(Bucket="out", Key="first", Body=b"x")

    def on_and_on():
        for number in range(400):
            try:
                s3.put_object(Bucket="out", Key=f"late-{number}", Body=b"x")
            except Exception:
                return

    threading.Thread(target=on_and_on, daemon=True).start()
"""


@pytest.fixture(autouse=True)
def _code(project: Path) -> None:
    (project / "lab_code.py").write_text(CODE)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def given(source: Any, command: str = "lab_code.names", **keys: Any) -> dict[str, Any]:
    """A step with the input ``lab``."""
    return python(command, s3={"inputs": {"lab": {"from": source}}}, **keys)


def seen(log: RunLog) -> list[str]:
    """What the function ``names`` has found in the bucket ``lab``."""
    found: list[str] = log.parameters["seen"]["lab"]
    return found


def test_files_of_the_run_come_in_and_what_is_written_becomes_files_of_the_catalog(
    execute: Execute, project: Path
) -> None:
    copy = python("lab_code.copy", s3={"inputs": {"lab": {"from": "results/**"}}, "out": True})
    look = shell("cat data/copied/results/*.txt > seen", catalog={"get": ["copied/**"]})
    log = execute(linear({"make": MAKE, "copy": copy, "look": look}), "--run-id", "r1")
    assert log.status == "SUCCESS", log.to_json()
    assert (project / "seen").read_text() == "onetwo"
    by_stage = {
        stage: {e.name: e.data_hash for e in log.steps["copy"].data_catalog if e.stage == stage}
        for stage in ("get", "put")
    }
    assert by_stage == {
        "get": {"results/a.txt": sha256("one"), "results/b.txt": sha256("two")},
        "put": {"copied/results/a.txt": sha256("one"), "copied/results/b.txt": sha256("two")},
    }
    run = project / ".catalog" / "r1"
    assert (run / "copied" / "results" / "a.txt").read_text() == "one", (
        "at its plain key when the run has ended"
    )
    assert not list(run.rglob("*.staging"))


def test_run_log_names_every_object_that_was_read_or_written(execute: Execute) -> None:
    copy = python("lab_code.copy", s3={"inputs": {"lab": {"from": "results/a*"}}, "out": True})
    log = execute(
        linear({"make": MAKE, "copy": copy, "head": given("**", "lab_code.head")}), "--run-id", "r1"
    )
    objects = {(o.action, o.bucket, o.key): o for o in log.steps["copy"].objects}
    assert sorted(objects) == [("read", "lab", "results/a.txt"), ("write", "out", "copied/results/a.txt")]
    read = objects["read", "lab", "results/a.txt"]
    assert (read.size, read.data_hash, read.ranges, read.times) == (3, sha256("one"), [], 1)
    assert read.source == ".catalog/r1/results/a.txt"
    [part] = log.steps["head"].objects
    assert (part.ranges, part.size, log.parameters["read"]) == ([(1, 1)], 3, "n")


def test_step_reads_only_what_it_was_given(execute: Execute) -> None:
    log = execute(linear({"make": MAKE, "look": given(["results/a*", "*.bin"])}))
    assert log.parameters["seen"] == {"lab": ["c.bin", "results/a.txt"]}


def test_pattern_that_matches_nothing_is_an_empty_bucket_and_a_message(execute: Execute) -> None:
    log = execute(linear({"make": MAKE, "look": given("nothing*")}))
    assert (log.status, seen(log)) == ("SUCCESS", [])
    assert "'nothing*' of bucket 'lab' matches nothing" in log.steps["look"].message


def test_files_of_another_run_of_this_pipeline(execute: Execute) -> None:
    text = linear({"look": given({"run": "latest"}), "make": MAKE})
    first = execute(text, "--run-id", "first")
    assert (first.status, seen(first)) == ("SUCCESS", [])
    assert "no earlier run of this pipeline has succeeded yet" in first.steps["look"].message
    assert seen(execute(text, "--run-id", "second")) == ["c.bin", "results/a.txt", "results/b.txt"]
    named = linear({"look": given({"run": "first", "files": "*.bin"}), "make": MAKE})
    third = execute(named, "--run-id", "third")
    assert seen(third) == ["c.bin"]


def test_latest_run_is_the_last_one_that_succeeded(execute: Execute) -> None:
    write = "mkdir -p data && printf {0} > data/{0} && exit {1}"

    def run(name: str, status: int) -> RunLog:
        text = linear(
            {
                "look": given({"run": "latest"}),
                "w": shell(write.format(name, status), catalog={"put": ["**"]}),
            }
        )
        return execute(text, "--run-id", name)

    run("good", 0)
    run("bad", 1)
    assert seen(run("third", 0)) == ["good"]


def test_files_of_another_pipeline(magnus: Callable[..., Any], execute: Execute, project: Path) -> None:
    (project / "source.yaml").write_text(linear({"make": MAKE}))
    text = linear({"look": given({"pipeline": "source", "files": ["results/**"]})})
    log = execute(text)
    assert log.status == "FAIL"
    assert "pipeline 'source'" in log.steps["look"].attempts[0].message
    assert "run that pipeline first" in log.steps["look"].attempts[0].message
    assert magnus("execute", "-f", "source.yaml", "--run-id", "s1")[0] == 0
    assert seen(execute(text)) == ["results/a.txt", "results/b.txt"]


def test_other_bytes_of_a_name_that_was_put_twice_are_those_of_its_record(execute: Execute) -> None:
    """The plain key of the first put holds the bytes of the second when the run has ended."""
    again = shell("printf changed > data/results/a.txt", catalog={"put": ["results/*"]})
    execute(linear({"make": MAKE, "again": again}), "--run-id", "twice")
    log = execute(only(given({"digest": sha256("one")}, "lab_code.head")))
    assert (log.status, log.parameters["read"]) == ("SUCCESS", "n")
    log = execute(only(given({"run": "twice"}, "lab_code.head")))
    assert log.parameters["read"] == "h"


def test_digest_that_nobody_has(execute: Execute) -> None:
    log = execute(only(given({"digest": "0" * 64})))
    message = log.steps["only"].attempts[0].message
    assert (log.status, "0" * 64 in message, "copy the digest from data_hash" in message) == (
        "FAIL",
        True,
        True,
    )


def test_run_that_is_not_there(execute: Execute) -> None:
    log = execute(only(given({"run": "no-such"})))
    assert "no run 'no-such'" in log.steps["only"].attempts[0].message


def test_what_a_failed_attempt_wrote_is_gone_and_its_retry_begins_with_an_empty_bucket(
    execute: Execute, project: Path
) -> None:
    log = execute(only(python("lab_code.write_and_fail", s3={"out": True}, retry=2)), "--run-id", "r1")
    assert (log.status, len(log.steps["only"].attempts)) == ("FAIL", 2)
    assert not [path for path in (project / ".catalog").rglob("*") if path.is_file()]
    assert not list((project / ".catalog").rglob("*.staging"))
    assert [(o.action, o.key) for o in log.steps["only"].objects] == [("write", "half/result.txt")]


def test_what_a_failed_attempt_wrote_is_kept_on_request(execute: Execute, project: Path) -> None:
    log = execute(
        only(python("lab_code.write_and_fail", s3={"out": True, "keep_failed": True})), "--run-id", "r1"
    )
    assert log.status == "FAIL"
    [kept] = [path for path in (project / ".catalog").rglob("*") if path.is_file()]
    assert (kept.read_text(), kept.name, kept.parent.parent.suffix) == ("half", "result.txt", ".failed")
    assert str(kept.parent.parent.relative_to(project)) in log.steps["only"].message
    assert not [e for e in log.steps["only"].data_catalog if e.stage == "put"]


def test_name_that_is_put_both_ways_fails_the_step(execute: Execute) -> None:
    step = python("lab_code.write", s3={"out": True}, catalog={"put": ["*.txt"]})
    make = shell("mkdir -p data && printf here > data/a.txt")
    log = execute(linear({"make": make, "both": step}))
    assert log.status == "FAIL"
    assert "lies in the bucket out too" in log.steps["both"].attempts[0].message


def test_child_and_function_have_the_token_and_no_other_way_to_a_store(
    execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):  # of the tests
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_ACCESS_KEY_ID"):
        monkeypatch.setenv(name, "real")
    child = shell("env | grep -E '^(AWS_|S3_)' | sed 's/=.*//' | sort > names", s3={"out": True})
    show = function("lambda: {'child': __import__('pathlib').Path('names').read_text().split()}")
    log = execute(
        linear({"f": python("lab_code.environment", s3={"out": True}), "child": child, "show": show})
    )
    assert log.status == "SUCCESS", log.to_json()
    expected = {
        "AWS_ACCESS_KEY_ID", "AWS_ALLOW_HTTP", "AWS_DEFAULT_REGION", "AWS_EC2_METADATA_DISABLED",
        "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_SECRET_ACCESS_KEY", "S3_ENDPOINT",
    }  # fmt: skip
    assert (set(log.parameters["names"]), set(log.parameters["child"])) == (expected, expected)
    assert log.parameters["token"] != "real"


def test_step_without_an_endpoint_keeps_its_environment(
    execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    log = execute(only(shell('echo MAGNUS $AWS_PROFILE; test -z "$S3_ENDPOINT" && test $AWS_PROFILE = mine')))
    assert log.status == "SUCCESS"


def test_each_item_of_a_map_has_buckets_of_its_own(execute: Execute) -> None:
    step = python("lab_code.copy", s3={"inputs": {"lab": {"from": "results/**"}}, "out": True})
    log = execute(linear({"make": MAKE, "each": mapped({"copy": step})}, parameters={"items": ["x", "y"]}))
    assert log.status == "SUCCESS", log.to_json()
    for branch in log.steps["each"].branches.values():
        [inner] = [step for step in branch.steps.values() if step.step_type == "task"]
        assert len(inner.objects) == 4


def test_bucket_of_a_connection(
    execute: Execute, moto_server: str, make_bucket: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, client = make_bucket(), s3_client(moto_server)
    for key in ("lab/results/a.txt", "lab/results/b.csv", "elsewhere.txt"):
        client.put_object(Bucket=bucket, Key=key, Body=b"one")
    connection = {
        "conn_type": "aws",
        "login": "key",
        "password": "secret",
        "extra": {"endpoint_url": moto_server},
    }
    monkeypatch.setenv("AIRFLOW_CONN_LAB", json.dumps(connection))
    source = {"bucket": bucket, "prefix": "lab", "conn_id": "lab"}
    assert seen(execute(only(given(source)))) == ["results/a.txt", "results/b.csv"]
    log = execute(only(given({**source, "files": "**/*.txt"}, "lab_code.head")))
    assert log.parameters["read"] == "n"
    [read] = log.steps["only"].objects
    assert (read.source, read.key) == (f"s3://{bucket}/lab/results/a.txt", "results/a.txt")
    assert not log.steps["only"].data_catalog


@pytest.mark.parametrize(
    ("conn_type", "said"), [("", "'lab', which is not defined"), ("http", "of type 'http' opens no bucket")]
)
def test_connection_that_is_no_good(
    execute: Execute, monkeypatch: pytest.MonkeyPatch, conn_type: str, said: str
) -> None:
    if conn_type:
        monkeypatch.setenv("AIRFLOW_CONN_LAB", json.dumps({"conn_type": conn_type}))
    log = execute(only(given({"bucket": "b", "conn_id": "lab"})))
    assert said in log.steps["only"].attempts[0].message
    assert log.steps["only"].attempts[0].message.startswith("ConfigurationError: s3: bucket 'lab': ")


def test_empty_prefix_is_a_message_and_a_changed_object_another_input(
    execute: Execute, magnus: Callable[..., Any], moto_server: str, make_bucket: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    bucket, client = make_bucket(), s3_client(moto_server)
    connection = {
        "conn_type": "aws",
        "login": "key",
        "password": "secret",
        "extra": {"endpoint_url": moto_server},
    }
    monkeypatch.setenv("AIRFLOW_CONN_LAB", json.dumps(connection))
    log = execute(only(given({"bucket": bucket, "prefix": "no/such", "conn_id": "lab"})))
    assert f"nothing lies below s3://{bucket}/no/such/" in log.steps["only"].message
    text = only(given({"bucket": bucket, "conn_id": "lab"}, "lab_code.head"))
    for run in ("d1", "d2"):
        client.put_object(Bucket=bucket, Key="results/a.txt", Body=f"one {run}".encode())
        assert execute(text, "--run-id", run).status == "SUCCESS"
    _, out, _ = magnus("runlog", "diff", "d1", "d2")
    assert f"s3://{bucket}/results/a.txt" in out
    assert "same inputs" not in out


def test_exceptions_from_the_proxy_are_kept(execute: Execute, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "example.com")
    monkeypatch.delenv("no_proxy", raising=False)
    wanted = "example.com,127.0.0.1,localhost"
    log = execute(
        only(shell(f'test "$NO_PROXY" = {wanted} && test "$no_proxy" = {wanted}', s3={"out": True}))
    )
    assert log.status == "SUCCESS"


def test_copy_inside_out_has_its_size_and_digest(execute: Execute) -> None:
    copy = function(
        "lambda: [s.copy_object(Bucket='out', Key='b', CopySource='out/a') and None for s in "
        "[__import__('boto3').client('s3')] if s.put_object(Bucket='out', Key='a', Body=b'one')][0]",
        s3={"out": True},
    )
    log = execute(only(copy), "--run-id", "r1")
    assert log.status == "SUCCESS", log.to_json()
    written = {o.key: o for o in log.steps["only"].objects if o.action == "write"}
    assert {(o.size, o.data_hash) for o in written.values()} == {(3, sha256("one"))}
    assert written["b"].source.endswith("/b")


def test_cached_step_knows_its_inputs_by_digest(execute: Execute) -> None:
    """Without code of its own, so that the code is known for sure."""
    command = "lambda: {'n': 1}"
    step = function(command, s3={"inputs": {"lab": {"from": "results/**"}}}, cache=True)
    text = linear({"make": MAKE, "look": step})
    assert execute(text, "--run-id", "r1").steps["look"].mock is False
    assert execute(text, "--run-id", "r2").steps["look"].mock is True
    changed = linear(
        {"make": shell(MAKE["command"].replace("one", "1"), catalog=MAKE["catalog"]), "look": step}
    )
    assert execute(changed, "--run-id", "r3").steps["look"].mock is False


def test_rerun_takes_over_what_was_written(execute: Execute, project: Path) -> None:
    copy = python("lab_code.copy", s3={"inputs": {"lab": {"from": "results/**"}}, "out": True})
    use = shell("test -f go && cat data/copied/results/a.txt > used", catalog={"get": ["copied/**"]})
    text = linear({"make": MAKE, "copy": copy, "use": use})
    assert execute(text, "--run-id", "r1").status == "FAIL"
    (project / "go").touch()
    log = execute(text, "--run-id", "r2", "--use-cached", "r1")
    assert (log.status, log.steps["copy"].mock) == ("SUCCESS", True)
    assert (project / "used").read_text() == "one"


def test_lost_input_of_an_endpoint_runs_the_step_again_that_put_it(execute: Execute, project: Path) -> None:
    look = given("results/**")
    text = linear({"make": MAKE, "gate": shell("test -f go"), "look": look})
    assert execute(text, "--run-id", "r1").status == "FAIL"
    (project / ".catalog" / "r1" / "results" / "a.txt").unlink()
    (project / "go").touch()
    log = execute(text, "--run-id", "r2", "--use-cached", "r1")
    assert (log.status, log.steps["make"].mock) == ("SUCCESS", False)
    assert seen(log) == ["results/a.txt", "results/b.txt"]


def test_notebook_reads_and_writes_by_its_endpoint(execute: Execute, project: Path) -> None:
    cells = [
        "import boto3\ns3 = boto3.client('s3')\nbody = s3.get_object(Bucket='lab', Key='results/a.txt')['Body'].read()",
        "s3.put_object(Bucket='out', Key='from-notebook.txt', Body=body.upper())",
    ]
    notebook(project / "n.ipynb", *cells)
    step = task("n.ipynb", "notebook", s3={"inputs": {"lab": {"from": "results/*"}}, "out": True})
    log = execute(linear({"make": MAKE, "note": step}), "--run-id", "r1")
    assert log.status == "SUCCESS", log.to_json()
    assert (project / ".catalog" / "r1" / "from-notebook.txt").read_text() == "ONE"


def test_pod_has_no_endpoint_beside_it(magnus: Callable[..., Any], project: Path) -> None:
    executor = {"type": "k8s-job", "config": {"docker_image": "tools:1"}}
    (project / "p.yaml").write_text(only(shell("true", s3={"out": True}), executor=executor))
    code, _, err = magnus("execute", "-f", "p.yaml")
    assert code != 0
    assert "s3 cannot stand beside a pod" in err


def test_people_are_told_of_the_buckets(magnus: Callable[..., Any], project: Path) -> None:
    (project / "p.yaml").write_text(
        only(
            shell(
                "true",
                s3={"inputs": {"lab": {"from": {"pipeline": "source", "files": "*.csv"}}}, "out": True},
            )
        )
    )
    code, out, _ = magnus("show", "p.yaml")
    assert code == 0
    assert "s3 s3://lab (*.csv of the latest run of source), s3://out" in out


def test_run_that_goes_on_is_no_source(execute: Execute, project: Path) -> None:
    """It reads its own id, which goes on, as that of another run."""
    log = execute(only(given({"run": "r1"})), "--run-id", "r1")
    assert "which has not ended" in log.steps["only"].attempts[0].message


def test_recorded_input_that_is_gone_fails_what_lists_it(execute: Execute, project: Path) -> None:
    remove = function(
        "lambda: [p.unlink() for p in __import__('pathlib').Path('.catalog').rglob('a.txt')] and None"
    )
    log = execute(linear({"make": MAKE, "remove": remove, "look": given("**")}), "--run-id", "r1")
    assert log.status == "FAIL"
    assert "its file is gone from the catalog" in log.steps["look"].attempts[0].message


def test_missing_extra_is_named(execute: Execute, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "aiohttp" else find(name, *more)
    )
    log = execute(only(shell("true", s3={"out": True})))
    assert "airflow-provider-magnus[gateway]" in log.steps["only"].attempts[0].message


def test_process_of_the_task_does_not_load_what_serves() -> None:
    code = "import sys, airflow_magnus.operators.endpoint; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_write_that_outlives_the_command_is_noted_or_refused(execute: Execute, project: Path) -> None:
    """The run log's objects and the catalog say the same, whenever the last write came."""
    (project / "late.py").write_text(LATE)
    log = execute(only(python("late.write", s3={"out": True})), "--run-id", "r1")
    assert log.status == "SUCCESS", log.to_json()
    puts = {entry.name for entry in log.steps["only"].data_catalog if entry.stage == "put"}
    written = {o.key for o in log.steps["only"].objects if o.action == "write"}
    assert puts == written
    assert "first" in puts
