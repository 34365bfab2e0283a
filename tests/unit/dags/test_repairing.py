"""Which task's state is whose: as the factory names tasks."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from airflow_magnus.dags.repairing import top_tasks
from pipelines import conditional, graph, loop, mapped, parallel, shell

INNER = {"end": shell("true")}


@pytest.mark.parametrize("scope", ["", "group"])
def test_tasks_are_those_of_the_dag(tmp_path: Path, airflow_home: Path, scope: str) -> None:
    from airflow.sdk import DAG

    from airflow_magnus import PipelineTaskGroup, pipeline_dag

    section = graph(
        {
            "a b": shell("true"),
            "each": mapped(INNER),
            "two": parallel({"end": INNER, "other": INNER}),
            "one": conditional("x", {"y": INNER}),
            "again": loop(INNER, 2),
        }
    )
    file = tmp_path / "p.yaml"
    file.write_text(yaml.safe_dump({"dag": section}, sort_keys=False))
    if scope:
        with DAG("by-hand") as dag:
            PipelineTaskGroup(file, group_id=scope)
    else:
        dag = pipeline_dag(file)
    found = {identity.name: task_id for identity, task_id in top_tasks(section, scope)}
    assert set(found) == {"a b", "each", "two", "one", "again", "success"}
    for name, task_id in found.items():
        place = getattr(dag.get_task(task_id), "place", None) or dag.get_task(task_id).step.place
        assert place.identity.internal_name == name
