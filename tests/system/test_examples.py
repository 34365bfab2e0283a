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
    "s3-endpoint": {},
    "secrets": {},
    "notebook": {},
    "failure-handling": {},
    "parallel": {},
    "map": {},
    "nested-map": {},
    "sub-pipeline": {},
    "conditional": {},
    "loop": {},
    "rerun": {"day": "2026-03-01"},
    "handwritten": {},
}
_ORDERS = [("north", 1), ("north", 3), ("south", 5), ("east", 6)]
"""Region and number of the orders that ``nested-map`` writes invoices for."""


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
        examples.wait_for_run(dag_id, run_id, 480)
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
    logs = [json.loads(log.read_text()) for log in examples.run_logs.glob(f"{dag_id}.*.json")]
    mine = [log["status"] for log in logs if log["scheduler"]["run_id"] == runs[dag_id]]
    assert mine == ["SUCCESS"] * (2 if dag_id == "handwritten" else 1)


def test_items_are_named_when_maps_are_nested(examples: AirflowServer, runs: dict[str, str]) -> None:
    found = examples.task_instances("nested-map", runs["nested-map"])
    labels = {
        (ti["task_id"].rpartition(".")[0], ti["rendered_map_index"]) for ti in found if ti["map_index"] >= 0
    }
    regions = {"north", "south", "east"}
    assert labels == (
        {("each-region.each", region) for region in regions}
        | {("each-region.each-2", region) for region in regions}
        | {("each-region.each-order.each", f"{region} / {n}") for region, n in _ORDERS}
    )


def test_only_what_failed_runs_when_run_is_taken_up(examples: AirflowServer) -> None:
    first = examples.trigger("rerun")
    assert examples.wait_for_run("rerun", first, 240) == "failed"
    inputs = examples.dags / "examples" / "pipelines" / "inputs"
    shutil.copy(inputs / "2026-03-01" / "south.csv", inputs / "2026-03-02")
    second = examples.trigger("rerun", {"use_cached": first})
    assert examples.wait_for_run("rerun", second, 240) == "success", examples.task_states("rerun", second)
    mapped = [ti for ti in examples.task_instances("rerun", second) if ti["map_index"] >= 0]
    assert {(ti["task_id"], ti["rendered_map_index"]) for ti in mapped} == {
        ("each-region.each.take-in", "south"),
        ("each-region.each.add-up", "south"),
    }


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
