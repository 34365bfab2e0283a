"""Secrets: handed out, masked, and stored nowhere. Contract 22."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.runlog.records import RunLog
from fixtures_s3 import s3_client
from pipelines import linear, only, python, shell

Execute = Callable[..., RunLog]
Magnus = Callable[..., tuple[int, str, str]]
SECRET = 'pa$$"w0rd#/=ü'
DOTENV = {"type": "dotenv"}


@pytest.fixture
def code(project: Path) -> Path:
    """A dotenv file, and code that uses it in every wrong way."""
    (project / ".env").write_text(
        f"# a comment\n\nexport QUOTED='{SECRET}'\nPLAIN=a=b\nSHORT=abc\nEMPTY=\nMULTI=\"line one\\nline two\"\n"
    )
    (project / "work.py").write_text(
        "import logging, magnus, os\n"
        "def read():\n"
        "    found = magnus.get_secret()\n"
        "    return {'names': sorted(found), 'lengths': [len(found[n]) for n in sorted(found)]}\n"
        "def shout():\n"
        "    secret = magnus.get_secret('QUOTED')\n"
        "    print('printed', secret)\n"
        "    logging.getLogger('user').warning('logged %s', secret)\n"
        "    os.system('true')\n"
        "def give(): return {'x': {'deep': ['in ' + magnus.get_secret('QUOTED') + ' text']}}\n"
        "def store(): magnus.store_parameter(x=magnus.get_secret('QUOTED'))\n"
        "def track(): magnus.track_this(x=magnus.get_secret('QUOTED'))\n"
        "def by_environment(): os.environ['MAGNUS_PRM_x'] = magnus.get_secret('QUOTED')\n"
        "def as_name(): return {magnus.get_secret('QUOTED').replace('=', ''): 1} and {'x': {magnus.get_secret('QUOTED'): 1}}\n"
        "def short(): return {'x': magnus.get_secret('SHORT')}\n"
        "def fail(): raise RuntimeError('with ' + magnus.get_secret('QUOTED'))\n"
        "def unknown(): magnus.get_secret('NONE')\n"
        "def multi(): raise RuntimeError(magnus.get_secret('MULTI'))\n"
    )
    return project


def everything_below(folder: Path) -> str:
    """All that a run has written, but for what the test itself wrote."""
    return "".join(
        p.read_text(errors="replace")
        for p in folder.rglob("*")
        if p.is_file() and p.name != ".env" and p.suffix not in (".pyc", ".py")
    )


def test_dotenv_is_read_in_the_usual_syntax(execute: Execute, code: Path) -> None:
    log = execute(only(python("work.read"), secrets=DOTENV))
    assert log.parameters == {
        "names": ["EMPTY", "MULTI", "PLAIN", "QUOTED", "SHORT"],
        "lengths": [0, 17, 3, len(SECRET), 3],
    }


@pytest.mark.parametrize("call", ["shout", "fail", "unknown", "multi"])
def test_secret_is_nowhere_to_be_seen(magnus: Magnus, code: Path, call: str) -> None:
    (code / "pipeline.yaml").write_text(only(python(f"work.{call}"), secrets=DOTENV))
    _, out, err = magnus("execute", "--log-level", "INFO")
    for text in (out, err, everything_below(code)):
        assert SECRET not in text
        assert json.dumps(SECRET)[1:-1] not in text
        assert "line two" not in text
    if call == "shout":
        assert "printed ***" in err
    if call == "unknown":
        assert "no secret 'NONE'" in out
        assert "MULTI, PLAIN, QUOTED" in out


def test_secret_is_masked_in_what_the_command_prints(code: Path) -> None:
    (code / "pipeline.yaml").write_text(only(python("work.shout"), secrets=DOTENV))
    command = [sys.executable, "-m", "airflow_magnus", "execute", "--log-level", "INFO"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert SECRET not in done.stdout + done.stderr
    assert "printed ***" in done.stderr
    assert "logged ***" in done.stderr
    assert json.loads(done.stdout)["status"] == "SUCCESS"


@pytest.mark.parametrize("call", ["give", "store", "track", "by_environment", "as_name"])
def test_step_fails_when_it_would_store_a_secret(magnus: Magnus, code: Path, call: str) -> None:
    (code / "pipeline.yaml").write_text(only(python(f"work.{call}"), secrets=DOTENV))
    status, out, err = magnus("execute")
    assert status == 1
    message = RunLog.model_validate(json.loads(out)).steps["only"].attempts[0].message
    assert "'QUOTED'" in message
    assert "'x'" in message
    for text in (out, err, everything_below(code)):
        assert SECRET not in text
        assert json.dumps(SECRET)[1:-1] not in text


def test_short_secret_may_stand_in_a_parameter_by_chance(execute: Execute, code: Path) -> None:
    assert execute(only(python("work.short"), secrets=DOTENV)).parameters == {"x": "abc"}


def test_child_s_output_is_masked_too(magnus: Magnus, code: Path) -> None:
    command = "python3 -c \"import magnus; print('child says', magnus.get_secret('PLAIN') * 3)\"; exit 1"
    (code / ".env").write_text("PLAIN=long-enough-secret\n")
    (code / "pipeline.yaml").write_text(only(shell(command), secrets=DOTENV))
    status, out, err = magnus("execute", "--log-level", "INFO")
    assert status == 1
    assert "child says ***" in out
    assert "long-enough-secret" not in out + err + everything_below(code).replace(command, "")


def test_shell_step_is_given_no_secret(execute: Execute, code: Path) -> None:
    execute(only(shell("env > seen"), secrets=DOTENV))
    assert "w0rd" not in (code / "seen").read_text()


def test_nothing_is_asked_when_no_store_is_named(execute: Execute, code: Path) -> None:
    log = execute(only(python("work.read")))
    assert log.parameters == {"names": [], "lengths": []}


def test_step_fails_when_dotenv_file_is_missing(execute: Execute, code: Path) -> None:
    (code / ".env").unlink()
    log = execute(only(python("work.read"), secrets=DOTENV))
    assert ".env is not there" in log.steps["only"].attempts[0].message


def test_secret_comes_from_the_environment(
    execute: Execute, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "token-of-the-environment")
    (project / "work.py").write_text(
        "import magnus\ndef good(): return {'n': len(magnus.get_secret('TOKEN'))}\n"
        "def bad(): return {'x': magnus.get_secret('TOKEN')}\ndef none(): magnus.get_secret('OTHER')\n"
    )
    store = {"type": "env-secrets-manager"}
    assert execute(only(python("work.good"), secrets=store)).parameters == {"n": 24}
    assert execute(only(python("work.bad"), secrets=store)).status == "FAIL"
    assert "'OTHER'" in execute(only(python("work.none"), secrets=store)).steps["only"].attempts[0].message


def test_secret_comes_from_aws(
    execute: Execute, project: Path, moto_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = s3_client(moto_server, "secretsmanager")
    arn = client.create_secret(Name="of-pipelines", SecretString='{"TOKEN": "token-of-aws"}')["ARN"]
    monkeypatch.setenv("LAB_ID", "id")
    monkeypatch.setenv("LAB_KEY", "key")
    config: dict[str, Any] = {
        "secret_arn": arn, "use_credentials": True, "aws_access_key_name": "LAB_ID",
        "aws_secret_access_key_name": "LAB_KEY", "endpoint_url": moto_server,
    }  # fmt: skip
    (project / "work.py").write_text(
        "import magnus\ndef good(): return {'n': len(magnus.get_secret('TOKEN')), 'all': list(magnus.get_secret())}\n"
        "def bad(): return {'x': magnus.get_secret('TOKEN')}\n"
    )
    log = execute(
        linear({"good": python("work.good"), "bad": python("work.bad")},
               secrets={"type": "aws-secrets-manager", "config": config})
    )  # fmt: skip
    assert log.parameters == {"n": 12, "all": ["TOKEN"]}
    assert log.status == "FAIL"
    assert "token-of-aws" not in log.to_json()
