"""S3 endpoints beside steps on a real scheduler: a killed task leaves nothing, and the next attempt goes well."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from servers.airflow import AirflowServer, parent_of, processes_with, wait_for

pytestmark = pytest.mark.external

LOADER = """\
# airflow dag
from airflow_magnus import load_pipelines

load_pipelines("endpoint-pipelines/", globals())
"""
CODE = """\
import os
import time
from pathlib import Path


def write(folder):
    import boto3

    attempt = "second" if Path(folder, "started").exists() else "first"
    boto3.client("s3").put_object(Bucket="out", Key=f"results/{attempt}.txt", Body=attempt.encode())
    if attempt == "first":
        Path(folder, "started").write_text(str(os.getpid()))
        time.sleep(120)


def read():
    import boto3

    s3 = boto3.client("s3")
    names = [item["Key"] for item in s3.list_objects_v2(Bucket="lab")["Contents"]]
    for name in names:
        s3.get_object(Bucket="lab", Key=name)["Body"].read()
    return {"names": names}
"""
PIPELINE = """\
parameters:
  folder: {folder}
dag:
  start_at: write
  steps:
    write:
      type: task
      command: endpoint_code.write
      s3: {{out: true}}
      retry: 2
      next: read
    read:
      type: task
      command: endpoint_code.read
      s3: {{inputs: {{lab: {{from: "results/*"}}}}}}
      next: success
    success: {{type: success}}
    fail: {{type: fail}}
"""


@pytest.fixture(scope="module")
def folder(airflow: AirflowServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the code of the step says that it waits."""
    made = tmp_path_factory.mktemp("endpoint")
    pipelines = airflow.dags / "endpoint-pipelines"
    pipelines.mkdir()
    (pipelines / "endpoint-killed.yaml").write_text(PIPELINE.format(folder=made))
    (pipelines / "endpoint_code.py").write_text(CODE)
    (airflow.dags / "endpoint_loader.py").write_text(LOADER)
    return made


def test_killed_task_leaves_nothing_and_its_retry_begins_anew(airflow: AirflowServer, folder: Path) -> None:
    run_id = airflow.trigger("endpoint-killed")
    wait_for(lambda: (folder / "started").exists() and bool((folder / "started").read_text()), "the step", 90)
    task = int((folder / "started").read_text())
    gateways = [pid for pid in processes_with("airflow_magnus.gateway") if parent_of(pid) == task]
    assert len(gateways) == 1
    os.kill(task, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{gateways[0]}").exists(), "the end of the gateway", 5)
    assert airflow.wait_for_run("endpoint-killed", run_id) == "success"
    log = airflow.run_log(run_id)
    assert [attempt["status"] for attempt in log["steps"]["write"]["attempts"]] == ["FAIL", "SUCCESS"]
    assert log["parameters"]["names"] == ["results/second.txt"]
    assert [entry["name"] for entry in log["steps"]["write"]["data_catalog"]] == ["results/second.txt"]
    assert [(o["action"], o["key"]) for o in log["steps"]["read"]["objects"]] == [
        ("read", "results/second.txt")
    ]
    catalog = airflow.home / "magnus" / "catalog"
    assert not [
        p for p in catalog.rglob("*") if p.is_file() and (".staging" in str(p) or ".staged" in str(p))
    ]
