"""Folders of pipeline files as DAGs."""

from __future__ import annotations

import datetime
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_magnus import load_pipelines
from airflow_magnus.dags.builder import pipeline_dag
from airflow_magnus.errors import ConfigurationError
from pipelines import linear, only, python, shell, sub, task

EXAMPLES = Path(__file__).resolve().parents[2] / "dags_examples"
Magnus = Callable[..., tuple[int, str, str]]
GOOD = only(shell("true"))


@pytest.fixture
def folder(project: Path) -> Path:
    made = project / "pipelines"
    made.mkdir()
    return made


def faults_of(dag: Any) -> list[str]:
    return [t.fault for t in dag.tasks]


def round_trip(dag: Any) -> Any:
    """The DAG as Airflow's other processes know it."""
    from airflow.serialization.serialized_objects import DagSerialization

    return DagSerialization.from_dict(DagSerialization.to_dict(dag))


def test_bad_file_hides_no_other_and_shows_every_fault(folder: Path) -> None:
    (folder / "good.yaml").write_text(GOOD)
    (folder / "sub").mkdir()
    (folder / "sub" / "good.yml").write_text(GOOD)
    (folder / "bad.yaml").write_text(GOOD.replace("next: success", "next: nowhere\n      retri: 2"))
    (folder / "no-yaml.yaml").write_text("dag:\n\t- x")
    (folder / "latin.yaml").write_bytes(b"dag: {description: \xe9}")
    namespace: dict[str, Any] = {}
    dags = load_pipelines(folder, namespace)
    assert sorted(dags) == ["bad", "good", "latin", "no-yaml", "sub.good"]
    assert sorted(d.dag_id for d in namespace.values()) == sorted(dags)
    bad = dags["bad"]
    assert bad.tags == {"magnus", "invalid"}
    assert len(bad.tasks) == 2
    assert any(f"{folder}/bad.yaml:5:13" in fault and "nowhere" in fault for fault in faults_of(bad))
    assert any("retri" in fault and "retry" in fault for fault in faults_of(bad))
    assert "bad.yaml:2" not in "".join(faults_of(bad))
    for fault in faults_of(bad):
        assert fault.split(": ", 2)[2][:20] in bad.doc_md
    assert "invalid" not in dags["good"].tags
    for dag in dags.values():
        assert round_trip(dag).dag_id == dag.dag_id


def test_files_that_are_no_pipelines_are_passed_over(folder: Path) -> None:
    for name in ("parameters.yaml", "magnus-config.yaml", ".hidden.yaml", "part.sub.yaml", "notes.txt"):
        text = {"parameters.yaml": "x: 1\n", "magnus-config.yaml": "defaults: {}\n"}.get(name, GOOD)
        (folder / name).write_text(text)
    (folder / ".git").mkdir()
    (folder / ".git" / "a.yaml").write_text(GOOD)
    (folder / "folder.yaml").mkdir()
    (folder / "gone.yaml").symlink_to("nowhere.yaml")
    assert load_pipelines(folder, {}) == {}


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ((), ["deep.parts.two", "main", "one", "parts.three"]),
        (["one.yaml"], ["deep.parts.two", "main", "parts.three"]),
        ("parts/*", ["deep.parts.two", "main", "one"]),
        (["parts", "**/two.yaml"], ["main", "one"]),
        (["**/parts/**", "none.yaml"], ["main", "one"]),
    ],
)
def test_files_that_are_excluded_become_no_dags(
    magnus: Magnus, folder: Path, exclude: Any, left: list[str]
) -> None:
    (folder / "deep" / "parts").mkdir(parents=True)
    (folder / "parts").mkdir()
    (folder / "main.yaml").write_text(only(sub("parts/three.yaml")))
    for name in ("one.yaml", "deep/parts/two.yaml", "parts/three.yaml"):
        (folder / name).write_text(GOOD)
    assert sorted(load_pipelines(folder, {}, exclude=exclude)) == left
    options = [f"--exclude={pattern}" for pattern in ([exclude] if isinstance(exclude, str) else exclude)]
    code, out, _ = magnus("dags", "sync", "pipelines", "dags", *options)
    assert (code, len(out.splitlines())) == (0, len(left))


