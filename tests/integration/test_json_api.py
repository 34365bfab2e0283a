"""The JSON API, on Airflow's database and a run log of real runs, without a server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.runlog.records import RunHeader, RunLog
from pipelines import linear, shell
from ui_site import client_of, embedded_run_log, run_of, served, token_of

MAKER, OTHER = "api-maker", "api-other"
V1 = "/magnus/api/v1"
TEXT = linear(
    {
        "make": shell("mkdir -p data; echo 1 > data/a.txt", catalog={"put": ["*"]}),
        "use": shell("tr 1 2 < data/a.txt > data/b.txt", catalog={"get": ["a.txt"], "put": ["b.txt"]}),
    }
)
FAILING = linear(
    {
        "make": shell("mkdir -p data; echo 1 > data/a.txt", catalog={"put": ["*"]}),
        "use": shell("exit 3", catalog={"get": ["a.txt"]}),
    }
)


@pytest.fixture(scope="module")
def runs(airflow_home: Path, tmp_path_factory: pytest.TempPathFactory) -> list[RunLog]:
    """Two runs of one DAG, and one that failed of another."""
    folder = tmp_path_factory.mktemp("pipelines")
    first = run_of(airflow_home, folder / "maker.yaml", TEXT, MAKER, {"tag": "nightly"})
    second = run_of(airflow_home, folder / "maker.yaml", TEXT, MAKER)
    failed = run_of(airflow_home, folder / "other.yaml", FAILING, OTHER)
    assert [log.status for log in (first, second, failed)] == ["SUCCESS", "SUCCESS", "FAIL"]
    return [first, second, failed]


@pytest.fixture(scope="module")
def site(airflow_home: Path, runs: list[RunLog]) -> Iterator[Any]:
    """The pages."""
    with served(airflow_home) as app:
        yield app


@pytest.fixture
def admin(site: Any) -> Any:
    """A browser of someone who may do everything."""
    return client_of(site, "admin")


def airflow_id(log: RunLog) -> str:
    return str(log.scheduler["run_id"])


def of_run(log: RunLog) -> str:
    return f"{V1}/runs/{log.scheduler['dag_id']}/{airflow_id(log)}"


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [run["run_id"] for run in answer.json()["runs"]]


def test_runs_are_filtered_and_paged(admin: Any, runs: list[RunLog]) -> None:
    first, second, failed = (log.run_id for log in runs)

    def asked(**query: Any) -> list[str]:
        found = ids(admin.get(f"{V1}/runs", params=query))
        return [run_id for run_id in found if run_id in (first, second, failed)]

    assert asked() == [failed, second, first]
    assert asked(pipeline="maker") == [second, first]
    assert asked(pipeline=[MAKER, OTHER], status="SUCCESS") == [second, first]
    assert asked(tag="nightly") == asked(text="NIGHT", pipeline=MAKER) == [first]
    assert asked(until="2020-01-01T00:00:00Z") == asked(parameter="nobody=1") == []
    pages, after = [], ""
    for _ in range(2):
        answer = admin.get(f"{V1}/runs", params={"pipeline": MAKER, "limit": 1, "after": after})
        assert answer.json()["total"] == 2
        pages += ids(answer)
        after = answer.json()["after"]
    assert (pages, after) == ([second, first], "")


def test_a_run_with_its_log_steps_and_files(admin: Any, runs: list[RunLog]) -> None:
    log = runs[1]
    shown = admin.get(of_run(log)).json()
    assert (shown["dag_id"], shown["dag_run_id"], shown["run_id"]) == (MAKER, airflow_id(log), log.run_id)
    assert (shown["status"], shown["files"], shown["bytes_stored"]) == ("SUCCESS", 2, 4)
    assert RunLog.model_validate_json(admin.get(f"{of_run(log)}/log").text) == log
    steps = admin.get(f"{of_run(log)}/steps").json()
    assert [one["internal_name"] for one in steps["steps"]] == ["make", "use", "success"]
    assert admin.get(f"{of_run(log)}/steps?offset=1&limit=1").json()["steps"][0]["task_id"] == "use"
    assert admin.get(f"{of_run(log)}/steps?status=FAIL").json() == {"steps": [], "total": 0}
    files = admin.get(f"{of_run(log)}/files").json()["files"]
    assert [(f["step"], f["direction"], f["name"]) for f in files] == [
        ("make", "put", "a.txt"), ("use", "get", "a.txt"), ("use", "put", "b.txt"),
    ]  # fmt: skip


def test_provenance_leads_from_a_file_to_what_made_its_inputs(admin: Any, runs: list[RunLog]) -> None:
    first, second, failed = runs
    b = second.steps["use"].data_catalog[-1]
    found = admin.get(f"{V1}/files", params={"q": b.data_hash[:12]}).json()["files"]
    assert {(f["run_id"], f["step"], f["direction"]) for f in found} >= {
        (second.run_id, "use", "put"), (first.run_id, "use", "put"),
    }  # fmt: skip
    origin = admin.get(
        f"{V1}/provenance/{b.data_hash}", params={"dag_id": MAKER, "run_id": airflow_id(second)}
    ).json()
    steps = {one["key"]: (one["run_id"], one["step"], one["depth"]) for one in origin["steps"]}
    assert list(steps.values()) == [(second.run_id, "use", 0), (second.run_id, "make", 1)]
    names = {one["key"]: one["name"] for one in origin["files"]}
    assert [(steps[e["step"]][1], e["direction"], names[e["file"]]) for e in origin["edges"]] == [
        ("use", "put", "b.txt"), ("use", "get", "a.txt"), ("make", "put", "a.txt"),
    ]  # fmt: skip
    a = second.steps["make"].data_catalog[0]
    readers = admin.get(f"{V1}/provenance/{a.data_hash}").json()["readers"]
    assert [one["run_id"] for one in readers if one["dag_id"] in (MAKER, OTHER)] == [
        failed.run_id, second.run_id, first.run_id,
    ]  # fmt: skip


def test_diff_and_plan(admin: Any, runs: list[RunLog]) -> None:
    first, second, failed = runs
    same = admin.get(f"{of_run(first)}/diff/{airflow_id(second)}").json()
    assert same["run_id"] == {"a": first.run_id, "b": second.run_id}
    other = admin.get(f"{of_run(first)}/diff/{airflow_id(failed)}", params={"other_dag_id": OTHER}).json()
    assert other["status"] == {"a": "SUCCESS", "b": "FAIL"}
    plan = admin.get(f"{of_run(failed)}/plan").json()
    assert [(one["internal_name"], one["action"]) for one in plan["steps"]][:2] == [
        ("make", "restore"), ("use", "run"),
    ]  # fmt: skip
    assert admin.get(f"{of_run(first)}/plan").status_code == 409


def test_a_bearer_token_is_as_good_as_a_cookie(site: Any, runs: list[RunLog]) -> None:
    anonymous = client_of(site)
    headers = {"Authorization": f"Bearer {token_of('vic', 'VIEWER')}"}
    assert anonymous.get(of_run(runs[0]), headers=headers).json()["run_id"] == runs[0].run_id
    refused = anonymous.get(of_run(runs[0]))
    assert (refused.status_code, refused.json()["title"]) == (401, "You are not signed in")
    assert anonymous.get(f"{V1}/runs").status_code == 401


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("runs/api-maker/never", 404), ("runs/api-maker/never/log", 404), ("runs/nowhere/never", 404),
        ("runs/api-maker/a%2Fb", 400), ("runs/api-maker/%2e%2e/steps", 400), ("runs/api-maker/a%00b", 400), ("nothing", 404),
        ("runs?limit=0", 400), ("runs?limit=many", 400), ("runs?after=%21", 400), ("files?q=", 400),
        ("provenance/abc", 400), (f"provenance/{'0' * 64}", 404), ("runs?since=yesterday", 400),
    ],
)  # fmt: skip
def test_refusals_are_json_and_tell_no_path(admin: Any, airflow_home: Path, path: str, status: int) -> None:
    answer = admin.get(f"{V1}/{path}")
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"status", "title", "what_to_do"}
    assert "Traceback" not in answer.text


def test_a_run_of_another_dag_is_not_found(admin: Any, runs: list[RunLog]) -> None:
    for end in ("", "/log", "/steps", "/files"):
        path = f"{V1}/runs/{OTHER}/{airflow_id(runs[0])}{end}"
        assert admin.get(path).status_code == 404
        assert admin.get(path, params={"run": runs[0].run_id}).status_code == 404


def test_lists_leave_out_what_the_user_may_not_read(
    site: Any, runs: list[RunLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    allowed = SimpleAuthManager.is_authorized_dag

    def of_maker_alone(self: Any, *, details: Any = None, **told: Any) -> bool:
        return (details is None or details.id in (None, MAKER)) and allowed(self, details=details, **told)

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", of_maker_alone)
    viewer = client_of(site, "vic", "VIEWER")
    assert {run["dag_id"] for run in viewer.get(f"{V1}/runs").json()["runs"]} == {MAKER}
    a = runs[2].steps["make"].data_catalog[0]
    uses = viewer.get(f"{V1}/files", params={"q": "a.txt"}).json()["files"]
    assert {use["dag_id"] for use in uses} == {MAKER}
    origin = viewer.get(f"{V1}/provenance/{a.data_hash}").json()
    assert runs[2].run_id not in str(origin)
    for end in ("", "/log", "/steps", "/files", "/plan", f"/diff/{airflow_id(runs[2])}"):
        assert viewer.get(f"{of_run(runs[2])}{end}").status_code == 403
    crossed = viewer.get(f"{of_run(runs[0])}/diff/{airflow_id(runs[2])}", params={"other_dag_id": OTHER})
    assert crossed.status_code == 403


def test_runs_of_the_command_line_belong_to_the_dag_of_their_pipeline(
    admin: Any, runs: list[RunLog], airflow_home: Path
) -> None:
    store = embedded_run_log(airflow_home)
    owner = {"type": "command", "hostname": "elsewhere", "pid": 1}
    for run_id, pipeline in (("by-hand", "maker"), ("of-nobody", "unheard-of")):
        store.claim(RunHeader(run_id=run_id, token="t", pipeline=pipeline, scheduler=owner))
    from airflow_magnus.ui import open_indexes

    open_indexes._all.cache_clear()
    found = {run["run_id"]: run for run in admin.get(f"{V1}/runs").json()["runs"]}
    assert (found["by-hand"]["dag_id"], found["by-hand"]["dag_run_id"]) == (MAKER, "")
    assert "of-nobody" not in found
    assert admin.get(f"{V1}/runs/{MAKER}/by-hand").json()["status"] == "PROCESSING"
    assert admin.get(f"{V1}/runs/{OTHER}/by-hand").status_code == 404


def test_documentation_is_for_those_who_are_signed_in(site: Any, admin: Any) -> None:
    document = admin.get("/magnus/api/openapi.json").json()
    assert set(document["paths"]) == {
        "/api/v1/runs", "/api/v1/runs/{dag_id}/{run_id}", "/api/v1/runs/{dag_id}/{run_id}/log",
        "/api/v1/runs/{dag_id}/{run_id}/steps", "/api/v1/runs/{dag_id}/{run_id}/files",
        "/api/v1/runs/{dag_id}/{run_id}/diff/{other_run_id}", "/api/v1/runs/{dag_id}/{run_id}/plan",
        "/api/v1/files", "/api/v1/provenance/{sha256}",
    }  # fmt: skip
    assert document["servers"] == [{"url": "/magnus"}]
    page = admin.get("/magnus/api/docs")
    assert page.status_code == 200
    assert "GET /magnus/api/v1/provenance/{sha256}" in page.text
    assert "bytes_stored" in page.text
    assert client_of(site).get("/magnus/api/openapi.json").status_code == 401
    assert client_of(site).get("/magnus/api/docs").status_code == 303


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/magnus/api/v1/nope", 404), ("POST", f"{V1}/runs", 405)]
)
def test_refusal_of_an_address_or_method_says_where_the_docs_are(
    admin: Any, method: str, path: str, status: int
) -> None:
    answer = admin.request(method, path)
    assert answer.status_code == status
    assert "/magnus/api/docs" in answer.json()["what_to_do"]
    assert "/magnus/api/openapi.json" in answer.json()["what_to_do"]


def test_times_are_those_of_json_and_statuses_are_listed(admin: Any, runs: list[RunLog]) -> None:
    shown = [admin.get(of_run(runs[1])).json(), *admin.get(f"{of_run(runs[1])}/steps").json()["steps"]]
    times = [one[key] for one in shown for key in ("start", "end")]
    times += [one["time"] for one in admin.get(f"{of_run(runs[1])}/files").json()["files"]]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", one) for one in times)
    document = admin.get("/magnus/api/openapi.json").json()
    run = document["components"]["schemas"]["Run"]["properties"]
    assert {"type": "string", "format": "date-time"} in run["start"]["anyOf"]
    assert run["status"]["enum"] == ["SUCCESS", "FAIL", "PROCESSING"]
    for path, least in (
        (f"{V1}/runs", "PROCESSING"),
        (f"{V1}/runs/{{dag_id}}/{{run_id}}/steps", "TRIGGERED"),
    ):
        asked = document["paths"][path.removeprefix("/magnus")]["get"]["parameters"]
        (status,) = [one["schema"] for one in asked if one["name"] == "status"]
        assert {least, "FAIL"} <= set(status["enum"])
    assert admin.get(f"{V1}/runs?status=").status_code == 200
    assert admin.get(f"{V1}/runs?status=nope").status_code == 400
