"""The page *Re-run from failure*: who may see and start what, and what is started. On Airflow's database, no server."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from airflow_magnus.dags import embedded
from airflow_magnus.dags.builder import pipeline_dag
from airflow_magnus.pipeline.identifiers import safe_run_id
from airflow_magnus.pipeline.model import ServiceSettings
from airflow_magnus.runlog.records import RunLog
from airflow_magnus.stores.services import open_run_log
from pipelines import function, linear, shell
from ui_stage import Client, words

RunDag = Callable[..., tuple[RunLog, dict[str, str]]]
DAG_ID = "page-of-rerun"


def run_log_store(home: Path) -> Any:
    """The embedded default's run log."""
    settings = ServiceSettings("file-system", {"log_folder": str(home / "magnus" / "run_log")})
    return open_run_log(settings, folder=home)


@pytest.fixture(scope="module")
def first(airflow_home: Path, tmp_path_factory: pytest.TempPathFactory) -> RunLog:
    """A run whose last step but one failed."""
    text = linear(
        {
            "make": shell("mkdir -p data; echo 1 > data/a.txt", catalog={"put": ["*"]}),
            "set": function("lambda: {'x': 1}"),
            "use": shell("echo '<b>oh</b>' >&2; exit 3", catalog={"get": ["a.txt"]}),
            "after": shell("true"),
        }
    )
    file = tmp_path_factory.mktemp("pipelines") / "p.yaml"
    file.write_text(text)
    before = dict(os.environ)
    try:
        embedded._current = dag = pipeline_dag(file, dag_id=DAG_ID)
        run = dag.test()
    finally:
        embedded._current = None
        os.environ.clear()
        os.environ.update(before)
    log = run_log_store(airflow_home).find(safe_run_id(f"{DAG_ID}.{run.run_id}"))
    assert log.status == "FAIL"
    return log


@pytest.fixture
def failed(first: RunLog) -> Iterator[RunLog]:
    """That run; what a test has started is removed again."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    yield first
    with create_session(scoped=False) as session:
        started = select(DagRun).where(DagRun.dag_id == DAG_ID, DagRun.run_id != first.scheduler["run_id"])
        for run in session.scalars(started):
            session.delete(run)


def url(log: RunLog, **query: str) -> str:
    asked = "&".join(f"{key}={quote(value)}" for key, value in query.items())
    return f"/magnus/rerun/{log.scheduler['dag_id']}/{quote(log.scheduler['run_id'], safe='')}?{asked}"


def form(page: str) -> dict[str, str]:
    return {n: html.unescape(v) for n, v in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page)}


def dag_runs(dag_id: str = DAG_ID) -> list[Any]:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select
    from sqlalchemy.orm import joinedload

    with create_session(scoped=False) as session:
        asked = select(DagRun).where(DagRun.dag_id == dag_id).options(joinedload(DagRun.dag_run_note))
        found = list(session.scalars(asked.order_by(DagRun.id)))
        session.expunge_all()
        return found


@contextmanager
def changed(kind: str, **values: Any) -> Iterator[None]:
    """The last run, or the DAG, with other values in Airflow's database."""
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    last = dag_runs()[-1].id
    asked = select(DagRun).where(DagRun.id == last)
    if kind == "dag":
        asked = select(DagModel).where(DagModel.dag_id == DAG_ID)
    with create_session(scoped=False) as session:
        found = session.scalar(asked)
        before = {name: getattr(found, name) for name in values}
        for name, value in values.items():
            setattr(found, name, value)
    yield
    with create_session(scoped=False) as session:
        found = session.scalar(asked)
        for name, value in before.items():
            setattr(found, name, value)


def test_page_shows_the_run_and_the_plan(client: Callable[..., Client], failed: RunLog) -> None:
    answer = client("admin").get(url(failed))
    assert answer.status_code == 200, answer.text
    said = words(answer.text)
    assert "Step use failed: " in said
    assert "<b>oh</b>" in said
    assert "<b>oh</b>" not in answer.text
    assert "4 steps: 1 to restore, 1 to skip, 2 to run; 1 file, 2 B to be copied inside the store." in said
    assert "make restore it succeeded 1 2 B set skip it succeeded use run it failed" in said
    assert "after run it follows 'use'" in said
    assert form(answer.text)["run"] == failed.run_id


