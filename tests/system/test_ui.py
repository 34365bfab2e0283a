"""The pages where people look for them: in a real Airflow, by a browser. Takes the pictures of the documentation."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pipelines import function, linear, mapped, parallel, shell
from servers.airflow import AirflowServer, wait_for
from system.pictures import signed_in

pytestmark = pytest.mark.external

DAG_ID = "orders-daily"
READER = "newsletter"
DAG_FILE = "# a DAG of Airflow\nfrom airflow_magnus import load_pipelines\n\nload_pipelines('.', globals())\n"
FETCH = 'mkdir -p data/raw; for r in eu us asia; do (echo order,region,total; seq -f "%g,$r,19.90" 1 400) > data/raw/$r.csv; done'
CLEAN = "r=$(echo $MAGNUS_PRM_MAP_VARIABLE | cut -d'\"' -f4); mkdir -p data/clean; grep -v ',0$' data/raw/$r.csv > data/clean/$r.csv"
REPORT = "(echo region,orders; for f in data/clean/*.csv; do echo $(basename $f .csv),$(wc -l < $f); done) > data/report.csv"
CHECK = "test $MAGNUS_PRM_threshold -le 500 || { echo 'only 400 orders, and 900 were expected' >&2; exit 4; }"


@dataclass(frozen=True)
class Runs:
    """Ids of two DAG runs."""

    good: str
    bad: str

    def path(self, run_id: str) -> str:
        """Of a run in an address."""
        return f"{DAG_ID}/{quote(run_id, safe='')}"


def _pipeline() -> str:
    branch = {"clean": shell(CLEAN, catalog={"get": ["raw/*"], "put": ["clean/*"]})}
    steps = {
        "fetch orders": shell(FETCH, catalog={"put": ["raw/*"]}),
        "choose currency": function("lambda: {'currency': 'EUR'}"),
        "each region": mapped(branch, over="regions", name="region"),
        "check totals": shell(CHECK, catalog={"get": ["raw/*"]}),
        "write": parallel(
            {
                "report": {"sum up": shell(REPORT, catalog={"get": ["clean/*"], "put": ["report.csv"]})},
                "summary": {
                    "describe": shell(
                        'echo \'{"orders": 1200, "currency": "EUR"}\' > data/summary.json || exit 1',
                        catalog={"get": ["clean/*"], "put": ["summary.json"]},
                    )
                },
            }
        ),
        "publish": shell("wc -c data/report.csv", catalog={"get": ["report.csv", "summary.json"]}),
    }
    parameters = {"regions": ["eu", "us", "asia"], "threshold": 100}
    airflow = {"description": "Orders of the day, by region"}
    return linear(steps, parameters=parameters, airflow=airflow)


@pytest.fixture(scope="module")
def runs(airflow: AirflowServer) -> Iterator[Runs]:
    """A run that succeeded, then one that failed; and a pipeline that waits for a file of the first."""
    folder = airflow.dags / "ui"
    folder.mkdir()
    (folder / f"{DAG_ID}.yaml").write_text(_pipeline())
    schedule = {"schedule": {"assets": [{"pipeline": DAG_ID, "file": "report.csv"}]}}
    (folder / f"{READER}.yaml").write_text(linear({"send": shell("true")}, airflow=schedule))
    (folder / "pipelines.py").write_text(DAG_FILE)
    good = airflow.trigger(DAG_ID, {"tag": "nightly"})
    assert airflow.wait_for_run(DAG_ID, good, 240) == "success"
    bad = airflow.trigger(DAG_ID, {"threshold": 900})
    assert airflow.wait_for_run(DAG_ID, bad, 240) == "failed"
    yield Runs(good, bad)
    shutil.rmtree(folder)


@contextmanager
def browser(airflow: AirflowServer, user: str = "admin") -> Iterator[Any]:
    """A signed-in page; what its console calls an error, a breach of the content security policy too, fails the test."""
    with signed_in(airflow.base_url, user, user) as page:
        page.set_viewport_size({"width": 1280, "height": 860})
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if _is_fault(message) else None)
        yield page
        assert faults == []


def _is_fault(message: Any) -> bool:
    """Whether our pages are to blame for what the console says: Airflow's own UI has errors of its own."""
    ours = "/magnus/" in str(message.location.get("url", ""))
    return "Content Security Policy" in message.text or (ours and message.type == "error")


def test_pipeline_is_scheduled_on_a_file_of_another(airflow: AirflowServer, runs: Runs) -> None:
    def started() -> list[dict[str, Any]]:
        return list(airflow.call("GET", f"/api/v2/dags/{READER}/dagRuns")["dag_runs"])

    wait_for(lambda: bool(started()), "the run that waits for the file", 60)
    [run] = started()
    assert run["run_type"] == "asset_triggered"
    path = f"/api/v2/dags/{READER}/dagRuns/{quote(run['dag_run_id'])}/upstreamAssetEvents"
    [event] = airflow.call("GET", path)["asset_events"]
    assert (event["source_dag_id"], event["source_run_id"]) == (DAG_ID, runs.good)
    assert (event["extra"]["file"], event["extra"]["step"]) == ("report.csv", "write.report.sum up")
    with browser(airflow) as page:
        page.goto(event["extra"]["provenance"])
        page.get_by_role("heading", name="report.csv").wait_for()