@pytest.mark.parametrize("pattern", ["", "/etc/*"])
def test_pattern_is_refused_when_it_is_of_no_files_below_the_folder(folder: Path, pattern: str) -> None:
    with pytest.raises(ConfigurationError, match="is no pattern of files below the folder"):
        load_pipelines(folder, {}, exclude=[pattern])


def test_both_files_are_named_when_they_make_one_dag_id(folder: Path) -> None:
    (folder / "a.yaml").write_text(GOOD)
    (folder / "a.yml").write_text(GOOD)
    (folder / "b.yaml").write_text("airflow: {dag_id: given}\n" + GOOD)
    (folder / "c.yaml").write_text("airflow: {dag_id: given}\n" + GOOD)
    (folder / "d.yaml").write_text(GOOD)
    dags = load_pipelines(folder, {})
    assert sorted(dags) == ["a", "d", "given"]
    assert "a.yaml and a.yml" in faults_of(dags["a"])[0]
    assert "b.yaml and c.yaml" in faults_of(dags["given"])[0]


def test_page_says_so_when_the_folder_is_missing(project: Path) -> None:
    [dag] = load_pipelines(project / "none", {}).values()
    assert "there is no such folder" in faults_of(dag)[0]


def test_bad_file_cannot_be_triggered(folder: Path) -> None:
    (folder / "bad.yaml").write_text("dag: 1\n")
    dag = load_pipelines(folder, {})["bad"]
    with pytest.raises(Exception, match="refused"):
        dag.params.validate()


def test_variables_and_connections_reach_every_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAGNUS_VAR_who", "environment")
    monkeypatch.setenv("MAGNUS_VAR_what", "kept")
    (folder / "a.yaml").write_text(only(shell("echo $who ${what} $unknown")))
    (folder / "b.yaml").write_text("connections: {catalog: own}\n" + GOOD)
    dags = load_pipelines(folder, {}, variables={"who": "given"}, catalog_conn_id="c", run_log_conn_id="r")
    only_task = dags["a"].get_task("only")
    assert only_task.command == "echo given kept $unknown"
    assert only_task.step.services.connections == {"catalog": "c", "run_log_store": "r"}
    assert dags["b"].get_task("only").step.services.connections == {"catalog": "own", "run_log_store": "r"}