def test_page_runs_no_script_or_style_but_its_own(client: Callable[..., Client], failed: RunLog) -> None:
    answer = client("admin").get(url(failed))
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'self'" in policy
    assert not re.search(r"<style| style=| on\w+=|<script>", answer.text)
    assert answer.headers["cache-control"] == "no-store"
    for path in re.findall(r'(?:src|href)="(/magnus/static/[^"]*)"', answer.text):
        assert client().get(path).status_code == 200


def test_pages_and_redirects_lie_below_airflows_own_path(
    client: Callable[..., Client], failed: RunLog
) -> None:
    from fastapi import FastAPI

    from airflow_magnus.ui import plugin

    outer = FastAPI(root_path="/team/airflow")
    outer.mount(plugin.PREFIX, plugin.LazyApp())
    admin, nobody = client("admin", app=outer), client(app=outer)
    path = "/team/airflow" + url(failed)
    page = admin.get(path)
    assert page.status_code == 200
    links = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert all(link.startswith("/team/airflow/") for link in links)
    assert admin.get(next(link for link in links if "magnus.css" in link)).status_code == 200
    login = nobody.get(path).headers["location"]
    assert login.startswith("/team/airflow/api/v2/auth/login?next=%2Fteam%2Fairflow%2Fmagnus%2Frerun%2F")
    started = admin.post(path, data=form(page.text)).headers["location"]
    assert started.startswith(f"/team/airflow/dags/{DAG_ID}/runs/manual__")


def test_start_makes_a_run_with_the_plan_as_its_note(client: Callable[..., Client], failed: RunLog) -> None:
    admin = client("admin")
    page = admin.get(url(failed)).text
    answer = admin.post(url(failed), data=form(page), headers={"referer": "http://a/magnus"})
    run = dag_runs()[-1]
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        f"/dags/{DAG_ID}/runs/{quote(run.run_id, safe='')}",
    )
    assert run.conf == {"use_cached": failed.run_id}
    assert run.note.startswith(
        f"Plan of a re-run of `{failed.run_id}`\n\n```text\nrestore  make   it succeeded"
    )
    assert (run.state, run.run_type, run.triggered_by.value, run.triggering_user_name) == (
        "queued",
        "manual",
        "ui",
        "admin",
    )
    again = admin.post(url(failed), data=form(page))
    assert (again.status_code, len(dag_runs())) == (409, len(dag_runs()))
    assert "is being taken up already" in words(again.text)
    assert dag_runs()[-1].run_id == run.run_id
    shown = admin.get(url(failed)).text
    assert "<form" not in shown
    assert f"already, by {run.run_id}" in words(shown)


def test_viewer_sees_the_plan_and_starts_nothing(client: Callable[..., Client], failed: RunLog) -> None:
    before = len(dag_runs())
    viewer = client("vic", "VIEWER")
    page = viewer.get(url(failed))
    assert page.status_code == 200
    assert "<form" not in page.text
    assert "that needs the right to trigger this DAG" in words(page.text)
    fields = form(client("admin").get(url(failed)).text)
    assert viewer.post(url(failed), data=fields).status_code == 403
    assert len(dag_runs()) == before


def test_who_is_not_signed_in_is_sent_to_do_so(client: Callable[..., Client], failed: RunLog) -> None:
    before = len(dag_runs())
    wanted = url(failed, run=failed.run_id)
    answer = client().get(wanted)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"/api/v2/auth/login?next=%2Fmagnus%2Frerun%2F{DAG_ID}%2F")
    assert client().post(url(failed), data=form(client("admin").get(wanted).text)).status_code == 401
    assert len(dag_runs()) == before


@pytest.mark.parametrize("origin", ["cross-site", "same-site", "none"])
def test_form_of_another_origin_starts_nothing(
    client: Callable[..., Client], failed: RunLog, origin: str
) -> None:
    before, admin = len(dag_runs()), client("admin")
    fields = form(admin.get(url(failed)).text)
    answer = admin.post(url(failed), data=fields, headers={"sec-fetch-site": origin})
    assert (answer.status_code, len(dag_runs())) == (403, before)


@pytest.mark.parametrize("forged", ["missing", "changed", "of another user", "of another plan"])
def test_form_without_its_signature_starts_nothing(
    client: Callable[..., Client], failed: RunLog, forged: str
) -> None:
    before, admin = len(dag_runs()), client("admin")
    fields = form((client("eve") if forged == "of another user" else admin).get(url(failed)).text)
    if forged == "missing":
        del fields["signature"]
    if forged == "changed":
        fields["signature"] = "é" + fields["signature"][1:]
    if forged == "of another plan":
        fields["plan"] = "0" * 64
    answer = admin.post(url(failed), data=fields)
    assert (answer.status_code, len(dag_runs())) == (403, before)
    assert "This form is not from your page" in words(answer.text)


