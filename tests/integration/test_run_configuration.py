"""What a DAG run says of its configuration: keys that are misspelt, a re-run that is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.dags import embedded
from airflow_magnus.dags.builder import pipeline_dag
from airflow_magnus.pipeline.identifiers import safe_run_id
from pipelines import linear, shell

Magnus = Callable[..., tuple[int, str, str]]


def test_tools_say_that_a_refused_re_run_of_airflow_never_began(
    magnus: Magnus,
    project: Path,
    airflow_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (project / "p.yaml").write_text(linear({"a": shell("touch ran"), "b": shell("true")}))
    made = pipeline_dag(project / "p.yaml", dag_id=f"refused_{project.parent.name}")
    monkeypatch.setattr(embedded, "_current", made)
    run = made.test(run_conf={"use_cached": "nowhere"})
    assert {ti.task_id: str(ti.state) for ti in run.get_task_instances()}["a"] == "failed"
    assert not (project / "ran").exists()
    refused = "this re-run was refused before it began, and has no run log: no run 'nowhere'"
    said = "".join(capfd.readouterr())
    assert said.count(refused) >= 2, "by the first task, and by the fail node"
    assert "could not be told" not in said
    for wanted in (run.run_id, safe_run_id(f"{made.dag_id}.{run.run_id}")):
        for command in ("show", "repair"):
            code, out, err = magnus("runlog", command, "--airflow", wanted)
            assert (code, out) == (2, "")
            assert f"Airflow's run {run.run_id!r} of DAG {made.dag_id!r} is failed and has no run log" in err
            assert "it never began, and the log of its task 'a' says why" in err
    assert "no run 'unknown' in the run log store" in magnus("runlog", "show", "--airflow", "unknown")[2]


def test_task_log_asks_for_the_key_that_is_near_a_reserved_or_declared_one(
    run_dag: Callable[..., Any], project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (project / "p.yaml").write_text(linear({"a": shell("true")}, parameters={"regions": ["n"]}))
    made = pipeline_dag(project / "p.yaml", dag_id=f"near_{project.parent.name}")
    conf = {"use_cahced": "r1", "region": "s", "tag": "night", "other": 1, "new-parameters": True}
    log, _ = run_dag(made, conf)
    told = [r.getMessage() for r in caplog.records if "did you mean" in r.getMessage()]
    assert told == [
        f"the run's configuration gives the parameter {given!r}: did you mean {meant!r}?"
        for given, meant in (
            ("use_cahced", "use_cached"),
            ("region", "regions"),
            ("new-parameters", "new_parameters"),
        )
    ]
    assert (log.status, log.tag, log.parameters["other"]) == ("SUCCESS", "night", 1)
