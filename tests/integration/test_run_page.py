"""The pages of runs: the tab *Run log*, the list, the comparison. On Airflow's database, no server."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from airflow_magnus.dags import embedded
from airflow_magnus.dags.builder import pipeline_dag
from airflow_magnus.pipeline.identifiers import safe_run_id
from airflow_magnus.pipeline.model import ServiceSettings
from airflow_magnus.runlog.records import RunLog
from airflow_magnus.stores.runlogs import RunLogStore
from airflow_magnus.stores.services import open_run_log
from pipelines import linear, shell
from ui_stage import Client, words

DAG_ID = "page-of-run"
Clients = Callable[..., Client]
MAP = """type: map
iterate_on: regions
iterate_as: region
next: use
branch:
  start_at: clean
  steps:
    clean: {type: task, command_type: shell, command: "true", next: success}
    success: {type: success}
    fail: {type: fail}
"""
PIPELINE = f"""
parameters: {{x: 1, regions: [eu, us]}}
dag:
  description: Orders & their <regions>
  start_at: make
  steps:
    make:
      type: task
      command_type: shell
      command: mkdir -p data; printf 'one\\ntwo\\n%s\\n' $MAGNUS_PRM_x > data/a.txt
      catalog: {{put: ["*"]}}
      next: each
    each:
{"".join("      " + line + chr(10) for line in MAP.splitlines())}
    use:
      type: task
      command_type: shell
      command: echo '<b>oh</b>' >&2; test $MAGNUS_PRM_x = 1
      catalog: {{get: [a.txt]}}
      on_failure: clean up
      next: ways
    clean up: {{type: task, command_type: shell, command: "true", next: fail}}
    ways:
      type: parallel
      next: success
      branches:
        left:
          start_at: one
          steps: {{one: {{type: as-is, next: success}}, success: {{type: success}}, fail: {{type: fail}}}}
        right:
          start_at: two
          steps: {{two: {{type: as-is, next: success}}, success: {{type: success}}, fail: {{type: fail}}}}
    success: {{type: success}}
    fail: {{type: fail}}
"""


@pytest.fixture(scope="module")
def store(airflow_home: Path) -> RunLogStore:
    """The embedded default's run log."""
    settings = ServiceSettings("file-system", {"log_folder": str(airflow_home / "magnus" / "run_log")})
    return open_run_log(settings, folder=airflow_home)


@pytest.fixture(scope="module")
def runs(store: RunLogStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunLog, RunLog]:
    """A run that succeeded and, with another parameter, one whose last step failed."""
    folder = tmp_path_factory.mktemp("pipelines")
    good = run_once(PIPELINE, store, folder, {"x": 1, "tag": "good"})
    bad = run_once(PIPELINE, store, folder, {"x": 2, "tag": "<i>bad</i>"})
    assert (good.status, bad.status) == ("SUCCESS", "FAIL")
    return good, bad


def run_once(
    text: str, store: RunLogStore, folder: Path, conf: dict[str, Any], dag_id: str = DAG_ID
) -> RunLog:
    file = folder / "p.yaml"
    file.write_text(text)
    before = dict(os.environ)
    try:
        embedded._current = dag = pipeline_dag(file, dag_id=dag_id)
        dag_run = dag.test(run_conf=conf)
    finally:
        embedded._current = None
        os.environ.clear()
        os.environ.update(before)
    return store.find(safe_run_id(f"{dag_id}.{dag_run.run_id}"))


def place(log: RunLog) -> str:
    return f"{log.scheduler['dag_id']}/{quote(log.scheduler['run_id'], safe='')}"


def url(log: RunLog, **query: str) -> str:
    asked = "&".join(f"{key}={quote(value)}" for key, value in query.items())
    return f"/magnus/runs/{place(log)}?{asked}"


def compared(a: RunLog, b: RunLog, **query: str) -> str:
    asked = "&".join(f"{key}={quote(value)}" for key, value in query.items())
    return f"/magnus/compare/{place(a)}/{quote(b.scheduler['run_id'], safe='')}?{asked}"


