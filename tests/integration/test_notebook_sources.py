"""Notebooks that a step fetches: from the catalog of its run, or from a bucket."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.runlog.records import RunLog
from fixtures_s3 import s3_client
from pipelines import linear, notebook, only, shell, task

Execute = Callable[..., RunLog]
CELLS = ("x = 'default'", "import magnus\nmagnus.store_parameter(out=x)")


def message_of(log: RunLog, step: str = "only") -> str:
    assert log.status == "FAIL", log
    return log.steps[step].attempts[-1].message


@pytest.fixture
def lab(
    moto_server: str, make_bucket: Callable[..., str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Puts a notebook into a bucket that the connection lab opens; gives its URL."""
    bucket, client = make_bucket(), s3_client(moto_server)
    connection = {
        "conn_type": "aws",
        "login": "key",
        "password": "secret",
        "extra": {"endpoint_url": moto_server},
    }
    monkeypatch.setenv("AIRFLOW_CONN_LAB", json.dumps(connection))

    def put(key: str, *cells: str) -> str:
        path = project.parent / "made.ipynb"
        notebook(path, *cells, tags={0: ["parameters"]})
        client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
        return f"s3://{bucket}/{key}"

    return put


def test_a_notebook_of_the_catalog_runs_and_is_an_input(execute: Execute, project: Path) -> None:
    notebook(project / "draft.ipynb", *CELLS, tags={0: ["parameters"]})
    steps = {
        "make": shell(
            "mkdir -p data/reports && cp draft.ipynb data/reports/weekly.ipynb", catalog={"put": ["**"]}
        ),
        "run": task("catalog://reports/weekly.ipynb", "notebook"),
    }
    log = execute(linear(steps), "--x", "given", "--run-id", "r1")
    assert log.status == "SUCCESS", log.steps["run"].attempts
    assert log.parameters["out"] == "given"
    entries = [(e.stage, e.name) for e in log.steps["run"].data_catalog]
    assert entries == [("get", "reports/weekly.ipynb"), ("put", "weekly_out.ipynb")]
    assert not list(project.glob("**/magnus-notebook-*")), "what was fetched is removed"


def test_a_notebook_that_no_step_has_put_is_named_with_those_there_are(
    execute: Execute, project: Path
) -> None:
    steps = {
        "make": shell("mkdir -p data && echo '{}' > data/other.ipynb", catalog={"put": ["**"]}),
        "run": task("catalog://weekly.ipynb", "notebook"),
    }
    text = message_of(execute(linear(steps)), "run")
    assert (
        "no step before this one has put the notebook 'weekly.ipynb' into the catalog; notebooks there: other.ipynb"
        in text
    )


def test_a_notebook_of_a_bucket_runs_and_is_recorded_with_its_digest(
    execute: Execute, lab: Callable[..., str], project: Path
) -> None:
    url = lab("team a/weekly+.ipynb", *CELLS)
    step = task(url, "notebook", command_config={"conn_id": "lab"})
    log = execute(only(step), "--x", "given", "--run-id", "r1")
    assert log.status == "SUCCESS", log.steps["only"].attempts
    assert log.parameters["out"] == "given"
    (read,) = log.steps["only"].objects
    data = (project.parent / "made.ipynb").read_bytes()
    assert (read.action, read.key, read.source) == ("read", "team a/weekly+.ipynb", url)
    assert (read.size, read.data_hash) == (len(data), hashlib.sha256(data).hexdigest())
    assert [(e.stage, e.name) for e in log.steps["only"].data_catalog] == [("put", "weekly+_out.ipynb")]
    assert (project / ".catalog" / "r1" / "weekly+_out.ipynb").is_file()


@pytest.mark.parametrize(
    ("config", "key", "expected"),
    [
        ({"conn_id": "lab"}, "no.ipynb", "there is no notebook 's3://"),
        ({"conn_id": "none"}, "weekly.ipynb", "names the connection 'none', which is not defined"),
    ],
)
def test_a_notebook_that_is_not_there_says_what_to_do(
    execute: Execute, lab: Callable[..., str], config: dict[str, Any], key: str, expected: str
) -> None:
    url = lab("weekly.ipynb", *CELLS).replace("weekly.ipynb", key)
    assert expected in message_of(execute(only(task(url, "notebook", command_config=config))))


@pytest.mark.parametrize(
    "command",
    ["http://host/a.ipynb", "s3://bucket.ipynb", "s3:///a.ipynb", "catalog://../a.ipynb", "catalog://.ipynb"],
)
def test_other_places_are_refused_before_anything_runs(
    magnus: Callable[..., Any], project: Path, command: str
) -> None:
    (project / "p.yaml").write_text(only(task(command, "notebook")))
    code, _, err = magnus("execute", "--file", "p.yaml")
    assert code != 0
    assert f'"{command}" is no place of a notebook: write a path, s3://bucket/path/name.ipynb' in err
