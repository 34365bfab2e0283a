"""Four users and nobody × every page and endpoint: who sees what. A route without a row here fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from airflow_magnus.dags import embedded
from airflow_magnus.dags.builder import pipeline_dag
from airflow_magnus.pipeline.identifiers import safe_run_id
from airflow_magnus.pipeline.model import ServiceSettings
from airflow_magnus.runlog.records import RunLog
from airflow_magnus.stores.services import open_run_log
from dag_rights import WITHOUT
from pipelines import linear, shell
from ui_stage import Client

DAG_ID = "private-orders"
OTHER = "public-orders"
FILE = "out/totals of {dag_id}.csv"
USERS = {"admin": "ADMIN", "eve": "USER", "vic": "VIEWER", WITHOUT: "USER", "": ""}
"""Admin, editor, viewer, an editor without a right on the DAG, and nobody."""
READS = {"admin": 200, "eve": 200, "vic": 200, WITHOUT: 403, "": 303}
"""Pages of one run."""
READS_API = {**READS, "": 401}
LISTS = {**READS, WITHOUT: 200}
"""Pages over all runs: they leave out what the user may not read."""
LISTS_API = {**LISTS, "": 401}
STARTS = {"admin": 403, "eve": 403, "vic": 403, WITHOUT: 403, "": 401}
"""Without the form that its page gives nobody starts anything; who may is told so."""

TABLE: Mapping[tuple[str, str], tuple[str, Mapping[str, int]]] = {
    ("GET", "/"): ("/", dict.fromkeys(USERS, 303)),
    ("GET", "/runs"): ("/runs", LISTS),
    ("GET", "/runs/{dag_id}/{run_id}"): ("/runs/{run}", READS),
    ("GET", "/runs/{dag_id}/{run_id}/document.json"): ("/runs/{run}/document.json", READS),
    ("GET", "/pipelines/{dag_id}"): ("/pipelines/{dag}", READS),
    ("GET", "/compare"): ("/compare?run={run}&run={run2}", dict.fromkeys(USERS, 303)),
    ("GET", "/compare/{dag_id}/{run_id}"): ("/compare/{run}", READS),
    ("GET", "/compare/{dag_id}/{run_id}/{other}"): ("/compare/{run}/{run_id2}", READS),
    ("GET", "/data/{dag_id}/{run_id}/{task_id}/{map_index}"): ("/data/{run}/make/-1", READS),
    ("GET", "/files/{dag_id}/{run_id}/{name:path}"): ("/files/{run}/{file}", READS),
    ("GET", "/provenance"): ("/provenance?q={digest}", LISTS),
    ("GET", "/provenance/{dag_id}/{run_id}/{name:path}"): ("/provenance/{run}/{file}", READS),
    ("GET", "/catalog/{dag_id}/{run_id}"): ("/catalog/{run}", READS),
    ("GET", "/rerun/{dag_id}/{run_id:path}"): ("/rerun/{run}", READS),
    ("POST", "/rerun/{dag_id}/{run_id:path}"): ("/rerun/{run}", STARTS),
    ("GET", "/api/v1/runs"): ("/api/v1/runs", LISTS_API),
    ("GET", "/api/v1/runs/{dag_id}/{run_id}"): ("/api/v1/runs/{run}", READS_API),
    ("GET", "/api/v1/runs/{dag_id}/{run_id}/log"): ("/api/v1/runs/{run}/log", READS_API),
    ("GET", "/api/v1/runs/{dag_id}/{run_id}/steps"): ("/api/v1/runs/{run}/steps", READS_API),
    ("GET", "/api/v1/runs/{dag_id}/{run_id}/files"): ("/api/v1/runs/{run}/files", READS_API),
    ("GET", "/api/v1/runs/{dag_id}/{run_id}/diff/{other_run_id}"): ("/api/v1/runs/{run}/diff/{run_id2}", READS_API),
    ("GET", "/api/v1/runs/{dag_id}/{run_id}/plan"): ("/api/v1/runs/{run}/plan", READS_API),
    ("GET", "/api/v1/files"): ("/api/v1/files?q=totals", LISTS_API),
    ("GET", "/api/v1/provenance/{sha256}"): ("/api/v1/provenance/{digest}", {**LISTS_API, WITHOUT: 404}),
    ("GET", "/api/openapi.json"): ("/api/openapi.json", LISTS_API),
    ("GET", "/api/docs"): ("/api/docs", {**LISTS_API, "": 303}),
}  # fmt: skip
"""Method and path of each route → an address of it, and what each user is answered."""


@dataclass(frozen=True)
class Runs:
    """Two runs of the DAG that is closed to one user, both failed, and one of a DAG that is open to all."""

    first: RunLog
    second: RunLog
    other: RunLog

    def address(self, template: str, dag_id: str = DAG_ID) -> str:
        """An address of a route, for the first run."""
        ids = [quote(str(log.scheduler["run_id"]), safe="") for log in (self.first, self.second)]
        file = self.first.steps["make"].data_catalog[0]
        return "/magnus" + template.format(
            dag=dag_id,
            run=f"{dag_id}/{ids[0]}",
            run2=f"{dag_id}/{ids[1]}",
            run_id2=ids[1],
            file=quote(file.name),
            digest=file.data_hash,
        )


@pytest.fixture(scope="module", autouse=True)
def _rights_by_dag() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__AUTH_MANAGER", "dag_rights.DagRights")
        yield


@pytest.fixture(scope="module")
def runs(airflow_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("pipelines")
    return Runs(*(_run(folder, airflow_home, dag_id) for dag_id in (DAG_ID, DAG_ID, OTHER)))


def _run(folder: Path, home: Path, dag_id: str) -> RunLog:
    name = FILE.format(dag_id=dag_id)
    make = shell(f"mkdir -p data/out; echo {dag_id} > 'data/{name}'", catalog={"put": ["out/*"]})
    file = folder / f"{dag_id}.yaml"
    file.write_text(linear({"make": make, "use": shell("exit 3", catalog={"get": ["out/*"]})}))
    before = dict(os.environ)
    try:
        embedded._current = dag = pipeline_dag(file, dag_id=dag_id)
        run = dag.test()
    finally:
        embedded._current = None
        os.environ.clear()
        os.environ.update(before)
    store = ServiceSettings("file-system", {"log_folder": str(home / "magnus" / "run_log")})
    return open_run_log(store, folder=home).find(safe_run_id(f"{dag_id}.{run.run_id}"))


def _routes() -> set[tuple[str, str]]:
    from fastapi.routing import APIRoute
    from starlette.routing import Mount

    from airflow_magnus.ui.app import make_app

    routes = make_app().routes
    assert all(isinstance(route, APIRoute | Mount) for route in routes)
    return {(m, route.path) for route in routes if isinstance(route, APIRoute) for m in route.methods}


def test_every_route_has_a_row() -> None:
    assert _routes() == set(TABLE)


@pytest.mark.parametrize("route", TABLE, ids=" ".join)
def test_each_user_is_answered_as_the_rights_on_the_dag_say(
    client: Callable[..., Client], runs: Runs, route: tuple[str, str]
) -> None:
    template, expected = TABLE[route]
    answers = {
        user: client(user, role).request(route[0], runs.address(template)) for user, role in USERS.items()
    }
    assert {user: answer.status_code for user, answer in answers.items()} == expected
    for user, answer in answers.items():
        is_form = "This form is not from your page" in answer.text
        assert is_form == (route[0] == "POST" and user in ("admin", "eve"))
        if user in (WITHOUT, ""):
            said = answer.text.replace(f"/dags/{DAG_ID}", "")  # the way back to what was asked for
            assert DAG_ID not in said.replace(answer.headers.get("location", ""), "")


def test_lists_have_what_the_user_may_read(client: Callable[..., Client], runs: Runs) -> None:
    for path in ("/runs", "/api/v1/runs", "/api/v1/files?q=totals", "/provenance?q=totals"):
        seen = {user: client(user, USERS[user]).get(runs.address(path)).text for user in ("vic", WITHOUT)}
        assert DAG_ID in seen["vic"], path
        assert OTHER in seen["vic"], path
        assert DAG_ID not in seen[WITHOUT], path
        assert OTHER in seen[WITHOUT], path


def test_run_of_another_dag_is_not_there(client: Callable[..., Client], runs: Runs) -> None:
    """Who may read one DAG cannot read another's runs by writing its own id in front of them."""
    for (method, path), (template, _) in TABLE.items():
        if "{run_id" not in path or method == "POST":
            continue
        answer = client(WITHOUT, "USER").get(runs.address(template, OTHER))
        assert answer.status_code == 404, path
        assert DAG_ID not in answer.text, path