def test_dags_are_found_by_airflow_in_a_file_of_three_lines(folder: Path, airflow_home: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    (folder / "run.sh").write_text("echo {{ nothing }}\n")
    (folder / "a.yaml").write_text(linear({"a": shell("run.sh"), "b": shell("sh run.sh")}))
    dag_file = folder.parent / "dags.py"
    dag_file.write_text(
        '# Airflow reads this DAG file.\nfrom airflow_magnus import load_pipelines\nload_pipelines("pipelines", globals())\n'
    )
    bag = DagBag(dag_file)
    assert bag.import_errors == {}
    assert list(bag.dags) == ["a"]
    assert [bag.dags["a"].get_task(name).command for name in "ab"] == ["run.sh", "sh run.sh"]


@pytest.mark.parametrize("name", ["obstore", "boto3", "papermill", "moto", "dotenv", "pandas", "nbclient"])
def test_parsing_imports_nothing_that_only_running_needs(folder: Path, name: str) -> None:
    loaded = modules_loaded_by_parsing(str(folder))
    assert name not in loaded


_loaded: set[str] = set()


def modules_loaded_by_parsing(folder: str) -> set[str]:
    """What is imported by parsing every kind of step, beyond what Airflow's own operators import."""
    if not _loaded:
        (Path(folder) / "a.yaml").write_text(
            linear({"s": shell("true"), "p": python("a.b"), "l": task("lambda: 1", "python-lambda")})
            + "catalog: {type: s3, config: {s3_bucket: b}}\nrun_log_store: {type: s3, config: {s3_bucket: b}}\n"
        )
        code = (
            "import sys\n"
            "from airflow.providers.standard.operators.bash import BashOperator\n"
            "from airflow.providers.standard.operators.python import PythonOperator\n"
            "before = set(sys.modules)\n"
            "from airflow_magnus import load_pipelines\n"
            f"dags = load_pipelines({folder!r}, {{}})\n"
            "assert len(dags['a'].tasks) == 5, dags['a'].doc_md\n"
            "print('loaded', *{n.partition('.')[0] for n in set(sys.modules) - before})\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        _loaded.update(done.stdout.rpartition("loaded ")[2].split())
    return _loaded


def test_airflow_section_is_the_dag_s_settings(folder: Path) -> None:
    section = {
        "schedule": "30 6 * * 1-5", "timezone": "Europe/Berlin", "start_date": "2024-03-31", "catchup": True,
        "tags": ["t"], "owner": "lab", "max_active_runs": 2, "dagrun_timeout": "2h", "doc_md": "# Page",
        "description": "what it does", "dag_display_name": "Nice name", "is_paused_upon_creation": False,
        "default_args": {"queue": "slow"},
    }  # fmt: skip
    step = shell(
        "true", retry=3,
        executor_config={"airflow": {
            "queue": "fast", "pool": "p", "execution_timeout": "10m", "retry_delay": "5s", "priority_weight": 7,
        }},
    )  # fmt: skip
    file = folder / "a.yaml"
    file.write_text(only(step, airflow=section))
    dag = pipeline_dag(file)
    only_task = dag.get_task("only")
    assert round_trip(dag).timetable.summary.startswith("30 6 * * 1-5")
    assert dag.start_date == datetime.datetime(2024, 3, 30, 23, tzinfo=datetime.UTC)
    assert dag.catchup is True
    assert dag.tags == {"t", "magnus"}
    assert dag.max_active_runs == 2
    assert dag.dagrun_timeout == datetime.timedelta(hours=2)
    assert dag.doc_md is not None
    assert dag.doc_md.startswith("# Page")
    assert (dag.description, dag.dag_display_name) == ("what it does", "Nice name")
    assert (only_task.owner, only_task.queue, only_task.pool, only_task.priority_weight) == (
        "lab",
        "fast",
        "p",
        7,
    )
    assert only_task.execution_timeout == datetime.timedelta(minutes=10)
    assert (only_task.retries, only_task.retry_delay) == (2, datetime.timedelta(seconds=5))
    assert dag.get_task("success").queue == "slow"
    assert round_trip(dag).get_task("only").queue == "fast"


@pytest.mark.parametrize("default_args", [{"execution_timeout": "90m"}, {"retry_delay": 5}])
def test_lengths_of_time_in_default_args_are_read_as_those_of_steps(
    folder: Path, default_args: dict[str, Any]
) -> None:
    (folder / "a.yaml").write_text(only(shell("true"), airflow={"default_args": default_args}))
    dag = load_pipelines(folder, {})["a"]
    assert "invalid" not in dag.tags, dag.doc_md
    assert round_trip(dag).dag_id == "a"


def test_schedule_may_be_assets_or_a_preset(folder: Path) -> None:
    for name, schedule in (
        ("assets", {"assets": ["s3://b/k", "orders", {"pipeline": "a b", "file": "c/d.csv"}]}),
        ("preset", "@daily"),
        ("none", None),
    ):
        (folder / f"{name}.yaml").write_text(only(shell("true"), airflow={"schedule": schedule}))
    dags = load_pipelines(folder, {})
    assert [type(d.timetable).__name__ for d in dags.values()][1:] == [
        "NullTimetable",
        "CronTriggerTimetable",
    ]
    asset_condition = dags["assets"].timetable.asset_condition
    assert {asset.uri for asset in asset_condition.objects} == {
        "s3://b/k",
        "orders",
        "x-magnus://a%20b/c/d.csv",
    }
    for dag in dags.values():
        assert round_trip(dag).dag_id == dag.dag_id


def test_examples_survive_serialisation(airflow_home: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(EXAMPLES)
    assert bag.import_errors == {}
    assert len(bag.dags) >= 7
    for dag in bag.dags.values():
        assert "invalid" not in dag.tags, dag.doc_md
        assert sorted(round_trip(dag).task_ids) == sorted(dag.task_ids)


def test_thousand_steps_make_a_dag(folder: Path) -> None:
    steps = {f"step {n}": shell("true", on_failure="success" if n % 2 else "fail") for n in range(1000)}
    (folder / "long.yaml").write_text(linear(steps))
    dag = load_pipelines(folder, {})["long"]
    assert len(dag.tasks) == 1502
    assert len(round_trip(dag).task_ids) == 1502


def test_stubs_are_written_kept_and_removed(magnus: Magnus, folder: Path, airflow_home: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    dags = folder.parent / "dags"
    (folder / "a b.yaml").write_text(GOOD)
    (folder / "sub").mkdir()
    (folder / "sub" / "c.yaml").write_text("airflow: {dag_id: given}\n" + GOOD)
    (folder / "bad.yaml").write_text("dag: 1\n")
    assert magnus("dags", "sync", "pipelines", "dags")[0] == 0
    (dags / "own.py").write_text("# mine\n")
    written = {p.name: p.stat().st_mtime_ns for p in dags.iterdir()}
    assert len(written) == 4
    code, out, _ = magnus("dags", "sync", "pipelines", "dags")
    assert code == 0
    assert out.count("kept") == 3
    assert {p.name: p.stat().st_mtime_ns for p in dags.iterdir()} == written
    bag = DagBag(dags)
    assert sorted(bag.dags) == ["a--20-b", "given"]
    [(file, error)] = bag.import_errors.items()
    assert Path(file).name == "bad.py"
    assert "bad.yaml:1:6" in error
    (folder / "bad.yaml").unlink()
    assert "removed" in magnus("dags", "sync", "pipelines", "dags")[1]
    assert not (dags / "bad.py").exists()
    assert (dags / "own.py").exists()
    (folder / "own.yaml").write_text(GOOD)
    code, _, err = magnus("dags", "sync", "pipelines", "dags")
    assert code == 2
    assert "own.py was not made by" in err
    shutil.rmtree(dags)


def test_invalid_pipeline_raises_with_every_fault_in_a_hand_written_file(folder: Path) -> None:
    (folder / "bad.yaml").write_text("dag: {start_at: a, steps: {}}\n")
    with pytest.raises(ValueError, match=r"bad\.yaml:1"), DAG("x", schedule=None):
        pipeline_dag(folder / "bad.yaml")


def test_all_commands_find_the_file_of_a_sub_pipeline_in_the_same_place(magnus: Magnus, folder: Path) -> None:
    (folder / "main.yaml").write_text(only(sub("part.yaml")))
    commands = (
        ("validate", "pipelines/main.yaml"),
        ("show", "pipelines/main.yaml"),
        ("execute", "--file", "pipelines/main.yaml"),
    )
    for command in commands:
        code, out, err = magnus(*command)
        assert code == 2
        assert f"looked beside this file ({folder}/part.yaml) and in the current folder" in out + err
    for place in (folder.parent, folder):
        (place / "part.yaml").write_text(GOOD)
        for command in commands:
            code, out, err = magnus(*command)
            assert (code, "is taken" in out + err) == (0, place == folder and command[0] != "show"), err


def test_trigger_form_says_nothing_of_where_its_other_fields_stand(folder: Path) -> None:
    (folder / "a.yaml").write_text(only(shell("true"), parameters={"x": 1}))
    params = load_pipelines(folder, {})["a"].params
    told = [str(params.get_param(name).description) for name in ("use_cached", "new_parameters", "tag")]
    assert not any(word in text for text in told for word in ("above", "below"))
    assert "parameters that are given with it win" in told[1]
