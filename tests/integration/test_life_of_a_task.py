"""Each way in which a task can go is an attempt in the run log. What needs a scheduler is in tests/system."""

from __future__ import annotations

import datetime
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.amazon.aws.operators.s3 import S3ListOperator
from airflow.providers.common.compat.sdk import DAG, AirflowSkipException, BaseOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

from airflow_magnus import PipelineTaskGroup, api
from airflow_magnus.operators.settings import StepSettings
from airflow_magnus.operators.step import StepMixin
from airflow_magnus.operators.terminal import EndOfRun

RunDag = Callable[..., Any]


class PythonTask(StepMixin, PythonOperator):
    pass


class BashTask(StepMixin, BashOperator):
    pass


class ListStep(StepMixin, S3ListOperator):
    pass


class OwnStep(StepMixin, BaseOperator):
    """An operator with an ``execute`` of its own, below the mixin."""

    def execute(self, context: Any) -> str:
        Path("data/own.txt").write_text("own")
        api.set_parameter(made="by own")
        return "done"


class DeferringStep(StepMixin, BaseOperator):
    """Defers, then ends as it is told."""

    def __init__(self, *, fails: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fails = fails

    def execute(self, context: Any) -> None:
        if self.fails == "before":
            raise RuntimeError("before the deferral")
        api.set_parameter(before="kept")
        Path("early.txt").write_text("early")
        api.put_in_catalog("early.txt")
        self.defer(trigger=TimeDeltaTrigger(datetime.timedelta(seconds=0)), method_name="resumed")

    def resumed(self, context: Any, event: Any = None) -> None:
        if self.fails == "after":
            raise RuntimeError("after the deferral")
        Path("data/late.txt").write_text("late")


def dag(name: str) -> DAG:
    return DAG(f"life-{name}", schedule=None)


def test_attempt_is_success_when_command_ends_well(run_dag: RunDag) -> None:
    with dag("success") as made:
        first = OwnStep(task_id="first", step=StepSettings(put=["*"]))
        seen: list[Any] = []

        def look() -> None:
            seen.append((Path("data/own.txt").read_text(), api.get_parameter("made")))

        first >> PythonTask(task_id="second", python_callable=look, step=StepSettings(get=["*.txt"]))
    log, states = run_dag(made)
    assert states == {"first": "success", "second": "success"}
    assert seen == [("own", "by own")]
    assert [a.status for a in log.steps["first"].attempts] == ["SUCCESS"]
    assert [(e.stage, e.name) for e in log.steps["second"].data_catalog] == [("get", "own.txt")]
    assert log.parameters == {"made": "by own"}


@pytest.mark.parametrize(
    ("raised", "message"), [(ValueError("broken"), "ValueError: broken"), (SystemExit(3), "SystemExit: 3")]
)
def test_attempt_is_fail_when_command_raises(run_dag: RunDag, raised: BaseException, message: str) -> None:
    def boom() -> None:
        api.set_parameter(half="done")
        Path("data/half.txt").write_text("half")
        raise raised

    with dag(f"raises-{type(raised).__name__}") as made:
        PythonTask(task_id="only", python_callable=boom, step=StepSettings(put=["*"]))
    log, states = run_dag(made)
    assert states == {"only": "failed"}
    step = log.steps["only"]
    assert [(a.status, a.message) for a in step.attempts] == [("FAIL", message)]
    assert step.data_catalog == []
    assert log.parameters == {}


def test_every_attempt_is_recorded_when_task_is_retried(run_dag: RunDag) -> None:
    tries: list[int] = []

    def flaky() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise RuntimeError(f"try {len(tries)}")

    with dag("retries") as made:
        PythonTask(task_id="only", python_callable=flaky, retries=2, retry_delay=datetime.timedelta(0))
    log, states = run_dag(made)
    assert states == {"only": "success"}
    assert [(a.attempt_number, a.status) for a in log.steps["only"].attempts] == [
        (0, "FAIL"),
        (1, "FAIL"),
        (2, "SUCCESS"),
    ]


def test_attempt_is_fail_when_inputs_cannot_be_fetched(run_dag: RunDag, airflow_home: Path) -> None:
    def put() -> None:
        Path("data/a.txt").write_text("a")

    def damage() -> None:
        for path in (airflow_home / "magnus" / "catalog").glob("life-get-fails*/a.txt"):
            path.write_text("other")

    with dag("get-fails") as made:
        first = PythonTask(task_id="first", python_callable=put, step=StepSettings(put=["*"]))
        second = PythonTask(task_id="second", python_callable=damage)
        first >> second >> BashTask(task_id="third", bash_command="true", step=StepSettings(get=["a.txt"]))
    log, states = run_dag(made)
    assert states["third"] == "failed"
    [attempt] = log.steps["third"].attempts
    assert attempt.status == "FAIL"
    assert "'a.txt'" in attempt.message
    assert "sha256" in attempt.message


def test_attempt_is_fail_when_outputs_cannot_be_stored(run_dag: RunDag) -> None:
    with dag("put-fails") as made:
        BashTask(task_id="only", bash_command="rmdir $PWD/data", cwd=".", step=StepSettings(put=["*"]))
    log, states = run_dag(made)
    assert states == {"only": "failed"}
    assert "does not exist" in log.steps["only"].attempts[0].message


def test_attempt_is_fail_when_template_is_wrong(run_dag: RunDag) -> None:
    with dag("template") as made:
        BashTask(task_id="only", bash_command="echo {{ nothing.at.all }}")
    log, states = run_dag(made)
    assert states == {"only": "failed"}
    [attempt] = log.steps["only"].attempts
    assert attempt.status == "FAIL"
    assert "UndefinedError" in attempt.message


def test_attempt_is_fail_when_time_is_out(run_dag: RunDag) -> None:
    with dag("timeout") as made:
        PythonTask(
            task_id="only",
            python_callable=lambda: time.sleep(30),
            execution_timeout=datetime.timedelta(seconds=1),
        )
    log, states = run_dag(made)
    assert states == {"only": "failed"}
    assert log.steps["only"].attempts[0].message.startswith("AirflowTaskTimeout")


def test_attempt_is_fail_when_operator_skips_itself(run_dag: RunDag) -> None:
    def skip() -> None:
        raise AirflowSkipException("not today")

    with dag("skip") as made:
        PythonTask(task_id="only", python_callable=skip)
    log, states = run_dag(made)
    assert states == {"only": "failed"}
    assert "not today" in log.steps["only"].attempts[0].message


def test_one_attempt_is_recorded_when_task_defers_and_resumes(run_dag: RunDag) -> None:
    with dag("defers") as made:
        DeferringStep(task_id="only", step=StepSettings(put=["late.txt"]))
    log, states = run_dag(made)
    assert states == {"only": "success"}
    step = log.steps["only"]
    assert [a.status for a in step.attempts] == ["SUCCESS"]
    assert sorted(e.name for e in step.data_catalog) == ["early.txt", "late.txt"]
    assert log.parameters == {"before": "kept"}


@pytest.mark.parametrize("when", ["before", "after"])
def test_attempt_is_fail_when_deferring_task_fails(run_dag: RunDag, when: str) -> None:
    with dag(f"defers-fails-{when}") as made:
        DeferringStep(task_id="only", fails=when)
    log, states = run_dag(made)
    assert states == {"only": "failed"}
    assert [(a.status, a.message) for a in log.steps["only"].attempts] == [
        ("FAIL", f"RuntimeError: {when} the deferral")
    ]
    assert log.parameters == {}


def test_operator_of_another_provider_is_a_step_when_mixin_is_added(
    run_dag: RunDag, make_bucket: Callable[..., str], moto_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = make_bucket()
    monkeypatch.setenv(
        "AIRFLOW_CONN_AWS_TEST",
        f'{{"conn_type": "aws", "login": "k", "password": "s", "extra": {{"endpoint_url": "{moto_server}", '
        '"region_name": "us-east-1"}}',
    )
    with dag("other-provider") as made:
        ListStep(task_id="list", bucket=bucket, aws_conn_id="aws_test")
    log, states = run_dag(made)
    assert states == {"list": "success"}
    assert log.steps["list"].status == "SUCCESS"
    assert made.get_task("list").template_fields[-3:] == ("catalog_get", "catalog_put", "run_parameters")
    assert "bucket" in made.get_task("list").template_fields


def test_no_folder_socket_or_path_is_left_when_task_has_ended(
    run_dag: RunDag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path_before = list(sys.path)
    with dag("leftovers") as made:
        PythonTask(
            task_id="good", python_callable=lambda: (tmp_path / "seen").write_text(str(os.listdir(tmp_path)))
        )
        BashTask(task_id="bad", bash_command="exit 1")
    run_dag(made)
    assert "magnus-" in (tmp_path / "seen").read_text()
    assert list(tmp_path.glob("magnus-*")) == []
    assert sys.path == path_before


@pytest.mark.parametrize(("command", "status"), [("true", "SUCCESS"), ("false", "FAIL")])
def test_run_log_is_ended_when_hand_written_dag_has_an_end(
    run_dag: RunDag, command: str, status: str
) -> None:
    with dag(f"ended-{command}") as made:
        first = OwnStep(task_id="first", step=StepSettings(put=["*"]))
        second = BashTask(task_id="second", bash_command=command)
        first >> second >> EndOfRun(task_id="end")
    log, states = run_dag(made)
    assert log.status == status
    assert states["end"] == ("success" if status == "SUCCESS" else "failed")
    assert list(log.steps) == ["first", "second", status.lower()]


def test_patterns_are_rendered_and_never_template_files_when_operator_has_such(run_dag: RunDag) -> None:
    with dag("patterns") as made:
        BashTask(
            task_id="only",
            bash_command="echo true > data/a.sh; echo 1 > data/{{ task.task_id }}.csv",
            step=StepSettings(put=["*.sh", "{{ task.task_id }}.csv"]),
        )
    log, states = run_dag(made)
    assert states == {"only": "success"}
    assert sorted(e.name for e in log.steps["only"].data_catalog) == ["a.sh", "only.csv"]


def test_group_has_its_own_run_when_its_handled_failure_is_upstream_of_the_end(
    run_dag: RunDag, tmp_path: Path
) -> None:
    (tmp_path / "handled.yaml").write_text(
        "dag:\n  start_at: a\n  steps:\n"
        "    a: {type: task, command_type: shell, command: 'false', next: success, on_failure: b}\n"
        "    b: {type: as-is, next: success}\n"
        "    success: {type: success}\n    fail: {type: fail}\n"
    )
    with dag("group-and-end") as made:
        group = PipelineTaskGroup(tmp_path / "handled.yaml", group_id="g")
        group.success >> OwnStep(task_id="own") >> EndOfRun(task_id="end")
    _, states = run_dag(made)
    assert states["g.a"] == "failed"
    assert states["end"] == "success"