def test_other_plan_than_was_shown_is_shown_and_not_started(
    client: Callable[..., Client], failed: RunLog, airflow_home: Path
) -> None:
    before, admin = len(dag_runs()), client("admin")
    page = admin.get(url(failed)).text
    file = airflow_home / "magnus" / "catalog" / failed.run_id / "a.txt"
    kept = file.rename(file.with_suffix(".away"))
    try:
        answer = admin.post(url(failed), data=form(page))
    finally:
        kept.rename(file)
    assert (answer.status_code, len(dag_runs())) == (409, before)
    said = words(answer.text)
    assert "Nothing was started: the plan has changed" in said
    assert "make run files that it put are gone from the catalog" in said
    assert form(answer.text)["plan"] != form(page)["plan"]


@pytest.mark.parametrize("state", ["queued", "running"])
def test_run_that_goes_on_is_refused(client: Callable[..., Client], failed: RunLog, state: str) -> None:
    with changed("run", _state=state):
        answer = client("admin").get(url(failed))
    assert (answer.status_code, "still goes on" in words(answer.text)) == (409, True)


def test_run_that_succeeded_is_refused(client: Callable[..., Client], failed: RunLog) -> None:
    with changed("run", _state="success"):
        answer = client("admin").get(url(failed))
    assert (answer.status_code, "There is nothing to take up" in words(answer.text)) == (409, True)


def test_dag_that_is_gone_is_refused(client: Callable[..., Client], failed: RunLog) -> None:
    with changed("dag", is_stale=True):
        answer = client("admin").get(url(failed))
    assert (answer.status_code, "is gone" in words(answer.text)) == (409, True)


def test_paused_dag_is_said_to_be(client: Callable[..., Client], failed: RunLog) -> None:
    with changed("dag", is_paused=True):
        assert "waits until somebody unpauses it" in words(client("admin").get(url(failed)).text)


@pytest.mark.parametrize("wanted", ["another-run", "../../etc", "a/b"])
def test_link_cannot_ask_for_another_run(
    client: Callable[..., Client], failed: RunLog, airflow_home: Path, wanted: str
) -> None:
    logs = airflow_home / "magnus" / "run_log"
    (logs / "another-run").mkdir(exist_ok=True)
    header = json.loads((logs / failed.run_id / "run.json").read_text().replace(DAG_ID, "other-dag"))
    (logs / "another-run" / "run.json").write_text(json.dumps({**header, "run_id": "another-run"}))
    answer = client("admin").get(url(failed, run=wanted))
    assert (answer.status_code, "There is no run log of" in words(answer.text)) == (404, True)
    assert "other-dag" not in answer.text


def test_unknown_run_and_dag_are_said_to_be(client: Callable[..., Client], failed: RunLog) -> None:
    admin = client("admin")
    for path in (f"{DAG_ID}/nothing", "no-dag/nothing", f"{DAG_ID}/%3Cb%3Ex"):
        answer = admin.get(f"/magnus/rerun/{path}")
        assert answer.status_code == 404
        assert "There is no run" in words(answer.text)
        assert "<b>x" not in answer.text


