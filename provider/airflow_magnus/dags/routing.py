"""A graph as tasks and edges.

Every step waits with ``one_success``; a failure edge is a gate of its own; ``success`` and ``fail`` are the only leaves,
and they decide the colour of the DAG run. Steps that nothing reaches get no task.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from airflow_magnus.dags.kinds import doc_of, make_task
from airflow_magnus.dags.settings import task_arguments
from airflow_magnus.hooks.services import ServiceSources
from airflow_magnus.operators.gate import FailureGate
from airflow_magnus.operators.place import Places
from airflow_magnus.operators.run import RunSettings
from airflow_magnus.operators.settings import StepSettings
from airflow_magnus.operators.terminal import FailNode, SuccessNode
from airflow_magnus.operators.workspace import WorkspaceSettings
from airflow_magnus.pipeline.identifiers import task_id_of
from airflow_magnus.pipeline.model import Graph, Step

_TERMINAL_RETRIES = 3
_TERMINAL_RETRY_DELAY = timedelta(seconds=10)
"""The ends of a run wait for a store that is out of reach for a moment, not for Airflow's five minutes."""


@dataclass(frozen=True)
class Plan:
    """What the tasks of one pipeline have in common."""

    services: ServiceSources
    workspace: WorkspaceSettings
    run: RunSettings


def add_graph(graph: Graph, plan: Plan) -> dict[str, Any]:
    """Make the tasks of a graph in the DAG or group that is being built.

    :returns: step name → its task.
    :raises PipelineError: when this installation cannot run a step.
    """
    places = Places(graph)
    tasks = {step.name: _task(graph, step, plan, places) for step in graph.reachable if not step.is_terminal}
    tasks |= _terminals(graph, plan, places, tasks)
    for step in graph.reachable:
        if not step.is_terminal:
            _connect(graph, step, tasks)
    fail = tasks[graph.fail.name]
    fail.set_upstream([task for task in tasks.values() if task is not fail])
    return tasks


def _task(graph: Graph, step: Step, plan: Plan, places: Places) -> Any:
    is_start = step.name == graph.start_at
    return make_task(
        step,
        task_id=task_id_of(step.name),
        task_display_name=step.name,
        doc_md=doc_of(step),
        trigger_rule="all_success" if is_start else "one_success",
        do_xcom_push=False,
        step=StepSettings(
            name=step.name,
            get=step.catalog.get,
            put=step.catalog.put,
            compute_data_folder=step.catalog.compute_data_folder,
            services=plan.services,
            workspace=plan.workspace,
            place=places.of(step),
            run=plan.run,
        ),
        **task_arguments(step.executor_config.get("airflow", {}), step.attempts),
    )


def _terminals(graph: Graph, plan: Plan, places: Places, tasks: dict[str, Any]) -> dict[str, Any]:
    steps = {task.task_id: places.identity(graph.steps[name]) for name, task in tasks.items()}
    common: dict[str, Any] = {
        "steps": steps,
        "services": plan.services,
        "run": plan.run,
        "retries": _TERMINAL_RETRIES,
        "retry_delay": _TERMINAL_RETRY_DELAY,
    }
    made: dict[str, Any] = {}
    for node in graph.reachable:
        if not node.is_terminal:
            continue
        arguments: dict[str, Any] = {
            "task_id": task_id_of(node.name),
            "task_display_name": node.name,
            "place": places.of(node),
            **common,
        }
        if node.kind == "success":
            made[node.name] = SuccessNode(trigger_rule="one_success", **arguments)
        else:
            success = made.get(graph.success.name)
            made[node.name] = FailNode(
                trigger_rule="all_done", success_task_id=success.task_id if success else "", **arguments
            )
    return made


def _connect(graph: Graph, step: Step, tasks: dict[str, Any]) -> None:
    task = tasks[step.name]
    if step.next != graph.fail.name:
        task.set_downstream(tasks[step.next])
    handler = graph.after_failure(step)
    if handler.kind != "fail":
        gate = FailureGate(
            task_id=f"{task_id_of(step.name)}--on_failure",
            task_display_name=f"on failure of {step.name}",
            step_task_id=task.task_id,
        )
        task.set_downstream(gate)
        gate.set_downstream(tasks[handler.name])