def test_page_shows_steps_files_and_parameters(client: Clients, runs: tuple[RunLog, RunLog]) -> None:
    answer = client("admin").get(url(runs[1]))
    assert answer.status_code == 200, words(answer.text)
    said = words(answer.text)
    assert "Run log failed" in said
    assert "Files 1, 10 B" in said
    assert "x 2 2 given" in said
    assert 'regions ["eu", "us"] ["eu", "us"] default' in said
    assert "Tag <i>bad</i>" in said
    assert "<i>bad" not in answer.text
    assert "command exited with status 1 <b>oh</b>" in said
    assert "<b>oh" not in answer.text
    names = re.findall(r'<details class="step" id="at-([^"]*)"', answer.text)
    assert names[:4] == ["make", "each", "each.eu", "each.eu.clean"]
    assert names[-2:] == ["clean%20up", "fail"]
    digest = runs[1].steps["make"].data_catalog[0].data_hash
    assert f"/magnus/provenance?q={digest}" in answer.text
    assert f"/magnus/provenance/{place(runs[1])}/a.txt" in answer.text


def test_steps_lead_to_their_tasks_out_of_the_frame(client: Clients, runs: tuple[RunLog, RunLog]) -> None:
    page = client("admin").get(url(runs[0])).text
    task = f"/dags/{place(runs[0]).replace('/', '/runs/')}/tasks"
    links = re.findall(r'<a href="([^"]*)" target="_top">', page)
    assert f"{task}/make" in links
    assert f"{task}/make?try_number=1" in links
    assert f"{task}/each.each.clean/mapped/1" in links
    assert f'href="/magnus/data/{place(runs[0])}/make/-1"' in page


def test_timeline_is_drawn_without_styles(client: Clients, runs: tuple[RunLog, RunLog]) -> None:
    page = client("admin").get(url(runs[1])).text
    bars = re.findall(r'<rect class="(\w+)(?: whole)?" x="([\d.]+)%" width="([\d.]+)%"', page)
    assert len(bars) == len(re.findall('<details class="step"', page))
    assert {kind for kind, _, _ in bars} == {"success", "failed"}
    assert all(float(x) >= 0 and float(x) + float(width) <= 100.01 for _, x, width in bars)
    assert not re.search(r"<style| style=| on\w+=|<script>", page)


def test_steps_are_filtered(client: Clients, runs: tuple[RunLog, RunLog]) -> None:
    admin = client("admin")

    def names(**query: str) -> list[str]:
        return re.findall(r'<details class="step" id="at-([^"]*)"', admin.get(url(runs[1], **query)).text)

    assert names(status="FAIL") == ["use"]
    assert names(kind="branch") == ["each.eu", "each.us"]
    assert names(text="US.CLEAN") == ["each.us.clean"]
    assert names(text="nothing") == []
    assert "No step is like that" in words(admin.get(url(runs[1], text="nothing")).text)


