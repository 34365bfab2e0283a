"""The order in which ``magnus execute`` runs tasks: one branch after the other, in the order of the file (of the list).

Airflow's ``dag.test`` runs whatever is ready, in any order. Source: contract of the graph's walk.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import DAG


@contextmanager
def one_branch_after_the_other(dag: DAG) -> Iterator[None]:
    """Let ``dag.test`` see only the next task that is ready, or of mapped tasks the next of each item.

    Tasks inside a mapped group wait for no more than those of their own item, so of them all that are ready run in the
    order of the list, each followed by what stands behind it for the same item.
    """
    from airflow.models.dagrun import DagRun

    order = {task_id: number for number, task_id in enumerate(dag.task_dict)}
    update_state = DagRun.update_state

    def in_order(self: Any, *args: Any, **kwargs: Any) -> Any:
        ready, callback = update_state(self, *args, **kwargs)
        return _next(ready, order), callback

    with patch.object(DagRun, "update_state", in_order):
        yield


def _next(ready: list[Any], order: dict[str, int]) -> list[Any]:
    """Of the tasks that are ready the one that comes first."""
    if not ready:
        return ready
    return [min(ready, key=lambda ti: (order[ti.task_id], ti.map_index))]
