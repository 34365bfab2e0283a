"""Every file of dags_examples runs on a real Airflow, and looks there as it should."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from servers.airflow import AirflowServer
from system.pictures import add_connection, signed_in, take

pytestmark = pytest.mark.external

EXAMPLES = Path(__file__).parents[2] / "dags_examples"
FAULTY = """\
dag:
  start_at: fetch
  steps:
    fetch:
      type: task
      command_type: shell
      comand: curl https://example.org/orders
      next: sucess
    success: {type: success}
    fail: {type: fail}
"""
RUNS = {
    "getting-started": {"x": 3},
    "parameters": {},
    "catalog-on-s3": {},
    "secrets": {},
    "notebook": {},
    "failure-handling": {},
    "handwritten": {},
}


@pytest.fixture(scope="module")
def examples(airflow: AirflowServer, moto_server: str) -> Iterator[AirflowServer]:
    """Airflow with the examples, a faulty pipeline, and the connection that one of them names."""
    folder = airflow.dags / "examples"
    shutil.copytree(EXAMPLES, folder)
    (folder / "pipelines" / "faulty.yaml").write_text(FAULTY)
    airflow.call(
        "POST",
        "/api/v2/connections",
        {
            "connection_id": "magnus_s3_catalog",
            "conn_type": "magnus_catalog",
            "host": "s3://examples/catalog",
            "login": "key",
            "password": "secret",
            "extra": json.dumps({"endpoint_url": moto_server, "region": "eu-west-1"}),
        },
    )
    yield airflow
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def runs(examples: AirflowServer, make_examples_bucket: None) -> dict[str, str]:
    """DAG id → run id of a run that has ended; all go at the same time."""
    started = {dag_id: examples.trigger(dag_id, conf) for dag_id, conf in RUNS.items()}
    for dag_id, run_id in started.items():
        examples.wait_for_run(dag_id, run_id, 240)
    return started


@pytest.fixture(scope="module")
def make_examples_bucket(moto_server: str) -> None:
    from fixtures_s3 import s3_client

    s3_client(moto_server).create_bucket(
        Bucket="examples", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )


@pytest.mark.parametrize("dag_id", list(RUNS))
def test_run_succeeds_when_example_is_triggered(
    examples: AirflowServer, runs: dict[str, str], dag_id: str
) -> None:
    assert examples.run_state(dag_id, runs[dag_id]) == "success", examples.task_states(dag_id, runs[dag_id])
    logs = list(examples.run_logs.glob(f"{dag_id}.*.json"))
    assert [json.loads(log.read_text())["status"] for log in logs] == ["SUCCESS"] * (
        2 if dag_id == "handwritten" else 1
    )


def test_run_log_tells_of_the_failure_when_it_was_handled(
    examples: AirflowServer, runs: dict[str, str]
) -> None:
    steps = examples.run_log(runs["failure-handling"])["steps"]
    assert [a["status"] for a in steps["fetch orders"]["attempts"]] == ["FAIL", "FAIL"]
    assert steps["take yesterday's"]["status"] == "SUCCESS"


def test_files_lie_in_the_bucket_when_catalog_is_on_s3(
    examples: AirflowServer, runs: dict[str, str], moto_server: str
) -> None:
    from fixtures_s3 import s3_client

    log = examples.run_log(runs["catalog-on-s3"])
    found = s3_client(moto_server).list_objects_v2(Bucket="examples", Prefix=f"catalog/{log['run_id']}/")
    put = [e["name"] for step in log["steps"].values() for e in step["data_catalog"] if e["stage"] == "put"]
    assert sorted(o["Key"].removeprefix(f"catalog/{log['run_id']}/") for o in found["Contents"]) == sorted(
        put
    )


def test_connection_test_says_what_it_did_when_pressed(
    examples: AirflowServer, make_examples_bucket: None
) -> None:
    connection = examples.call("GET", "/api/v2/connections/magnus_s3_catalog")
    body = {k: connection[k] for k in ("connection_id", "conn_type", "host", "login", "extra")} | {
        "password": "secret"
    }
    answer = examples.call("POST", "/api/v2/connections/test", body)
    assert answer["status"] is True, answer
    assert "wrote, read and deleted" in answer["message"]


def test_run_is_refused_when_pipeline_file_is_faulty(examples: AirflowServer) -> None:
    with pytest.raises(AssertionError, match="400"):
        examples.trigger("faulty")
    page = examples.call("GET", "/api/v2/dags/faulty/details")
    assert {tag["name"] for tag in page["tags"]} == {"magnus", "invalid"}
    assert "line 7, column 7" in page["doc_md"]
    assert "command" in page["doc_md"]


def test_ui_shows_runs_faults_and_form(
    examples: AirflowServer, runs: dict[str, str], tmp_path: Path, pictures: Callable[[Path], None]
) -> None:
    run = quote(runs["failure-handling"])
    with signed_in(examples.base_url, "admin", "admin") as page:
        take(
            page,
            f"{examples.base_url}/dags/failure-handling/runs/{run}",
            tmp_path / "handled.png",
            wait_for="fetch orders",
        )
        for text in ("on failure of fetch orders", "take yesterday's", "add up", "success", "fail"):
            assert page.get_by_text(text, exact=True).count(), text
        take(
            page,
            f"{examples.base_url}/dags/getting-started",
            tmp_path / "green.png",
            wait_for="step parameters",
        )
        take(
            page,
            f"{examples.base_url}/dags/faulty/tasks",
            tmp_path / "faults.png",
            wait_for="faulty (2 faults)",
        )
        assert page.get_by_text("line 7:").count()
        add_connection(page, examples.base_url, "Magnus catalog", tmp_path / "form.png")
        for text in ("URL", "Access key", "Secret key", "S3 bucket", "Role ARN"):
            assert page.get_by_text(text, exact=True).count(), text
    pictures(tmp_path)


@pytest.fixture
def pictures() -> Callable[[Path], None]:
    """Keeps the pictures where TEST_PICTURES says, for people to look at."""
    import os

    def keep(folder: Path) -> None:
        target = os.environ.get("TEST_PICTURES")
        if target:
            shutil.copytree(folder, target, dirs_exist_ok=True)

    return keep
