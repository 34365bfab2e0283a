"""The same DAG as a pipeline file, as Python written by hand with the same operators, and as YAML for dag-factory."""

from __future__ import annotations

import datetime
import functools
import json
from pathlib import Path
from typing import Any

LEAPS = 10
"""Every so many steps, one goes on behind the next ones after a failure."""


def pipeline(steps: int) -> str:
    """A pipeline file of shell steps; every tenth has an ``on_failure`` of its own."""
    lines = ["dag:", f"  description: {steps} steps", f"  start_at: {_name(0)}", "  steps:"]
    for number in range(steps):
        lines += [
            f"    {_name(number)}:",
            "      type: task",
            "      command_type: shell",
            f"      command: {_command(number)}",
            f"      next: {_name(number + 1) if number + 1 < steps else 'success'}",
        ]
        if _leap(number, steps):
            lines.append(f"      on_failure: {_name(_leap(number, steps))}")
    lines += ["    success:", "      type: success", "    fail:", "      type: fail", ""]
    return "\n".join(lines)


def loader(folder: str) -> str:
    """The DAG file of a folder of pipelines."""
    # Airflow passes over files without the words airflow and dag.
    return f"""# One DAG for each pipeline file.
from airflow_magnus import load_pipelines

load_pipelines({folder!r}, globals())
"""


def dag_factory(dag_id: str, steps: int) -> str:
    """The steps as tasks of Airflow's BashOperator, as a user of dag-factory writes them; without the pipeline's ends."""
    lines = _dag_factory_head(dag_id, f"{steps} steps")
    for number in range(steps):
        behind = [_task_id(number - 1)] if number else []
        behind += [_task_id(other) for other in range(number) if _leap(other, steps) == number]
        lines += [
            f"    - task_id: {_task_id(number)}",
            "      operator: airflow.providers.standard.operators.bash.BashOperator",
            f"      bash_command: {_command(number)}",
            "      retries: 0",
            f"      trigger_rule: {'one_success' if number else 'all_success'}",
        ]
        if behind:
            lines.append(f"      dependencies: [{', '.join(behind)}]")
    return "\n".join([*lines, ""])


def dag_factory_of(dag: Any) -> str:
    """A DAG with the same operators, arguments and edges for dag-factory, but for what its YAML cannot say.

    :param dag: as made of the pipeline file.
    """
    lines = _dag_factory_head(f"{dag.dag_id}_same", str(dag.description))
    for task in dag.tasks:
        kind = type(task)
        is_end = kind.__name__ in ("SuccessNode", "FailNode")
        name = (
            "airflow_magnus.operators.terminal.EndOfRun" if is_end else f"{kind.__module__}.{kind.__name__}"
        )
        lines += [f"    - task_id: {task.task_id}", f"      operator: {name}"]
        values = {key: getattr(value, "value", value) for key, value in _given(task).items()}
        values |= {key: getattr(task, key) for key in ("command", "step_task_id") if hasattr(task, key)}
        lines += [
            f"      {key}: {json.dumps(value)}"
            for key, value in values.items()
            if not isinstance(value, datetime.timedelta)
        ]
        if task.upstream_task_ids:
            lines.append(f"      dependencies: [{', '.join(sorted(task.upstream_task_ids))}]")
    return "\n".join([*lines, ""])


def _dag_factory_head(dag_id: str, description: str) -> list[str]:
    return [
        f"{dag_id}:",
        "  default_args:",
        "    owner: airflow",
        "    start_date: 2024-01-01",
        "  schedule: null",
        "  catchup: false",
        f"  description: {description}",
        "  tasks:",
    ]


def dag_factory_loader(config: Path) -> str:
    """The DAG file that loads it."""
    return f'from dagfactory import load_yaml_dags\n\nload_yaml_dags(globals_dict=globals(), config_filepath="{config}")\n'


