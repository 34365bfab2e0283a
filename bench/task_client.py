"""Runs DAGs of few and of many tasks by ``dag.test``: ``python -m bench.task_client JSON``; what a task costs."""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from airflow_magnus.dags.embedded import make_home, set_environment
from bench.client import BUCKET, measured

FEW, MANY = 5, 25
_BASH = """\
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, chain

for count in {counts}:
    with DAG(f"tasks_{{count}}", schedule=None) as dag:
        chain(*[BashOperator(task_id=f"step_{{number}}", bash_command="true") for number in range(count)])
    globals()[dag.dag_id] = dag
"""
_BY_HAND = """\
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, chain
from airflow_magnus import EndOfRun, StepMixin, StepSettings

class BashStep(StepMixin, BashOperator):
    pass

for count in {counts}:
    with DAG(f"tasks_{{count}}", schedule=None) as dag:
        steps = [
            BashStep(task_id=f"step_{{number}}", bash_command="true", step=StepSettings()) for number in range(count)
        ]
        chain(*steps, EndOfRun(task_id="end"))
    globals()[dag.dag_id] = dag
"""
_OURS = """\
from airflow_magnus import pipeline_dag

for count in {counts}:
    globals()[f"tasks_{{count}}"] = pipeline_dag(f"tasks_{{count}}.yaml", dag_id=f"tasks_{{count}}")
"""
_ON_FILES = """\
run_log_store: {type: file-system}
catalog: {type: file-system}
secrets: {type: do-nothing}
"""
_ON_S3 = """\
run_log_store:
  type: s3
  config: {{url: s3://{bucket}/task-log, endpoint_url: "{endpoint}", region: us-east-1}}
catalog:
  type: s3
  config: {{url: s3://{bucket}/task-catalog, endpoint_url: "{endpoint}", region: us-east-1}}
secrets: {{type: do-nothing}}
"""
KINDS = {"bash": _BASH, "by hand": _BY_HAND, "files": _OURS, "s3": _OURS}


def main() -> None:
    """Do the job of the command line."""
    job = json.loads(sys.argv[1])
    with tempfile.TemporaryDirectory(dir=job["scratch"]) as folder:
        report = _run(Path(folder), job)
    Path(job["report"]).write_text(json.dumps({**report["many"][0], **report}), encoding="utf-8")


def _run(home: Path, job: dict[str, Any]) -> dict[str, Any]:
    set_environment(home, "ERROR")
    make_home(home)
    from bench.processor import execute

    logging.disable(logging.WARNING)
    dags = execute(_written(home, job))
    dags["tasks_1"].test()  # imports and opens what the first task does
    found: dict[str, Any] = {"few": [], "many": []}
    for _ in range(job["rounds"]):
        for name, count in ("few", FEW), ("many", MANY):
            states: list[str] = []

            def work(count: int = count, states: list[str] = states) -> None:
                run = dags[f"tasks_{count}"].test()
                states += [str(ti.state) for ti in run.get_task_instances()]

            found[name].append(measured(work))
            if states.count("success") < count:
                raise RuntimeError(f"{job['kind']}: of {count} tasks these are the states: {states}")
    return found


def _pipeline(steps: int) -> str:
    """A pipeline file of shell steps, one after the other."""
    lines = ["dag:", "  start_at: step 0", "  steps:"]
    for number in range(steps):
        behind = f"step {number + 1}" if number + 1 < steps else "success"
        lines += [
            f"    step {number}:",
            "      type: task",
            "      command_type: shell",
            '      command: "true"',
            f"      next: {behind}",
        ]
    return "\n".join([*lines, "    success:", "      type: success", "    fail:", "      type: fail", ""])


def _written(home: Path, job: dict[str, Any]) -> Path:
    """The DAG file, with the pipelines beside it."""
    dags, counts = home / "dags", (1, FEW, MANY)
    (dags / "pipeline.py").unlink()
    for count in counts:
        text = _pipeline(count)
        if job["kind"] == "s3":
            text = _ON_S3.format(bucket=BUCKET, endpoint=job["endpoint"]) + text
        if job["kind"] == "files":
            text = _ON_FILES + text
        (dags / f"tasks_{count}.yaml").write_text(text, encoding="utf-8")
    file = dags / "dags.py"
    file.write_text(KINDS[job["kind"]].format(counts=counts), encoding="utf-8")
    return file


if __name__ == "__main__":
    main()