@pytest.mark.parametrize("other", ["other_dag_id", "other_dag"])
def test_comparison_asks_for_the_right_on_both(client: Callable[..., Client], runs: Runs, other: str) -> None:
    mine, theirs = (quote(str(log.scheduler["run_id"]), safe="") for log in (runs.other, runs.first))
    for path in (f"/compare/{OTHER}/{mine}/{theirs}", f"/api/v1/runs/{OTHER}/{mine}/diff/{theirs}"):
        answer = client(WITHOUT, "USER").get(f"/magnus{path}?{other}={DAG_ID}")
        assert answer.status_code in (403, 404), path
        assert FILE.format(dag_id=DAG_ID) not in answer.text


@pytest.mark.parametrize(
    "trick", ["%2e%2e", "..%2f..%2fetc", "a%2Fb", "a%00b", "%252e%252e", "..%5c..", "x" * 5000]
)
def test_tricks_in_paths_find_nothing_and_tell_nothing(
    client: Callable[..., Client], runs: Runs, trick: str, airflow_home: Path
) -> None:
    admin = client("admin")
    for method, path in TABLE:
        names = [
            name
            for name in (
                "{dag_id}",
                "{run_id}",
                "{run_id:path}",
                "{name:path}",
                "{task_id}",
                "{sha256}",
                "{other}",
            )
            if name in path
        ]
        for name in names:
            address = path.replace(name, trick)
            for left, value in (("{dag_id}", DAG_ID), ("{run_id}", "r"), ("{run_id:path}", "r"), ("{other}", "o"), ("{other_run_id}", "o"),
                                ("{name:path}", "f"), ("{task_id}", "t"), ("{map_index}", "-1")):  # fmt: skip
                address = address.replace(left, value)
            answer = admin.request(method, f"/magnus{address}")
            assert 400 <= answer.status_code < 500, (address, answer.status_code)
            for told in ("Traceback", str(airflow_home), "site-packages", "sqlalchemy"):
                assert told not in answer.text, (address, told)
