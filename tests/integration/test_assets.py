"""Files that steps put as asset events, in Airflow's database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus import load_pipelines
from airflow_magnus.dags import embedded
from airflow_magnus.dags.builder import pipeline_dag
from pipelines import function, linear, mapped, only, shell

Events = list[tuple[str, dict[str, Any]]]
RunFile = Callable[..., Events]
MAKE = "mkdir -p data/parts; echo {text} > data/report.csv; for i in 1 2 3; do echo $i > data/parts/$i; done"


@pytest.fixture
def run_file(airflow_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFile:
    """Runs a pipeline as a DAG and gives the asset events of the run: (URI, extra), sorted."""

    def run(text: str, dag_id: str, name: str = "orders", **conf: Any) -> Events:
        file = tmp_path / f"{name}.yaml"
        file.write_text(text)
        monkeypatch.setattr(embedded, "_current", pipeline_dag(file, dag_id=dag_id))
        return events_of(embedded._current.test(run_conf=conf))

    return run


def events_of(run: Any) -> Events:
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session(scoped=False) as session:
        query = select(AssetEvent).where(
            AssetEvent.source_dag_id == run.dag_id, AssetEvent.source_run_id == run.run_id
        )
        return sorted(((e.asset.uri, e.extra) for e in session.scalars(query)), key=str)


def test_every_put_is_an_event_that_tells_of_the_file(run_file: RunFile) -> None:
    text = linear(
        {
            "make it": shell(MAKE.format(text="x"), catalog={"put": ["report.csv", "parts/*"]}),
            "after": shell("true"),
        }
    )
    found = dict(run_file(text, "assets-all"))
    assert list(found) == [
        "x-magnus://orders/parts/1",
        "x-magnus://orders/parts/2",
        "x-magnus://orders/parts/3",
        "x-magnus://orders/report.csv",
    ]
    extra = found["x-magnus://orders/report.csv"]
    run_id = extra.pop("run_id")
    assert run_id.startswith("assets-all.")
    assert extra.pop("provenance").startswith("/magnus/provenance/assets-all/manual__")
    assert extra == {
        "file": "report.csv",
        "digest": "73cb3858a687a8494ca3323053016282f3dad39d42cf62ca4e79dda2aac7d9ac",
        "size": 2,
        "pipeline": "orders",
        "step": "make it",
        "attempt": 0,
    }


def test_file_that_code_puts_by_itself_is_an_event(run_file: RunFile) -> None:
    put = "lambda: __import__('magnus').put_object([1], 'seen')"
    assert [uri for uri, _ in run_file(linear({"put": function(put)}), "assets-api")] == [
        "x-magnus://orders/seen.pickle"
    ]


def test_attempt_that_failed_makes_no_event(run_file: RunFile, tmp_path: Path) -> None:
    mark = tmp_path / "tried"
    command = f"mkdir -p data; echo 1 > data/a; test -e {mark} || {{ touch {mark}; exit 1; }}"
    put = {"catalog": {"put": ["a"]}, "retry": 2}
    found = run_file(linear({"make": shell(command, **put)}), "assets-retry")
    assert [(uri, extra["attempt"]) for uri, extra in found] == [("x-magnus://orders/a", 1)]


def test_step_that_is_not_run_again_makes_no_event(run_file: RunFile, tmp_path: Path) -> None:
    mark = tmp_path / "mended"
    steps = {
        "make": shell(MAKE.format(text="y"), catalog={"put": ["report.csv", "parts/*"]}),
        "use": shell(f"mkdir -p data; echo 2 > data/b; test -e {mark}", catalog={"put": ["b"]}),
    }
    assert len(run_file(linear(steps), "assets-rerun")) == 4
    mark.touch()
    found = run_file(linear(steps), "assets-rerun", use_cached="latest")
    assert [uri for uri, _ in found] == ["x-magnus://orders/b"]


def test_named_file_that_was_not_put_makes_no_event(run_file: RunFile) -> None:
    text = linear({"make": shell("mkdir -p data; echo 1 > data/a", catalog={"put": ["a", "missing"]})})
    assert [uri for uri, _ in run_file(text, "assets-missing")] == ["x-magnus://orders/a"]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("3", 4), ("2", 1), ("0", 0)],
)
def test_only_named_files_are_events_where_there_are_too_many(
    run_file: RunFile, monkeypatch: pytest.MonkeyPatch, limit: str, expected: int
) -> None:
    monkeypatch.setenv("AIRFLOW__MAGNUS__ASSET_EVENTS", limit)
    text = linear({"make": shell(MAKE.format(text="z"), catalog={"put": ["report.csv", "parts/*"]})})
    found = [uri for uri, _ in run_file(text, f"assets-limit-{limit}")]
    assert len(found) == expected
    assert ("x-magnus://orders/report.csv" in found) == (limit != "0")


def test_name_of_any_text_is_one_asset(run_file: RunFile) -> None:
    put = {"catalog": {"put": ["**"]}}
    command = "mkdir -p 'data/a b'; echo 1 > 'data/a b/ü#?%2F'"
    found = run_file(linear({"make": shell(command, **put)}), "assets-names", name="p@x:y ü")
    assert [uri for uri, _ in found] == ["x-magnus://p%40x%3Ay%20%C3%BC/a%20b/%C3%BC%23%3F%252F"]


def test_step_of_a_hand_written_dag_tells_of_its_files(
    airflow_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk import DAG, Asset

    from airflow_magnus import StepSettings, file_asset
    from airflow_magnus.operators.commands import ShellStep

    own = Asset("x-own://thing")
    with DAG("assets-by-hand", schedule=None) as dag:
        step = StepSettings(put=["out/{{ ds }}.txt", "a"])
        ShellStep(task_id="s", command="mkdir -p data; echo 1 > data/a", step=step, outlets=[own])
    monkeypatch.setattr(embedded, "_current", dag)
    found = events_of(dag.test())
    assert [uri for uri, _ in found] == [file_asset("assets-by-hand", "a").uri, "x-own://thing"]
    assert found[1][1] == {}


def test_each_item_of_a_map_tells_of_its_file(run_file: RunFile) -> None:
    branch = {"cut": shell("mkdir -p data; echo $item > data/part.txt", catalog={"put": ["part.txt"]})}
    text = linear({"all": mapped(branch)}, parameters={"items": ["a", "b"]})
    found = run_file(text, "assets-mapped")
    assert [(uri, extra["step"]) for uri, extra in found] == [
        ("x-magnus://orders/part.txt", "all.a.cut"),
        ("x-magnus://orders/part.txt", "all.b.cut"),
    ]


def test_airflow_knows_named_files_before_they_are_there(tmp_path: Path) -> None:
    put = ["./a", "b//c", "a", "*.txt"]
    (tmp_path / "p.yaml").write_text(linear({"x": shell("true", catalog={"put": put}), "y": shell("true")}))
    dag = pipeline_dag(tmp_path / "p.yaml")
    assert [o.name for o in dag.get_task("x").outlets] == [
        "x-magnus://p/a",
        "x-magnus://p/b/c",
        "x-magnus://p",
    ]
    assert dag.get_task("y").outlets == []


def test_magnus_execute_knows_no_assets(execute: Callable[..., Any], airflow_home: Path) -> None:
    log = execute(linear({"make": shell("mkdir -p data; echo 1 > data/a", catalog={"put": ["a"]})}))
    assert log.status == "SUCCESS"
    assert embedded._current is not None
    assert all(not task.outlets for task in embedded._current.tasks)


def waiting_for(pipeline: str) -> str:
    return only(
        shell("true"),
        airflow={"schedule": {"assets": ["x-own://a", {"pipeline": pipeline, "file": "report.csv"}]}},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pipeline whose name, file name and DAG id are three names, and one called as its file."""
    made = tmp_path / "pipelines"
    made.mkdir()
    text = linear({"make": shell("true")}, airflow={"dag_id": "daily-orders"})
    (made / "orders.yaml").write_text(text.replace("dag:", "dag:\n  name: Orders of the day", 1))
    (made / "plain.yaml").write_text(linear({"make": shell("true")}))
    return made