def test_long_run_is_paged_and_its_document_is_read_once(
    client: Clients, runs: tuple[RunLog, RunLog], store: RunLogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_magnus.stores.parts import ObjectParts

    one = runs[0].steps["make"]
    many = {f"s{n}": one.model_copy(update={"name": f"s{n}", "internal_name": f"s{n}"}) for n in range(250)}
    read: list[str] = []
    whole = ObjectParts.read

    def counted(self: Any, keys: Any) -> Any:
        keys = list(keys)
        read.extend(keys)
        return whole(self, keys)

    store.keep_document(runs[0].model_copy(update={"steps": many}))
    try:
        monkeypatch.setattr(ObjectParts, "read", counted)
        page = client("admin").get(url(runs[0], number="3", text="s")).text
    finally:
        store.keep_document(runs[0])
    assert read.count(f"{runs[0].run_id}.json") == 1
    assert not [key for key in read if "/steps/" in key]
    assert re.findall(r'id="at-([^"]*)"', page) == [f"s{n}" for n in range(200, 250)]
    assert "201–250 of 250" in page
    assert 'href="?text=s&amp;number=2"' in page


def test_document_is_given_as_a_file(client: Clients, runs: tuple[RunLog, RunLog]) -> None:
    answer = client("vic", "VIEWER").get(f"/magnus/runs/{place(runs[0])}/document.json")
    assert answer.headers["content-disposition"].startswith('attachment; filename="page-of-run.manual__')
    assert json.loads(answer.text)["run_id"] == runs[0].run_id
    assert answer.headers["content-type"] == "application/json"


def test_run_that_goes_on_is_followed(
    client: Clients, runs: tuple[RunLog, RunLog], store: RunLogStore
) -> None:
    assert "data-follow" not in client("admin").get(url(runs[0])).text
    store.reopen(runs[0].run_id)
    page = client("admin").get(url(runs[0])).text
    store.keep_document(runs[0])
    assert "data-follow" in page
    assert "Follows the run; load again" in words(page)
    assert "follow.js?" in page


def test_run_without_a_run_log_yet_is_waited_for(client: Clients, runs: tuple[RunLog, RunLog]) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunTriggeredByType
    from sqlalchemy import delete

    with create_session(scoped=False) as session:
        session.add(
            DagRun(
                dag_id=DAG_ID,
                run_id="just-begun",
                run_type="manual",
                state="queued",
                triggered_by=DagRunTriggeredByType.TEST,
            )
        )
    try:
        answer = client("admin").get(f"/magnus/runs/{DAG_ID}/just-begun")
    finally:
        with create_session(scoped=False) as session:
            session.execute(delete(DagRun).where(DagRun.run_id == "just-begun"))
    assert answer.status_code == 200
    assert "This run has no run log yet" in words(answer.text)
    assert "data-follow" in answer.text


def test_run_of_the_command_line_belongs_to_the_dag_of_its_pipeline(
    client: Clients, runs: tuple[RunLog, RunLog], store: RunLogStore
) -> None:
    from airflow_magnus.runlog.records import RunHeader

    for run_id, pipeline in (("20260101-mine", "p"), ("20260101-other", "another")):
        scheduler = {"type": "command", "hostname": "elsewhere"}
        store.claim(RunHeader(run_id=run_id, token="t", pipeline=pipeline, scheduler=scheduler))
    mine = client("admin").get(f"/magnus/runs/{DAG_ID}/20260101-mine")
    assert (mine.status_code, "No step has begun yet" in words(mine.text)) == (200, True)
    other = client("admin").get(f"/magnus/runs/{DAG_ID}/20260101-other")
    assert (other.status_code, "There is no run " in words(other.text)) == (404, True)


def test_run_is_found_by_the_run_logs_id_also_when_it_was_deleted_in_airflow(
    client: Clients, runs: tuple[RunLog, RunLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_magnus.ui import found_runs

    path = f"/magnus/runs/{DAG_ID}/{quote(runs[0].run_id, safe='')}"
    assert "/tasks/make" in client("admin").get(path).text
    monkeypatch.setattr(found_runs, "airflow_runs", lambda *_: [])
    for asked in (path, url(runs[0])):
        answer = client("admin").get(asked)
        assert (answer.status_code, "/tasks/make" in answer.text) == (200, False)


def test_parts_of_a_run_that_goes_on_are_read_once(
    client: Clients, runs: tuple[RunLog, RunLog], store: RunLogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_magnus.stores.parts import ObjectParts
    from airflow_magnus.ui import found_runs

    found_runs._memory.cache_clear()
    read: list[str] = []
    whole = ObjectParts.read

    def counted(self: Any, keys: Any) -> Any:
        keys = list(keys)
        read.extend(key for key in keys if "/steps/" in key)
        return whole(self, keys)

    store.reopen(runs[1].run_id)
    try:
        monkeypatch.setattr(ObjectParts, "read", counted)
        pages = [client("admin").get(url(runs[1])).text for _ in range(3)]
    finally:
        store.keep_document(runs[1])
    assert len(read) == len(set(read)) > 5
    assert len({re.sub(r"\d+(\.\d+)? (m?s)", "", page) for page in pages}) == 1


def test_removed_files_are_told_of(client: Clients, runs: tuple[RunLog, RunLog], store: RunLogStore) -> None:
    from airflow_magnus.runlog.marks import Collection

    store.marks.set_collection(Collection(run_id=runs[0].run_id, state="removed"))
    said = words(client("admin").get(url(runs[0])).text)
    store.marks.set_collection(Collection(run_id=runs[0].run_id, state="withdrawn"))
    assert "were removed by `magnus catalog gc`" in said


def test_other_runs_and_dags_are_not_found(client: Clients, runs: tuple[RunLog, RunLog]) -> None:
    admin = client("admin")
    for path, told in (
        (f"{DAG_ID}/nothing", "There is no run nothing of the DAG"),
        (f"{DAG_ID}/%3Cb%3Ex", "There is no run <b>x of the DAG"),
        ("no-dag/nothing", "There is no DAG no-dag"),
        (f"{DAG_ID}/another-dag.manual__1", "There is no run another-dag.manual__1 of"),
    ):
        answer = admin.get(f"/magnus/runs/{path}")
        assert (answer.status_code, told in words(answer.text)) == (404, True), path
        assert "<b>x" not in answer.text


@pytest.mark.parametrize("path", ["a%2Fb/c", "a/..%2F..%2Fetc", "a/%2e%2e/b", "a/b%00c", "a/b%2fc"])
@pytest.mark.parametrize("kind", ["runs", "compare", "pipelines"])
def test_tricky_addresses_are_refused(client: Clients, kind: str, path: str) -> None:
    answer = client("admin").get(f"/magnus/{kind}/{path}")
    assert answer.status_code in (400, 404)
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "path", ["runs/{}?number=x", "runs?since=yesterday", "runs?status=odd", "compare?run=a"]
)
def test_what_cannot_be_understood_is_said_to_be(
    client: Clients, runs: tuple[RunLog, RunLog], path: str
) -> None:
    answer = client("admin").get("/magnus/" + path.format(place(runs[0])))
    assert answer.status_code == 400
    assert "<h1>" in answer.text


def test_nobody_sees_a_page_without_signing_in(client: Clients, runs: tuple[RunLog, RunLog]) -> None:
    here = place(runs[0])
    for path in (
        "runs",
        f"runs/{here}",
        f"runs/{here}/document.json",
        f"pipelines/{DAG_ID}",
        f"compare/{here}",
    ):
        answer = client().get(f"/magnus/{path}")
        assert (answer.status_code, "/auth/login" in answer.headers["location"]) == (303, True), path


def test_who_may_not_read_the_dag_sees_nothing_of_it(
    client: Clients, runs: tuple[RunLog, RunLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", lambda *_, **__: False)
    monkeypatch.setattr(SimpleAuthManager, "get_authorized_dag_ids", lambda *_, **__: set())
    reader, here = client("vic", "VIEWER"), place(runs[0])
    for path in (f"runs/{here}", f"runs/{here}/document.json", f"pipelines/{DAG_ID}", f"compare/{here}"):
        assert reader.get(f"/magnus/{path}").status_code == 403, path
    listed = reader.get("/magnus/runs")
    assert (listed.status_code, DAG_ID in listed.text) == (200, False)
    assert "There is no pipeline that you may read" in words(listed.text)


def test_list_shows_runs_and_filters_them(client: Clients, runs: tuple[RunLog, RunLog]) -> None:
    admin = client("admin")

    def tags(query: str) -> list[str]:
        page = admin.get(f"/magnus/runs?pipeline={DAG_ID}&{query}").text
        return re.findall(r'data-label="Tag">([^<]*)<', page)

    assert tags("text=manual") == ["&lt;i&gt;bad&lt;/i&gt;", "good"]
    assert tags("status=SUCCESS") == ["good"]
    assert tags("tag=good") == ["good"]
    assert tags("parameter=x%3D2") == ["&lt;i&gt;bad&lt;/i&gt;"]
    assert tags("text=manual&since=2100-01-01") == []
    assert tags("pinned=yes") == []
    assert "No run is like that" in words(admin.get("/magnus/runs?tag=nobody").text)


def test_list_offers_a_rerun_to_those_who_may_start_one(client: Clients, runs: tuple[RunLog, RunLog]) -> None:
    path = f"/magnus/rerun/{place(runs[1])}?run="
    query = f"/magnus/runs?pipeline={DAG_ID}"
    assert path in client("admin").get(query).text
    assert f"/magnus/rerun/{place(runs[0])}" not in client("admin").get(query).text
    assert path not in client("vic", "VIEWER").get(query).text
    assert path in client("admin").get(url(runs[1])).text
    assert path not in client("vic", "VIEWER").get(url(runs[1])).text


def test_list_is_paged(client: Clients, runs: tuple[RunLog, RunLog], monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_magnus.ui import runs_page

    monkeypatch.setattr(runs_page, "ROWS", 1)
    admin, query = client("admin"), f"/magnus/runs?pipeline={DAG_ID}&text=manual"
    first = admin.get(query).text
    after = re.search(r'rel="next" href="([^"]*)"', first)
    assert after
    assert runs[1].scheduler["run_id"] in first
    second = admin.get(after[1].replace("&amp;", "&")).text
    assert runs[0].scheduler["run_id"] in second
    assert 'rel="next"' not in second


def test_two_runs_are_compared(client: Clients, runs: tuple[RunLog, RunLog]) -> None:
    good, bad = runs
    said = words(client("vic", "VIEWER").get(compared(bad, good)).text)
    assert "The runs part at step make : other parameters to begin with (x) → other output (a.txt)" in said
    assert "Step make task · here the runs part" in said
    assert "began with x 1 2" in said
    assert "Only in B clean up, fail" in said
    assert "in nothing but the code" not in said
    assert said.index("Step make") < said.index("The runs as a whole") < said.index("Step use")


def test_text_of_a_file_is_compared(client: Clients, runs: tuple[RunLog, RunLog]) -> None:
    page = client("admin").get(compared(*runs, step="make", file="a.txt")).text
    assert '<span class="removed">-1' in page
    assert '<span class="added">+2' in page
    said = words(client("admin").get(compared(*runs, step="make", file="../etc/passwd")).text)
    assert "Both runs have this file only where it is listed below" in said


def test_equal_runs_are_said_to_be(client: Clients, runs: tuple[RunLog, RunLog]) -> None:
    assert "The runs are equal" in words(client("admin").get(compared(runs[0], runs[0])).text)


def test_other_run_is_chosen_or_the_last_success(client: Clients, runs: tuple[RunLog, RunLog]) -> None:
    good, bad = runs
    admin = client("admin")
    chosen = admin.get(f"/magnus/compare/{place(bad)}?with=last-success")
    assert (chosen.status_code, chosen.headers["location"]) == (303, compared(bad, good).rstrip("?"))
    alone = admin.get(f"/magnus/compare/{place(good)}?with=last-success")
    assert (alone.status_code, "has succeeded. Choose another run" in words(alone.text)) == (200, True)
    assert compared(good, bad).rstrip("?") in admin.get(f"/magnus/compare/{place(good)}").text
    picked = admin.get("/magnus/compare", params={"run": [place(good), place(bad)]})
    assert picked.headers["location"] == compared(good, bad).rstrip("?")


def test_run_of_another_dag_is_compared_by_who_may_read_both(
    client: Clients, runs: tuple[RunLog, RunLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_magnus.ui import compare_page

    good, bad = runs
    monkeypatch.setattr(compare_page, "may_read_runs_of", lambda *_: False)
    answer = client("admin").get(compared(good, bad, other_dag_id="secret-dag"))
    assert (answer.status_code, "There is no DAG secret-dag" in words(answer.text)) == (404, True)
    monkeypatch.setattr(compare_page, "may_read_runs_of", lambda *_: True)
    assert client("admin").get(compared(good, bad, other_dag_id="secret-dag")).status_code == 404


def test_pipeline_is_drawn_and_described(client: Clients, runs: tuple[RunLog, RunLog]) -> None:
    page = client("vic", "VIEWER").get(f"/magnus/pipelines/{DAG_ID}").text
    said = words(page)
    assert "Orders & their <regions>" in said
    assert "<regions>" not in page
    assert 'regions ["eu", "us"]' in said
    assert "Run log connection magnus_run_log_default, or the default" in said
    assert page.count('<path class="failure"') == 1
    assert re.findall(r'<text class="name" y="14">([^<]*)<', page)[:3] == ["make", "each", "clean"]
    assert "ways.left.one as-is" in said
    assert runs[1].scheduler["run_id"] in page
    assert not re.search(r"<style| style=| on\w+=|<script>", page)


def test_dag_of_others_is_told_kindly(client: Clients, runs: tuple[RunLog, RunLog], run_dag: Any) -> None:
    from airflow.providers.common.compat.sdk import DAG
    from airflow.providers.standard.operators.empty import EmptyOperator

    with DAG("dag-of-others", schedule=None) as dag:
        EmptyOperator(task_id="nothing")
    with pytest.raises(Exception, match="no run"):
        run_dag(dag)
    for path in ("pipelines/dag-of-others", "runs/dag-of-others/any"):
        answer = client("admin").get(f"/magnus/{path}")
        assert (answer.status_code, "is not made of a pipeline file" in words(answer.text)) == (404, True)


def test_dag_of_a_refused_file_shows_its_faults(
    client: Clients, runs: tuple[RunLog, RunLog], run_dag: Any, tmp_path: Path
) -> None:
    from airflow_magnus.dags.invalid import invalid_dag
    from airflow_magnus.errors import Fault

    dag = invalid_dag(
        "refused", tmp_path / "refused.yaml", [Fault(None, "dag.steps.a", "leads to <nowhere>")]
    )
    with pytest.raises(Exception, match=r"\w"):
        run_dag(dag)
    for path in ("pipelines/refused", "runs/refused/any"):
        said = words(client("admin").get(f"/magnus/{path}").text)
        assert "The pipeline file of refused is refused" in said
        assert "dag.steps.a: leads to <nowhere>" in said


def test_failure_stands_on_top(client: Clients, runs: tuple[RunLog, RunLog]) -> None:
    said = words(client("admin").get(url(runs[1])).text)
    assert said.index("Step use failed: command exited with status 1 <b>oh</b>") < said.index("Parameters")
    assert "Step use failed" not in words(client("admin").get(url(runs[0])).text)


def test_run_that_nobody_knows_is_said_to_be(client: Clients, runs: tuple[RunLog, RunLog]) -> None:
    said = words(client("admin").get(f"/magnus/runs/{DAG_ID}/nope").text)
    assert f"There is no run nope of the DAG {DAG_ID}" in said


def test_how_many_runs_were_ticked_is_told(client: Clients, runs: tuple[RunLog, RunLog]) -> None:
    picked = "&".join(f"run={DAG_ID}/{n}" for n in range(3))
    assert "3 are ticked" in words(client("admin").get(f"/magnus/compare?{picked}").text)


def test_store_out_of_reach_is_said_to_be(
    client: Clients, runs: tuple[RunLog, RunLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_magnus.errors import StoreError
    from airflow_magnus.ui import run_stores

    def out_of_reach(*_: object, **__: object) -> None:
        raise StoreError("s3://bucket did not answer")

    monkeypatch.setattr(run_stores, "open_services", out_of_reach)
    answer = client("admin").get(url(runs[0]))
    assert (answer.status_code, "The stores of this run cannot be read" in words(answer.text)) == (503, True)


def test_rerun_shows_what_it_has_taken_over(
    client: Clients, runs: tuple[RunLog, RunLog], store: RunLogStore, tmp_path: Path
) -> None:
    mended = tmp_path / "mended"
    text = linear(
        {
            "make": shell("mkdir -p data; echo 1 > data/a; echo 22 > data/b", catalog={"put": ["a", "b"]}),
            "use": shell(f"mkdir -p data; echo 333 > data/a; test -e {mended}", catalog={"put": ["a"]}),
        },
        parameters={"x": 1, "y": 5},
    )
    first = run_once(text, store, tmp_path, {"x": 2}, "page-of-taken-over")
    mended.touch()
    rerun = run_once(
        text.replace("y: 5", "y: 5\n  z: 6"),
        store,
        tmp_path,
        {"use_cached": first.run_id},
        "page-of-taken-over",
    )
    assert (first.status, rerun.status) == ("FAIL", "SUCCESS")
    page = client("admin").get(url(rerun)).text
    said = words(page)
    assert "Files 2, 7 B 1 taken over" in said
    assert "Files taken over 2 Name Size Digest (sha256) a 2 B" in said
    assert f"/magnus/provenance/{place(rerun)}/b" in page
    assert "x 2 2 taken over y 5 5 taken over z 6 6 default" in said
    listed = words(client("admin").get("/magnus/runs?pipeline=page-of-taken-over").text)
    assert re.search(r"re-run of \S+ .*? 2 7 B", listed), listed


def test_runs_are_counted_with_the_pipelines_that_have_some(
    client: Clients, runs: tuple[RunLog, RunLog]
) -> None:
    said = words(client("admin").get(f"/magnus/runs?pipeline={DAG_ID}").text)
    count = re.search(r"Runs (\d+) runs of 1 pipeline ", said)
    assert count, said
    none = words(client("admin").get(f"/magnus/runs?pipeline={DAG_ID}&text=nothing-like-this").text)
    assert "0 runs of 0 pipelines" in none


def test_address_that_is_no_page_leads_to_those_that_are(client: Clients) -> None:
    admin = client("admin")
    missing = admin.get("/magnus/nope")
    assert missing.status_code == 404
    for path in ("runs", "provenance", "api/docs"):
        assert f"<code>/magnus/{path}</code>" in missing.text
    first = admin.get("/magnus/")
    assert (first.status_code, first.headers["location"]) == (303, "/magnus/runs")


def test_names_in_texts_are_marked_and_nothing_else(client: Clients) -> None:
    docs = client("admin").get("/magnus/api/docs").text
    assert "`" not in docs
    assert "<code>magnus runlog diff --json</code>" in docs


def test_page_of_the_catalog_folder_leads_to_the_files(client: Clients, runs: tuple[RunLog, RunLog]) -> None:
    page = client("admin").get(f"/magnus/catalog/{place(runs[0])}").text
    assert f'href="/magnus/files/{place(runs[0])}/a.txt"' in page
    assert f'href="/magnus/runs/{place(runs[0])}#steps"' in page