def test_buttons_of_a_task_lead_to_its_tabs(airflow: AirflowServer, runs: Runs) -> None:
    path = f"/api/v2/dags/{DAG_ID}/dagRuns/{quote(runs.bad)}/taskInstances/check-totals/links"
    links = airflow.call("GET", path)["extra_links"]
    assert set(links) == {"Catalog folder", "Data", "Re-run from failure", "Run log"}
    expected = {
        "Run log": "check totals",
        "Data": "raw/eu.csv",
        "Catalog folder": "The files of this run",
        "Re-run from failure": "What a re-run does",
    }
    with browser(airflow) as page:
        for name, text in expected.items():
            page.goto(airflow.base_url + links[name])
            frame = page.frame_locator("iframe") if "/plugin/" in links[name] else page
            frame.get_by_text(text).first.wait_for(timeout=20_000)


def test_run_list_filters_and_leads_to_the_comparison(
    airflow: AirflowServer, runs: Runs, tmp_path: Path
) -> None:
    with browser(airflow) as page:
        page.goto(f"{airflow.base_url}/magnus/runs")
        page.get_by_text(runs.bad).first.wait_for()
        _take(page, tmp_path, "ui-runs")
        page.select_option("select[name=status]", "FAIL")
        page.click("button:has-text('Filter')")
        page.get_by_text(runs.bad).first.wait_for()
        assert page.get_by_text(runs.good).count() == 0
        page.goto(f"{airflow.base_url}/magnus/runs?parameter=threshold%3D900&pipeline={DAG_ID}")
        assert page.get_by_text(runs.good).count() == 0
        page.goto(f"{airflow.base_url}/magnus/runs?pipeline={DAG_ID}")
        for box in page.locator("input[name=run]").all():
            box.check()
        page.get_by_role("button", name="Compare two").first.click()
        page.wait_for_url(re.compile(r"/magnus/compare/.+/.+/.+"))
        assert "threshold" in page.inner_text("main")
        _take(page, tmp_path, "ui-compare")


@pytest.mark.parametrize(
    ("name", "address", "text"),
    [
        ("ui-run-log", "/dags/{dag}/runs/{bad}/plugin/magnus-run-log", "check totals"),
        ("ui-data", "/dags/{dag}/runs/{good}/tasks/write.report.sum-up/plugin/magnus-data", "report.csv"),
        ("ui-pipeline", "/dags/{dag}/plugin/magnus-pipeline", "Orders of the day"),
        ("ui-provenance", "/magnus/provenance/{dag}/{good}/report.csv", "clean/eu.csv"),
    ],
)
def test_page_shows_in_light_and_dark_and_on_a_phone(
    airflow: AirflowServer, runs: Runs, tmp_path: Path, name: str, address: str, text: str
) -> None:
    ids = {"dag": DAG_ID, "good": quote(runs.good, safe=""), "bad": quote(runs.bad, safe="")}
    with browser(airflow) as page:
        page.goto(airflow.base_url + address.format(**ids))
        frame = page.frame_locator("iframe") if "/plugin/" in address else page
        frame.locator(f"main :text('{text}'):visible").first.wait_for(timeout=20_000)
        _take(page, tmp_path, name)
        if "/plugin/" in address:
            inner = next(f for f in page.frames if "/magnus/" in f.url)
            page.goto(inner.url)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": 400, "height": 800})
            page.screenshot(path=tmp_path / f"{name}-400-{scheme}.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= 400
        _keep(tmp_path)


def test_rerun_starts_from_the_list(airflow: AirflowServer, runs: Runs) -> None:
    with browser(airflow) as page:
        page.goto(f"{airflow.base_url}/magnus/runs?status=FAIL&pipeline={DAG_ID}")
        page.get_by_role("link", name="Re-run…").first.click()
        page.wait_for_selector("text=What a re-run does")
        page.click("text=Start the re-run")
        page.wait_for_url(re.compile(rf"/dags/{DAG_ID}/runs/manual"))
        page.wait_for_timeout(1000)
    newest = airflow.call("GET", f"/api/v2/dags/{DAG_ID}/dagRuns?order_by=-id&limit=1")["dag_runs"][0]
    assert newest["dag_run_id"] not in (runs.good, runs.bad)
    assert set(newest["conf"]) == {"use_cached", "threshold"}


def _take(page: Any, folder: Path, name: str) -> None:
    """A picture as the documentation has it."""
    page.wait_for_timeout(800)
    page.screenshot(path=folder / f"{name}.png")
    _keep(folder)


def _keep(folder: Path) -> None:
    target = os.environ.get("TEST_PICTURES")
    if target:
        shutil.copytree(folder, target, dirs_exist_ok=True)
