"""Services of pipelines that run as DAGs: connections, the embedded default, working folders, re-runs, Params."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus import PipelineTaskGroup, load_pipelines
from airflow_magnus.dags.builder import pipeline_dag
from airflow_magnus.stores.runlogs import RunLogStore
from fixtures_s3 import s3_client
from pipelines import function, linear, only, python, shell

RunDag = Callable[..., Any]


@pytest.fixture
def file(project: Path) -> Callable[..., Path]:
    """Writes a pipeline file in a folder of its own."""

    def write(text: str, name: str) -> Path:
        folder = project / "pipelines"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.yaml").write_text(text)
        return folder / f"{name}.yaml"

    return write


def test_step_works_in_a_private_copy_of_the_pipeline_s_folder(
    file: Callable[..., Path], run_dag: RunDag, project: Path, airflow_home: Path
) -> None:
    text = linear(
        {
            "look": python("work.look"),
            "spoil": shell("echo new > text.txt; touch left; test ! -e left-before"),
            "again": shell(
                "test $(cat text.txt) = old && test ! -e left && test -d data && cat package/linked/x"
            ),
        }
    )
    path = file(text, "private-copy")
    folder = path.parent
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("")
    (folder / "package" / "helper.py").write_text("VALUE = 5\n")
    (project / "library").mkdir()
    (project / "library" / "x").write_text("x")
    (folder / "package" / "linked").symlink_to(project / "library")
    for name in (".git", "data", ".catalog", "__pycache__"):
        (folder / name).mkdir()
        (folder / name / "file").write_text("1")
    (folder / "text.txt").write_text("old")
    (folder / "work.py").write_text(
        "import os\nfrom pathlib import Path\nfrom package.helper import VALUE\n"
        "def look():\n"
        "    names = sorted(p.name for p in Path().iterdir() if p.name != '__pycache__')\n"
        "    return {'value': VALUE, 'names': names, 'data': os.listdir('data'), 'cwd': os.getcwd()}\n"
    )
    log, states = run_dag(load_pipelines(folder, {})["private-copy"])
    assert log.status == "SUCCESS", log.steps
    assert states["success"] == "success"
    assert log.parameters["value"] == 5
    assert log.parameters["names"] == ["data", "package", "private-copy.yaml", "text.txt", "work.py"]
    assert log.parameters["data"] == []
    assert not Path(log.parameters["cwd"]).exists()
    assert (folder / "text.txt").read_text() == "old"
    assert log.run_config["catalog"]["config"]["catalog_location"] == str(airflow_home / "magnus" / "catalog")


def test_services_come_from_the_default_connections(
    file: Callable[..., Path], run_dag: RunDag, monkeypatch: pytest.MonkeyPatch, make_bucket: Callable[..., str],
    moto_server: str, project: Path,
) -> None:  # fmt: skip
    bucket = make_bucket()
    connection = {
        "conn_type": "magnus_catalog", "login": "key", "password": "very-secret-key",
        "extra": {"url": f"s3://{bucket}/prefix", "endpoint_url": moto_server},
    }  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_MAGNUS_CATALOG_DEFAULT", json.dumps(connection))
    (project / "secrets.env").write_text("TOKEN=token-of-the-connection\n")
    secrets = {
        "conn_type": "magnus_secrets",
        "extra": {"location": str(project / "secrets.env"), "type": "dotenv"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_MAGNUS_SECRETS_DEFAULT", json.dumps(secrets))
    path = file(
        linear(
            {
                "a": shell("echo 1 > data/a.txt", catalog={"put": ["*"]}),
                "b": shell("test $(cat data/a.txt) = 1", catalog={"get": ["*"]}),
                "c": function("lambda: {'n': len(__import__('magnus').get_secret('TOKEN'))}"),
            }
        ),
        "default-connections",
    )
    log, _ = run_dag(pipeline_dag(path))
    assert log.status == "SUCCESS", log.steps
    assert log.parameters == {"n": 23}
    keys = [o["Key"] for o in s3_client(moto_server).list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == [f"prefix/{log.run_id}/a.txt"]
    assert log.run_config["catalog"]["conn_id"] == "magnus_catalog_default"
    assert "very-secret-key" not in log.to_json()


@pytest.mark.parametrize("bucket", ["", "no-such-bucket"])
def test_failure_is_recorded_when_catalog_cannot_be_used(
    file: Callable[..., Path], run_dag: RunDag, monkeypatch: pytest.MonkeyPatch, moto_server: str, bucket: str
) -> None:
    if bucket:
        connection = {
            "conn_type": "magnus_catalog", "login": "key", "password": "secret-key",
            "extra": {"url": f"s3://{bucket}/p", "endpoint_url": moto_server},
        }  # fmt: skip
        monkeypatch.setenv("AIRFLOW_CONN_LAB_CATALOG", json.dumps(connection))
    text = only(shell("echo 1 > data/a", catalog={"put": ["*"]}))
    dag = pipeline_dag(file(text, f"catalog-{bucket or 'none'}"), catalog_conn_id="lab_catalog")
    log, states = run_dag(dag)
    assert (states["only"], states["fail"], log.status) == ("failed", "failed", "FAIL")
    message = log.steps["only"].attempts[-1].message
    assert (bucket or "'lab_catalog'") in message
    assert list(log.steps) == ["only", "fail"]


def test_params_are_the_parameters_of_the_run(file: Callable[..., Path], run_dag: RunDag) -> None:
    parameters = {"n": {"type": "integer", "default": 1}, "text": "a", "items": [], "tag": "mine"}
    dag = pipeline_dag(file(only(function("lambda n: {'n': n + 1}"), parameters=parameters), "params"))
    assert {name: dag.params.get_param(name).schema.get("type") for name in parameters} == {
        "n": "integer", "text": "string", "items": "array", "tag": "string",
    }  # fmt: skip
    log, _ = run_dag(dag, {"n": 5, "extra": {"k": 1}})
    assert log.parameters == {"n": 6, "text": "a", "items": [], "tag": "mine", "extra": {"k": 1}}
    assert log.tag is None
    with pytest.raises(Exception, match="not of type 'integer'"):
        run_dag(dag, {"n": "five"})


def test_tag_of_the_conf_is_kept(file: Callable[..., Path], run_dag: RunDag) -> None:
    dag = pipeline_dag(file(only(shell("true")), "tagged"))
    assert run_dag(dag, {"tag": "night"})[0].tag == "night"


def test_run_of_the_conf_is_taken_up_again(file: Callable[..., Path], run_dag: RunDag, project: Path) -> None:
    text = linear(
        {
            "make": shell("echo $$ > data/a.txt", catalog={"put": ["*"]}),
            "set": function("lambda: {'x': 1}"),
            "flaky": shell(f"test -e {project}/mended && test -s data/a.txt", catalog={"get": ["*"]}),
        }
    )
    path = file(text, "taken-up")
    first, _ = run_dag(pipeline_dag(path))
    assert first.status == "FAIL"
    (project / "mended").touch()
    second, states = run_dag(pipeline_dag(path), {"use_cached": first.run_id})
    assert second.status == "SUCCESS", second.steps
    assert (second.use_cached, second.original_run_id) == (True, first.run_id)
    assert [s.mock for s in second.steps.values()] == [True, True, False, False]
    assert second.steps["make"].attempts == []
    assert states["make"] == "success"
    assert second.parameters == {"x": 1}
    third, states = run_dag(pipeline_dag(path), {"use_cached": second.run_id})
    assert third.status == "SUCCESS"
    assert [s.mock for s in third.steps.values()] == [True, True, True, False]


def test_run_is_refused_when_the_one_to_take_up_is_unknown(
    file: Callable[..., Path], run_dag: RunDag
) -> None:
    dag = pipeline_dag(file(only(shell("true")), "unknown-run"))
    with pytest.raises(Exception, match="no run"):
        run_dag(dag, {"use_cached": "nothing-like-that"})


def test_groups_of_one_dag_have_runs_of_their_own(
    file: Callable[..., Path], run_dag: RunDag, airflow_home: Path, store: RunLogStore
) -> None:
    from airflow.sdk import DAG

    path = file(
        only(
            function("lambda n, m: {'n': n + m}"),
            parameters={"n": 1, "m": {"type": "integer", "default": 10}},
        ),
        "group",
    )
    with DAG("two-groups", schedule=None, params={"m": 20}) as dag:
        first = PipelineTaskGroup(path)
        second = PipelineTaskGroup(path, group_id="second")
        first.success >> second
    from airflow_magnus.dags import embedded

    embedded._current = dag
    run = dag.test()
    states = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
    assert states == {
        "group.only": "success", "group.success": "success", "group.fail": "skipped",
        "second.only": "success", "second.success": "success", "second.fail": "skipped",
    }  # fmt: skip
    logs = [store.read(run_id) for run_id in store.run_ids() if run_id.startswith("two-groups")]
    assert len(logs) == 2
    assert {log.status for log in logs} == {"SUCCESS"}
    assert [log.parameters["n"] for log in logs] == [21, 21]


@pytest.fixture
def store(airflow_home: Path) -> RunLogStore:
    """The embedded default's run log."""
    from airflow_magnus.pipeline.model import ServiceSettings
    from airflow_magnus.stores.services import open_run_log

    settings = ServiceSettings("file-system", {"log_folder": str(airflow_home / "magnus" / "run_log")})
    return open_run_log(settings, folder=airflow_home)
