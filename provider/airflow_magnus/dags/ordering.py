"""The order in which ``magnus execute`` runs tasks: one branch after the other, in the order of the file (of the list).

Airflow's ``dag.test`` runs whatever is ready, in any order. Source: contract of the graph's walk.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from airflow_magnus.operators.interruption import interrupted_by

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import DAG

_ROUNDS = 3
"""How often Airflow is asked again when it has found nothing to run: one round may do no more than skip tasks."""


@contextmanager
def one_branch_after_the_other(dag: DAG) -> Iterator[None]:
    """Let ``dag.test`` see no more than the next task.

    The tasks of a mapped group wait only for tasks of their own item, and for tasks that have ended before the group
    begins: once the first of them is ready they are handed out item by item, without asking Airflow each time, which
    looks at all tasks of the run.
    """
    from airflow.models.dagrun import DagRun

    order = _Order(dag, DagRun.update_state, DagRun.get_task_instances)
    with (
        patch.object(DagRun, "update_state", lambda run, *a, **k: order.update_state(run, *a, **k)),
        patch.object(
            DagRun, "get_task_instances", lambda run, *a, **k: order.get_task_instances(run, *a, **k)
        ),
    ):
        yield


class _Order:
    def __init__(self, dag: DAG, update_state: Any, get_task_instances: Any) -> None:
        self._number = {task_id: number for number, task_id in enumerate(dag.task_dict)}
        self._segment = {task_id: _segment(task) for task_id, task in dag.task_dict.items()}
        self._update_state = update_state
        self._get_task_instances = get_task_instances
        self._queue: list[tuple[str, int]] = []
        self._handed_out: list[Any] | None = None

    def update_state(self, run: Any, *args: Any, **kwargs: Any) -> Any:
        """In place of Airflow's: the task that is next, in a list."""
        from airflow.utils.state import DagRunState, State

        if interrupted_by():
            raise KeyboardInterrupt
        while self._queue:
            task_id, map_index = self._queue[0]
            # Anew each time: what was read before belongs to a session that is closed by now.
            ti = run.get_task_instance(task_id, map_index=map_index, session=kwargs["session"])
            if ti.state in State.finished:
                self._queue.pop(0)
                continue
            self._handed_out = [ti]
            return ([] if _must_wait(ti, run) else [ti]), None
        self._handed_out = None
        ready, callback = self._update_state(run, *args, **kwargs)
        for _ in range(_ROUNDS):
            if ready or run.state != DagRunState.RUNNING:
                break
            ready, callback = self._update_state(run, *args, **kwargs)
        if not ready:
            return ready, callback
        first = min(ready, key=self._key)
        segment = self._segment[first.task_id]
        if segment is not None:
            mine = self._of_segment(segment, run, kwargs["session"])
            order = sorted(mine, key=lambda ti: (ti.map_index, self._number[ti.task_id]))
            self._queue = [(ti.task_id, ti.map_index) for ti in order]
            return self.update_state(run, *args, **kwargs) if self._queue else ([first], callback)
        return [first], callback

    def _of_segment(self, segment: str, run: Any, session: Any) -> list[Any]:
        """The tasks of a mapped group for all its items; Airflow makes those of later tasks when earlier ones have ended."""
        from airflow.models.taskmap import TaskMap

        def mine() -> list[Any]:
            found = self._get_task_instances(run, session=session)
            return [ti for ti in found if self._segment.get(ti.task_id) == segment]

        for ti in mine():
            if ti.map_index < 0 and ti.state is None:
                TaskMap.expand_mapped_task(run.dag.get_task(ti.task_id), run.run_id, session=session)
        return [ti for ti in mine() if ti.map_index >= 0]

    def get_task_instances(self, run: Any, *args: Any, **kwargs: Any) -> Any:
        """In place of Airflow's: of a mapped group only the task that is next."""
        if self._handed_out is not None:
            return self._handed_out
        return self._get_task_instances(run, *args, **kwargs)

    def _key(self, ti: Any) -> tuple[int, int]:
        return self._number[ti.task_id], ti.map_index


def _must_wait(ti: Any, run: Any) -> bool:
    """Whether the time until the next attempt has not passed."""
    from airflow.utils.state import TaskInstanceState

    ti.task = run.dag.get_task(ti.task_id)
    return bool(ti.state == TaskInstanceState.UP_FOR_RETRY and not ti.ready_for_retry())


def _segment(task: Any) -> str | None:
    """The mapped group that a task stands in."""
    group = task.get_closest_mapped_task_group()
    return None if group is None else str(group.node_id)
