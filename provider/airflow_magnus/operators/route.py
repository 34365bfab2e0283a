"""How a task finds out whether the way through its graph leads to it, and for which item it runs.

Outside maps Airflow's trigger rules decide that. Inside maps they do not (tried: they look at all items of a step, or
at none), so there every task waits until those before it have ended and asks for their states itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_magnus.operators.states import task_states

LABEL = "item"
"""Name in the context under which the label of a mapped task is kept."""
_LONGEST_LABEL = 120


@dataclass(frozen=True)
class Way:
    """One way to a task.

    :param task_id: the task before it.
    :param state: state of that task with which the way is taken; "" for any.
    :param answer: result of that task with which it is taken; None for any.
    """

    task_id: str
    state: str = "success"
    answer: Any = None


@dataclass(frozen=True)
class Route:
    """The ways to a task.

    :param ways: one must be taken; () when Airflow decides.
    :param list_task_id: of a task inside maps: the task whose result is the list of tuples of items; else "".
    """

    ways: tuple[Way, ...] = ()
    list_task_id: str = ""

    def items(self, context: Any) -> list[list[Any]]:
        """The item of each map around, outermost first, with the name of its branch; [] outside maps.

        Cost: 1 call of the execution API inside maps.
        """
        if not self.list_task_id:
            return []
        ti = context["ti"]
        found: list[list[Any]] = tuples_of(ti, self.list_task_id)[ti.map_index]
        context[LABEL] = label_of(found)
        return found

    def check(self, context: Any) -> None:
        """Go on only when a way leads here.

        :raises AirflowSkipException: when none does.
        """
        if not self.ways:
            return
        ti = context["ti"]
        index = ti.map_index if self.list_task_id else None
        if not self.leads(context, task_states(context, [way.task_id for way in self.ways], index), index):
            self.items(context)  # the UI names it nevertheless
            raise AirflowSkipException("no way through the pipeline leads here in this run")

    def leads(self, context: Any, states: Mapping[str, str], map_index: int | None) -> bool:
        """Whether a way is taken, by the states of the tasks before."""
        return any(
            states.get(way.task_id if map_index is None else f"{way.task_id}_{map_index}") == way.state
            and (way.answer is None or _answer(context, way.task_id, map_index) == way.answer)
            if way.state
            else True
            for way in self.ways
        )


def tuples_of(ti: Any, list_task_id: str) -> list[list[list[Any]]]:
    """The tuples of items that a map's first task has made; [] when it made none."""
    found: list[list[list[Any]]] | None = ti.xcom_pull(task_ids=list_task_id, map_indexes=-1)
    return found or []


def label_of(items: Sequence[Sequence[Any]]) -> str:
    """What the UI calls a mapped task."""
    text = " / ".join(str(name) for name, _ in items)
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"


def _answer(context: Any, task_id: str, map_index: int | None) -> Any:
    return context["ti"].xcom_pull(task_ids=task_id, map_indexes=-1 if map_index is None else map_index)
