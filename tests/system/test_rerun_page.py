"""From a failed run to its re-run, by the pages of a real Airflow; run log and catalog lie in S3, by connections."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from pipelines import function, linear, shell
from servers.airflow import AirflowServer
from system.pictures import signed_in

pytestmark = pytest.mark.external

DAG_ID = "orders-report"
CONNECTIONS = "connections: {run_log: rerun_run_log, catalog: rerun_catalog}\n"
DAG_FILE = "# a DAG of Airflow\nfrom airflow_magnus import load_pipelines\n\nload_pipelines('.', globals())\n"


@dataclass(frozen=True)
class Failed:
    """A run that failed.

    :param mended: a file with which its step succeeds.
    """

    run_id: str
    mended: Path

    @property
    def path(self) -> str:
        """Of the page of its re-run, as the link has it but for the query."""
        return f"/magnus/rerun/{DAG_ID}/{quote(self.run_id, safe='')}"


def _pipeline(mended: Path) -> str:
    check = f"test -e {mended} || {{ echo 'the orders of 12 March are missing' >&2; exit 4; }}"
    steps = {
        "fetch orders": shell(
            "mkdir -p data/raw; head -c 3400000 /dev/zero > data/raw/orders.csv; echo eu > data/raw/region.txt",
            catalog={"put": ["raw/*"]},
        ),
        "choose currency": function("lambda: {'currency': 'EUR'}"),
        "clean orders": shell(
            "mkdir -p data/clean; cp data/raw/orders.csv data/clean/orders.csv",
            catalog={"get": ["raw/orders.csv"], "put": ["clean/*"]},
        ),
        "fit model": shell(check, catalog={"get": ["clean/*"]}),
        "write report": shell("cat data/raw/region.txt", catalog={"get": ["raw/region.txt"]}),
    }
    return CONNECTIONS + linear(steps)


@pytest.fixture(scope="module")
def failed(
    airflow: AirflowServer, moto_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Failed]:
    """A run that failed in its fourth step."""
    from fixtures_s3 import s3_client

    s3_client(moto_server).create_bucket(
        Bucket="reruns", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    for service in ("run_log", "catalog"):
        connection = {
            "connection_id": f"rerun_{service}",
            "conn_type": f"magnus_{service}",
            "host": f"s3://reruns/{service}",
            "login": "key",
            "password": "secret",
            "extra": json.dumps({"endpoint_url": moto_server, "region": "eu-west-1"}),
        }
        airflow.call("POST", "/api/v2/connections", connection)
    folder = airflow.dags / "rerun"
    folder.mkdir()
    mended = tmp_path_factory.mktemp("mended") / "orders"
    (folder / f"{DAG_ID}.yaml").write_text(_pipeline(mended))
    (folder / "pipelines.py").write_text(DAG_FILE)
    run_id = airflow.trigger(DAG_ID)
    assert airflow.wait_for_run(DAG_ID, run_id, 240) == "failed"
    yield Failed(run_id, mended)
    shutil.rmtree(folder)


def test_viewer_sees_the_plan_and_cannot_start_it(airflow: AirflowServer, failed: Failed) -> None:
    with signed_in(airflow.base_url, "vic", "vic") as page:
        page.goto(airflow.base_url + failed.path)
        assert page.locator("h1").inner_text() == "Re-run from failure"
        assert page.locator("button").count() == 0
        assert page.request.post(airflow.base_url + failed.path).status == 403


def test_who_is_not_signed_in_comes_to_the_page_by_the_sign_in(
    airflow: AirflowServer, failed: Failed
) -> None:
    with signed_in(airflow.base_url, "vic", "vic") as page:
        page.context.clear_cookies()
        page.goto(airflow.base_url + failed.path)
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", "admin")
        page.click("button[type=submit]")
        page.wait_for_selector("text=What a re-run does")
        assert page.get_by_role("button", name="Start the re-run").is_visible()


def test_failed_run_is_taken_up_by_the_link_and_the_page(
    airflow: AirflowServer, failed: Failed, tmp_path: Path
) -> None:
    path = f"/api/v2/dags/{DAG_ID}/dagRuns/{quote(failed.run_id)}/taskInstances/fail/links"
    assert airflow.call("GET", path)["extra_links"]["Re-run from failure"].startswith(failed.path)
    with signed_in(airflow.base_url, "admin", "admin") as page:
        faults: list[str] = []
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.goto(f"{airflow.base_url}/dags/{DAG_ID}/runs/{quote(failed.run_id, safe='')}/tasks/fail/details")
        link = page.get_by_role("link", name="Re-run from failure")
        link.wait_for(timeout=30_000)
        page.screenshot(path=tmp_path / "link.png")
        faults.clear()
        link.click()
        page.wait_for_selector("text=What a re-run does")
        assert urlsplit(page.url).path == failed.path
        said = re.sub(r"\s+", " ", page.inner_text("main"))
        assert "Step fit model failed" in said
        assert "5 steps: 2 to restore, 1 to skip, 2 to run; 3 files, 6.8 MB to be copied" in said
        _take_pictures(page, tmp_path)
        failed.mended.touch()
        page.click("text=Start the re-run")
        page.wait_for_url(re.compile(rf"/dags/{DAG_ID}/runs/manual"))
        assert faults == []
        new = _newest(airflow)
        assert airflow.wait_for_run(DAG_ID, new["dag_run_id"], 240) == "success"
        page.reload()
        page.wait_for_timeout(3000)
        page.screenshot(path=tmp_path / "new-run.png")
        _keep(tmp_path)
    assert new["dag_run_id"] != failed.run_id
    assert (new["triggered_by"], new["triggering_user_name"]) == ("ui", "admin")
    assert list(new["conf"]) == ["use_cached"]
    assert "restore  fetch orders     it succeeded  (2 files, 3.4 MB)\n" in new["note"]
    assert "run      write report     it follows 'fit model'\n" in new["note"]
    log = _run_log(airflow, new["dag_run_id"])
    assert log["original_run_id"] == new["conf"]["use_cached"]
    assert [name for name, step in log["steps"].items() if step["mock"]] == [
        "fetch orders",
        "choose currency",
        "clean orders",
    ]


def test_there_is_no_link_when_the_run_succeeded(airflow: AirflowServer, failed: Failed) -> None:
    failed.mended.touch()
    run_id = airflow.trigger(DAG_ID)
    assert airflow.wait_for_run(DAG_ID, run_id, 240) == "success"
    path = f"/api/v2/dags/{DAG_ID}/dagRuns/{quote(run_id)}/taskInstances/fail/links"
    assert airflow.call("GET", path)["extra_links"]["Re-run from failure"] is None


def _newest(airflow: AirflowServer) -> dict[str, Any]:
    answer = airflow.call("GET", f"/api/v2/dags/{DAG_ID}/dagRuns?order_by=-id&limit=1")
    return dict(answer["dag_runs"][0])


def _run_log(airflow: AirflowServer, run_id: str) -> dict[str, Any]:
    from fixtures_s3 import s3_client

    connection = airflow.call("GET", "/api/v2/connections/rerun_run_log")
    client = s3_client(json.loads(connection["extra"])["endpoint_url"])
    name = re.sub(r"[^A-Za-z0-9_.=@-]+", "-", f"{DAG_ID}.{run_id}")
    return dict(json.load(client.get_object(Bucket="reruns", Key=f"run_log/{name}.json")["Body"]))


def _take_pictures(page: Any, folder: Path) -> None:
    """The page in four forms: two widths, light and dark."""
    for width in (1280, 400):
        for scheme in ("light", "dark"):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(300)
            page.screenshot(path=folder / f"rerun-{width}-{scheme}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.set_viewport_size({"width": 1280, "height": 900})


def _keep(folder: Path) -> None:
    target = os.environ.get("TEST_PICTURES")
    if target:
        shutil.copytree(folder, target, dirs_exist_ok=True)