_HEAD = '''"""Written by hand, as far as a benchmark can."""

from __future__ import annotations

import datetime
from pathlib import Path

from airflow.sdk import DAG

from airflow_magnus import StepSettings
from airflow_magnus.hooks.services import ServiceSources
from airflow_magnus.operators.commands import ShellStep
from airflow_magnus.operators.gate import FailureGate
from airflow_magnus.operators.place import StepPlace
from airflow_magnus.operators.run import RunSettings
from airflow_magnus.operators.terminal import FailNode, SuccessNode
from airflow_magnus.operators.workspace import WorkspaceSettings
from airflow_magnus.runlog.records import StepIdentity

services = ServiceSources()
workspace = WorkspaceSettings(source=Path(__file__).parent)
run = RunSettings(pipeline={pipeline!r})

with DAG({dag_id!r}, schedule=None, catchup=False, tags=["magnus"], description={description!r}, doc_md={doc_md!r}) as dag:
'''

_PLAIN = ("task_display_name", "doc_md", "trigger_rule", "do_xcom_push", "retries", "retry_delay")
_SETTINGS = "step=StepSettings(name={name!r}, services=services, workspace=workspace, run=run)"
_END = "place=StepPlace(StepIdentity(name={name!r}, internal_name={name!r}, step_type={kind!r})), steps={{}}, services=services, run=run"


def by_hand(dag: Any) -> str:
    """A DAG as Python: a statement for each task, one for each edge; the fan-in of the fail node in one.

    :param dag: as made of the pipeline file.
    """
    head = _HEAD.format(
        dag_id=f"{dag.dag_id}_by_hand", pipeline=dag.dag_id, description=dag.description, doc_md=dag.doc_md
    )
    lines = []
    for task in dag.tasks:
        arguments = [
            f"task_id={task.task_id!r}",
            *(f"{key}={_literal(value)}" for key, value in _given(task).items()),
        ]
        lines.append(f"{_variable(task)} = {type(task).__name__}({', '.join(arguments + _own(task))})")
    for task in dag.tasks:
        below = sorted(task.downstream_task_ids)
        lines += [
            f"{_variable(task)} >> {_variable(dag.get_task(other))}" for other in below if other != "fail"
        ]
    behind = [_variable(dag.get_task(other)) for other in sorted(dag.get_task("fail").upstream_task_ids)]
    lines.append(f"[{', '.join(behind)}] >> fail")
    return head + "".join(f"    {line}\n" for line in lines)


def _given(task: Any) -> dict[str, Any]:
    """The arguments of every operator that a task has other values of than Airflow's."""
    unset = _unset()
    found = {key: getattr(task, key) for key in _PLAIN if getattr(task, key) != unset[key]}
    if type(task).__name__ == "FailureGate":
        del found["trigger_rule"]  # its own affair
    return found


@functools.cache
def _unset() -> dict[str, Any]:
    from airflow.sdk import BaseOperator

    task = BaseOperator(task_id="unset")
    return {key: getattr(task, key) for key in _PLAIN}


def _own(task: Any) -> list[str]:
    """The arguments that only the class of a task has."""
    kind = type(task).__name__
    if kind == "ShellStep":
        return [f"command={task.command!r}", _SETTINGS.format(name=task.task_display_name)]
    if kind == "FailureGate":
        return [f"step_task_id={task.step_task_id!r}"]
    end = _END.format(name=task.task_display_name, kind="success" if kind == "SuccessNode" else "fail")
    return [end] if kind == "SuccessNode" else [end, f"success_task_id={task.success_task_id!r}"]


def _literal(value: Any) -> str:
    if isinstance(value, datetime.timedelta):
        return f"datetime.timedelta(seconds={value.total_seconds()!r})"
    return repr(getattr(value, "value", value))


def _variable(task: Any) -> str:
    return str(task.task_id).replace("-", "_")


def _name(number: int) -> str:
    return f"step {number}"


def _task_id(number: int) -> str:
    return f"step_{number}"


def _command(number: int) -> str:
    return f"echo {number} && sleep 0"


def _leap(number: int, steps: int) -> int:
    """Where a step goes on after a failure; 0 for the fail node."""
    return min(number + LEAPS // 2, steps - 1) if number % LEAPS == 3 and number < steps - 2 else 0
