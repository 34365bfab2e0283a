"""The run log that the command prints and keeps, on every kind of store."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.runlog.records import RunLog
from fixtures_s3 import s3_client
from pipelines import function, linear, mapped, only, shell

Execute = Callable[..., RunLog]
Magnus = Callable[..., tuple[int, str, str]]
GETTING_STARTED = Path(__file__).resolve().parents[2] / "dags_examples" / "pipelines" / "getting-started.yaml"


def test_fields_are_those_of_seed_001_in_its_order(magnus: Magnus, project: Path) -> None:
    (project / "getting-started.yaml").write_text(GETTING_STARTED.read_text())
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a", "commit", "-qm", "a"],
    ):
        subprocess.run(["git", *command], check=True)
    code, out, _ = magnus("execute", "--file", "getting-started.yaml", "--x", "3")
    assert code == 0
    log = json.loads(out)
    assert out == json.dumps(log, indent=4) + "\n"
    assert list(log)[:9] == [
        "run_id", "dag_hash", "use_cached", "tag", "original_run_id", "status", "steps", "parameters", "run_config",
    ]  # fmt: skip
    assert log["dag_hash"] == "ce0676d63e99c34848484f2df1744bab8d45e33a"
    assert (log["use_cached"], log["tag"], log["original_run_id"], log["status"]) == (
        False,
        None,
        "",
        "SUCCESS",
    )
    assert list(log["steps"]) == ["step parameters", "step shell", "success"]
    for step in log["steps"].values():
        assert list(step)[:11] == [
            "name", "internal_name", "status", "step_type", "message", "mock", "code_identities", "attempts",
            "user_defined_metrics", "branches", "data_catalog",
        ]  # fmt: skip
        [attempt] = step["attempts"]
        assert list(attempt)[:6] == [
            "attempt_number", "start_time", "end_time", "duration", "status", "message",
        ]  # fmt: skip
        assert attempt["attempt_number"] == 0
        assert attempt["start_time"].endswith("+00:00")
        [identity] = step["code_identities"]
        assert list(identity) == [
            "code_identifier", "code_identifier_type", "code_identifier_dependable", "code_identifier_url",
            "code_identifier_message",
        ]  # fmt: skip
    [entry] = log["steps"]["step shell"]["data_catalog"]
    assert list(entry)[:5] == [
        "name", "data_hash", "catalog_relative_path", "catalog_handler_location", "stage",
    ]  # fmt: skip
    assert entry["catalog_relative_path"] == f"{log['run_id']}/data.txt"
    assert (entry["catalog_handler_location"], entry["stage"]) == (".catalog", "put")
    assert log["parameters"] == {"x": 4}
    assert list(log["run_config"]) == ["executor", "run_log_store", "catalog", "secrets"]
    assert log["run_config"]["secrets"] == {"type": "do-nothing", "config": {}}


def test_git_identity_is_clean_dirty_or_none(execute: Execute, project: Path) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a"]
        done = subprocess.run(["git", *identity, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    text = only(shell("true"))
    assert execute(text).steps["only"].code_identities == []
    git("init", "-q")
    (project / "work.py").write_text("1")
    git("add", "work.py")
    git("commit", "-qm", "first")
    git("remote", "add", "origin", "https://me:hunter2@example.org/repo.git")
    from airflow_magnus.operators.identity import git_identity

    git_identity.cache_clear()
    clean = execute(text)
    [identity] = clean.steps["only"].code_identities
    assert identity.code_identifier == git("rev-parse", "HEAD")
    assert identity.code_identifier_dependable is True
    assert identity.code_identifier_url == "https://example.org/repo.git"
    assert "hunter2" not in clean.to_json()
    git_identity.cache_clear()
    (project / "work.py").write_text("2")
    [identity] = execute(text).steps["only"].code_identities
    assert identity.code_identifier_dependable is False
    assert "work.py" in str(identity.code_identifier_message)
    git_identity.cache_clear()


def test_each_step_that_has_ended_is_told_on_standard_error(
    magnus: Magnus, execute: Execute, project: Path
) -> None:
    steps = {
        "make": function("lambda: {'items': ['n', 's']}"),
        "each": mapped({"one": shell("true")}),
        "flaky": shell("test -e tried || { touch tried; exit 1; }", retry=2),
        "bad": shell("exit 3", on_failure="repair"),
        "repair": {"type": "as-is"},
    }
    (project / "pipeline.yaml").write_text(linear(steps))
    code, out, err = magnus("execute", "--run-id", "first")
    assert code == 0
    told = [line.rsplit(" s", 1) for line in err.splitlines() if "Z [" not in line]
    assert [(line.rsplit("  ", 1)[0], rest) for line, rest in told] == [
        ("make  SUCCESS", ""), ("each.n.one  SUCCESS", ""), ("each.s.one  SUCCESS", ""), ("each  SUCCESS", ""),
        ("flaky  FAIL", ""), ("flaky  SUCCESS", "  attempt 2"), ("bad  FAIL", ""), ("repair  SUCCESS", ""),
    ]  # fmt: skip
    assert json.loads(out)["run_id"] == "first"
    code, out, err = magnus("execute", "--run-id", "second", "--quiet", "--use-cached", "first")
    assert (code, json.loads(out)["run_id"]) == (0, "second")
    assert [line for line in err.splitlines() if "Z [" not in line] == []
    err = magnus("execute", "--run-id", "third", "--use-cached", "first")[2]
    assert err.splitlines()[:2] == ["make  SUCCESS  not run", "each  SUCCESS  not run"]


def test_nothing_is_on_disk_when_run_log_is_buffered(execute: Execute, magnus: Magnus, project: Path) -> None:
    log = execute(
        linear({"a": function("lambda: {'x': 1}"), "b": shell("true")}, run_log_store={"type": "buffered"})
    )
    assert (log.status, log.parameters) == ("SUCCESS", {"x": 1})
    assert [p.name for p in project.rglob("*") if p.is_file()] == ["pipeline.yaml"]


def test_runs_are_listed_and_shown_from_a_database(execute: Execute, magnus: Magnus, project: Path) -> None:
    (project / ".env").write_text("DB_FILE=runs-of-the-lab.db\n")
    (project / "config.yaml").write_text(
        "run_log_store: {type: db, config: {connection_string: 'sqlite:///${DB_FILE}'}}\nsecrets: {type: dotenv}\n"
    )
    text = linear({"a": function("lambda: {'x': 1}"), "b": shell("exit 1")})
    good = execute(
        text.replace("exit 1", "exit 0"), "-c", "config.yaml", "--tag", "night", "--run-id", "good"
    )
    bad = execute(text, "-c", "config.yaml", "--run-id", "bad")
    assert (good.status, bad.status) == ("SUCCESS", "FAIL")
    assert (project / "runs-of-the-lab.db").exists()
    assert not (project / ".run_log_store").exists()
    assert "runs-of-the-lab" not in good.to_json()
    code, out, _ = magnus("runlog", "list", "-c", "config.yaml")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    started = [datetime.strptime(line.pop(2), "%Y-%m-%dT%H:%M:%S%z") for line in lines]
    assert lines == [["good", "SUCCESS", "pipeline", "night"], ["bad", "FAIL", "pipeline"]]
    assert [abs(datetime.now(UTC) - each) < timedelta(minutes=5) for each in started] == [True, True]
    code, out, _ = magnus("runlog", "show", "-c", "config.yaml", "bad")
    assert json.loads(out) == json.loads(bad.to_json())
    assert magnus("execute", "-c", "config.yaml", "--run-id", "bad")[0] == 2


def test_run_log_and_catalog_are_on_s3_with_the_options_of_seed_000(
    execute: Execute, magnus: Magnus, project: Path, make_bucket: Callable[..., str], moto_server: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    bucket = make_bucket()
    monkeypatch.setenv("LAB_ID", "id-of-the-lab")
    monkeypatch.setenv("LAB_KEY", "key-of-the-lab")
    config: dict[str, Any] = {
        "aws_profile": "", "use_credentials": True, "region": "eu-west-1", "aws_access_key_name": "LAB_ID",
        "aws_secret_access_key_name": "LAB_KEY", "aws_session_key_name": "LAB_TOKEN", "role_arn": "",
        "session_duration_in_seconds": 900, "s3_bucket": bucket, "endpoint_url": moto_server,
    }  # fmt: skip
    services = {
        "run_log_store": {"type": "s3", "config": {**config, "prefix": "logs"}},
        "catalog": {
            "type": "s3",
            "config": {**config, "prefix": "/cat/alog/", "compute_data_folder": "out/"},
        },
    }
    (project / "config.yaml").write_text(json.dumps(services))
    text = linear(
        {
            "a": shell("mkdir -p out/sub; echo 1 > out/sub/a.txt", catalog={"put": ["**"]}),
            "b": shell("test $(cat out/sub/a.txt) = 1; rm -r out", catalog={"get": ["sub/*"]}),
        }
    )
    log = execute(text, "-c", "config.yaml", "--run-id", "r1")
    assert log.status == "SUCCESS", log.steps
    client = s3_client(moto_server)
    keys = [o["Key"] for o in client.list_objects_v2(Bucket=bucket)["Contents"]]
    assert "cat/alog/r1/sub/a.txt" in keys
    assert "logs/r1.json" in keys
    assert log.steps["a"].data_catalog[0].catalog_handler_location == f"s3://{bucket}/cat/alog"
    assert "key-of-the-lab" not in log.to_json()
    code, out, _ = magnus("runlog", "show", "r1", "-c", "config.yaml")
    assert (code, json.loads(out)) == (0, json.loads(log.to_json()))
    assert {p.name for p in project.iterdir()} == {"config.yaml", "pipeline.yaml"}


def test_nothing_is_run_when_bucket_is_missing(
    magnus: Magnus, project: Path, moto_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    config = {"s3_bucket": "no-such-bucket", "endpoint_url": moto_server, "use_credentials": True}
    (project / "pipeline.yaml").write_text(
        only(shell("touch ran", catalog={"put": ["*"]}), catalog={"type": "s3", "config": config})
    )
    code, out, err = magnus("execute")
    assert (code, out) == (2, "")
    assert "bucket 'no-such-bucket' does not exist" in err
    assert not (project / "ran").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["runlog", "show", "none"], "no run 'none'"),
        (["runlog", "show", "../../etc/passwd"], "etc/passwd"),
        (["runlog", "list", "--conn-id", "no_such_connection"], "no_such_connection"),
        (["runlog", "list", "-c", "none.yaml"], "none.yaml"),
        (["execute", "-f", "none.yaml"], "none.yaml"),
        (["execute", "-f", "."], "is a folder"),
        (["execute", "-v", "none.yaml"], "none.yaml"),
        (["execute", "-p", "none.yaml"], "none.yaml"),
        (["execute", "-c", "none.yaml"], "none.yaml"),
        (["execute", "--use-cached", "none"], "no run 'none'"),
        (["show", "none.yaml"], "none.yaml"),
        (["validate", "none.yaml"], "none.yaml"),
        (["dags", "sync", "none", "dags"], "none"),
    ],
)  # fmt: skip
def test_command_is_refused_when_what_it_names_is_not_there(
    magnus: Magnus, project: Path, arguments: list[str], sentence: str
) -> None:
    (project / "pipeline.yaml").write_text(only(shell("true")))
    code, out, err = magnus(*arguments)
    assert code == 2
    assert sentence in err + out
    assert "Traceback" not in err


def test_list_is_empty_when_there_was_no_run(magnus: Magnus) -> None:
    assert magnus("runlog", "list")[:2] == (0, "")