def test_store_out_of_reach_is_said_to_be(
    client: Callable[..., Client], failed: RunLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_magnus.errors import StoreError
    from airflow_magnus.ui import run_stores

    def out_of_reach(*_: object, **__: object) -> None:
        raise StoreError("s3://bucket did not answer")

    monkeypatch.setattr(run_stores, "open_services", out_of_reach)
    answer = client("admin").get(url(failed))
    assert answer.status_code == 503
    assert "s3://bucket did not answer — The API server reads the run log" in words(answer.text)


def test_stores_that_do_not_answer_are_given_up(
    client: Callable[..., Client], failed: RunLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    from airflow_magnus.ui import rerun_page, responses

    monkeypatch.setattr(responses, "LONGEST", 0.2)
    monkeypatch.setattr(rerun_page, "look", lambda *_: time.sleep(1))
    assert client("admin").get(url(failed)).status_code == 504


def test_unexpected_error_is_a_page_that_tells_nothing_of_it(
    client: Callable[..., Client], failed: RunLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_magnus.ui import rerun_page

    def broken(*_: object) -> None:
        raise KeyError("a secret")

    monkeypatch.setattr(rerun_page, "look", broken)
    answer = client("admin").get(url(failed))
    assert answer.status_code == 500
    assert "a secret" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["docs", "redoc", "openapi.json", "nothing", "static/../plugin.py"])
def test_nothing_else_is_served(client: Callable[..., Client], path: str) -> None:
    assert client().get(f"/magnus/{path}").status_code == 404


def test_parameters_of_the_earlier_run_are_given_again_where_the_dag_has_others(
    client: Callable[..., Client], project: Path, run_dag: RunDag
) -> None:
    steps = {"set": function("lambda: {'x': 5}"), "use": shell("false")}
    text = "parameters: {x: 1, y: 2, z: {type: integer}}\n" + linear(steps)
    (project / "p.yaml").write_text(text)
    log, _ = run_dag(
        pipeline_dag(project / "p.yaml", dag_id="parameters-of-page"), {"x": 3, "z": 4, "more": "m"}
    )
    admin = client("admin")
    page = admin.get(url(log)).text
    assert "The parameters that the earlier run was given are given again" in words(page)
    assert "wins over" not in words(page)
    answer = admin.post(url(log), data=form(page))
    assert answer.status_code == 303, words(answer.text)
    assert dag_runs("parameters-of-page")[-1].conf == {"use_cached": log.run_id, "x": 3, "z": 4}


def test_pipeline_with_a_parameter_use_cached_of_its_own_is_refused(
    client: Callable[..., Client], project: Path, run_dag: RunDag
) -> None:
    text = "parameters: {use_cached: none}\n" + linear({"use": shell("false")})
    (project / "p.yaml").write_text(text)
    log, _ = run_dag(pipeline_dag(project / "p.yaml", dag_id="own-parameter-of-page"))
    answer = client("admin").get(url(log))
    assert (answer.status_code, "Rename the parameter" in words(answer.text)) == (409, True)


def test_run_log_that_was_not_closed_is_said_to_be(
    client: Callable[..., Client], failed: RunLog, airflow_home: Path
) -> None:
    file = airflow_home / "magnus" / "run_log" / f"{failed.run_id}.json"
    text = file.read_text()
    file.write_text(failed.model_copy(update={"status": "PROCESSING"}).to_json())
    answer = client("admin").get(url(failed))
    file.write_text(text)
    assert answer.status_code == 409
    assert "wait until it has failed again, or use the command magnus runlog repair" in words(answer.text)


STORE = "run_log_store: {type: file-system, config: {log_folder: logs}}\n"


def test_stores_that_the_file_names_are_opened_unless_that_is_off(
    client: Callable[..., Client], project: Path, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "p.yaml").write_text(STORE + linear({"use": shell("false")}))
    with pytest.raises(Exception, match="no run"):  # the fixture looks in the embedded default
        run_dag(pipeline_dag(project / "p.yaml", dag_id="stores-of-page"))
    run = dag_runs("stores-of-page")[-1]
    path = f"/magnus/rerun/stores-of-page/{quote(run.run_id, safe='')}"
    answer = client("admin").get(path)
    assert answer.status_code == 200, words(answer.text)
    monkeypatch.setenv("AIRFLOW__MAGNUS__UI_FILE_SERVICES", "False")
    answer = client("admin").get(path)
    assert (answer.status_code, "Make it an Airflow connection" in words(answer.text)) == (409, True)


def test_changed_pipeline_is_warned_of(client: Callable[..., Client], failed: RunLog) -> None:
    from airflow_magnus.hooks.description import Description
    from airflow_magnus.ui import dag_runs

    admin = client("admin")
    assert "has changed since that run" not in words(admin.get(url(failed)).text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dag_runs, "_description", lambda _: Description(dag_hash="another"))
        assert "has changed since that run" in words(admin.get(url(failed)).text)


def test_hand_written_dag_is_refused(
    client: Callable[..., Client], airflow_home: Path, run_dag: RunDag
) -> None:
    from airflow.providers.common.compat.sdk import DAG

    from airflow_magnus import EndOfRun
    from airflow_magnus.operators.commands import ShellStep

    with DAG("by-hand-of-page") as dag:
        ShellStep(task_id="a", command="false") >> EndOfRun(task_id="end")
    log, _ = run_dag(dag)
    path = f"/magnus/rerun/by-hand-of-page/{quote(log.scheduler['run_id'], safe='')}"
    answer = client("admin").get(path)
    assert (answer.status_code, "is not made of a pipeline file" in words(answer.text)) == (409, True)