@pytest.mark.parametrize("name", ["orders", "daily-orders"])
def test_schedule_by_another_name_of_a_pipeline_is_a_fault(
    folder: Path, magnus: Callable[..., tuple[int, str, str]], name: str
) -> None:
    (folder / "after.yaml").write_text(waiting_for(name))
    dags = load_pipelines(folder, {})
    assert sorted((dag_id, "invalid" in dag.tags) for dag_id, dag in dags.items()) == [
        ("after", True),
        ("daily-orders", False),
        ("plain", False),
    ]
    (fault,) = [task.fault for task in dags["after"].tasks]
    assert f'no pipeline has the name "{name}"' in fault
    assert 'orders.yaml has the name "Orders of the day"' in fault
    line = (folder / "after.yaml").read_text().split(f"pipeline: {name}")[0].count("\n") + 1
    assert f"after.yaml:{line}:" in fault
    code, out, _ = magnus("validate", str(folder))
    assert code == 2
    assert fault in out
    assert f"{folder / 'orders.yaml'}: valid" in out
    assert magnus("validate", str(folder / "after.yaml"))[0] == 0, "nothing is known of other files"


@pytest.mark.parametrize("name", ["Orders of the day", "plain", "after"])
def test_schedule_by_the_name_of_a_pipeline_is_none(folder: Path, name: str) -> None:
    (folder / "after.yaml").write_text(waiting_for(name))
    assert "invalid" not in load_pipelines(folder, {})["after"].tags


def test_pipeline_that_may_be_in_another_folder_is_a_warning(
    folder: Path, magnus: Callable[..., tuple[int, str, str]]
) -> None:
    (folder / "after.yaml").write_text(waiting_for("orders of the dai"))
    assert "invalid" not in load_pipelines(folder, {})["after"].tags
    code, out, _ = magnus("validate", str(folder))
    assert code == 0
    assert 'did you mean "Orders of the day"?' in out
    assert "(warning)" in out


def test_show_says_the_name_that_others_wait_for(
    folder: Path, magnus: Callable[..., tuple[int, str, str]]
) -> None:
    _, out, _ = magnus("show", str(folder / "orders.yaml"))
    assert out.splitlines()[0] == "name: Orders of the day"
