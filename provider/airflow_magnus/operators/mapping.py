"""The tasks around the branches of a map step.

A map inside a map is one mapped group over the tuples of both items: Airflow accepts a mapped group inside a mapped
group and mixes the items up. So the start and the end of an inner map are no mapped tasks: they work for all items of
the map around at once, and a task of the map around, the *join*, takes each item's own outcome.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_magnus.hooks.services import OpenServices
from airflow_magnus.operators.branches import Branch, Outcome, bring_in_line, conclude, outcome_of
from airflow_magnus.operators.composite import CompositeTask, StartTask
from airflow_magnus.operators.map_list import no_list, no_parameter, too_many
from airflow_magnus.operators.place import Items, StepPlace
from airflow_magnus.operators.record_task import statuses_of
from airflow_magnus.operators.rerun import is_reused, restore_branch, restored, reused_branches
from airflow_magnus.operators.route import tuples_of
from airflow_magnus.operators.states import task_states
from airflow_magnus.pipeline.items import branch_names
from airflow_magnus.runlog.history import Graphs, StepHistory, Visible
from airflow_magnus.runlog.records import AttemptClosed, AttemptOpened, RunHeader
from airflow_magnus.stores.parallel import Pace, in_parallel
from airflow_magnus.stores.parts import READERS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parent:
    """One tuple of items of the maps around a map; outside maps there is one, without items.

    :param index: map index of its tasks; None outside maps.
    """

    place: StepPlace
    items: Items
    index: int | None


class MapTask(CompositeTask):
    """A task that works for all items of the maps around; its route's list is that of the map around."""

    ui_color = "#e3ecf7"

    @property
    def is_inner(self) -> bool:
        """Whether the map stands inside another one."""
        return bool(self.route.list_task_id)

    def parents(self, context: Any) -> list[Parent]:
        """The tuples of items for which the way leads to this map, in order."""
        if not self.is_inner:
            return [Parent(self.place, [], None)]
        tuples = tuples_of(context["ti"], self.route.list_task_id)
        states = task_states(context, [way.task_id for way in self.route.ways if way.state])
        return [
            Parent(self.place.at(items), items, index)
            for index, items in enumerate(tuples)
            if self.route.leads(context, states, index)
        ]


class MapStart(StartTask, MapTask):
    """Reads the lists and opens the records; gives the tuples of items over which the tasks of the map are expanded.

    :param iterate_on: the parameter that holds the list.
    """

    def __init__(self, *, iterate_on: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.iterate_on = iterate_on

    def record(self, context: Any) -> list[list[list[Any]]]:
        """Give the tuples, outermost item first, each item with the name of its branch.

        :raises AirflowSkipException: when an earlier run's result is used.
        :raises AirflowFailException: when there is no list, or too many items for Airflow.
        """
        services, header = self.open(context)
        parents, known = self.parents(context), dict[str, Visible]()
        lists = in_parallel(lambda p: self._list(p.place, services, header, known), parents, Pace(READERS))
        fault, is_alone = too_many(sum(len(values) for values, _ in lists)), self.is_alone(context)

        def begin(parent: Parent, values: list[Any], own_fault: str) -> list[list[Any]]:
            return self._begin(context, services, header, parent, values, own_fault or fault, is_alone)

        todo = [(parent, *found) for parent, found in zip(parents, lists, strict=True)]
        made = in_parallel(lambda each: begin(*each), todo, Pace(READERS))
        faults = [fault] if fault else [own for _, own in lists if own] if not self.is_inner else []
        if faults:
            raise AirflowFailException(faults[0])
        return [each for tuples in made for each in tuples]

    def _list(
        self, place: StepPlace, services: OpenServices, header: RunHeader, known: dict[str, Visible]
    ) -> tuple[list[Any], str]:
        """The list of one parent, or what is wrong with it."""
        seen = place.visible(services.run_log, header, known)
        values = {**seen.parameters, **dict(place.variables)}
        if self.iterate_on not in values:
            return [], no_parameter(self.iterate_on, values)
        value = values[self.iterate_on]
        if isinstance(value, list):
            return value, ""
        return [], no_list(self.iterate_on, value, header.parameters)

    def _begin(
        self,
        context: Any,
        services: OpenServices,
        header: RunHeader,
        parent: Parent,
        values: list[Any],
        fault: str,
        is_alone: bool,
    ) -> list[list[Any]]:
        """Open the record of one parent's map; gives its tuples."""
        place = parent.place
        attempt = self.opened(
            context, services, header, place, is_alone=is_alone,
            branches=[] if fault else branch_names(values), items=[] if fault else values,
        )  # fmt: skip
        opened = attempt.opened
        if isinstance(opened, AttemptClosed):
            return self._tuples(parent, opened, header, services, is_first=attempt.is_first)
        if attempt.is_first and is_reused(header, place.identity):
            services.run_log.close(header.run_id, restored(opened, header, services))
            if not self.is_inner:
                raise AirflowSkipException(f"not run again: it succeeded in run {header.original_run_id}")
            return []
        if fault:
            services.run_log.close(
                header.run_id, opened.ended(status="FAIL", message=fault, step_message=fault)
            )
            return []
        return self._tuples(parent, opened, header, services, is_first=attempt.is_first)

    def _tuples(
        self,
        parent: Parent,
        opened: AttemptOpened,
        header: RunHeader,
        services: OpenServices,
        *,
        is_first: bool,
    ) -> list[list[Any]]:
        """The tuples of one parent, without those that an earlier run has done."""
        done = reused_branches(header, opened, services) if is_first else set()
        for name in sorted(done):
            restore_branch(f"{parent.place.identity.internal_name}.{name}", header, services)
        return [
            [*parent.items, [name, value]]
            for name, value in zip(opened.branches, opened.items, strict=True)
            if name not in done
        ]


class MapEnd(MapTask):
    """Closes the records when all items have ended; outside maps its state is the step's.

    Inside a map it gives the outcome of each item of the map around: its status, "" when it was not reached, and why.

    :param start_task_id: the task that opened the records.
    """

    def __init__(self, *, start_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start_task_id = start_task_id

    def record(self, context: Any) -> list[list[str]] | None:
        """Decide how the step went.

        :raises AirflowSkipException: when the step was not reached.
        :raises AirflowFailException: outside maps, when a branch did not succeed.
        """
        ti = context["ti"]
        started = task_states(context, [self.start_task_id]).get(self.start_task_id, "")
        if started not in ("success", "failed", "skipped"):
            raise AirflowSkipException("the step was not reached")
        services, header = self.open(context)
        parents = self.parents(context)
        tuples = tuples_of(ti, self.start_task_id) if started == "success" else []
        indexes = {tuple(name for name, _ in each): i for i, each in enumerate(tuples)}
        closed = _Ending(self, context, services, header, indexes, started).end(parents)
        if self.is_inner:
            found = [["", ""] for _ in tuples_of(ti, self.route.list_task_id)]
            for parent, end in zip(parents, closed, strict=True):
                assert parent.index is not None
                if end is not None:
                    found[parent.index] = [end.status, end.message]
            return found
        if closed[0] is None:
            raise AirflowSkipException("the step was not reached")
        if closed[0].status == "FAIL":
            raise AirflowFailException(closed[0].message)
        return None


class _Ending:
    """The end of one map for all its parents."""

    def __init__(
        self,
        task: MapEnd,
        context: Any,
        services: OpenServices,
        header: RunHeader,
        indexes: Mapping[tuple[str, ...], int],
        started: str,
    ) -> None:
        self._task = task
        self._run_log = services.run_log
        self._run_id = header.run_id
        self._branch: Branch = task.branches[0]
        self._indexes = indexes
        self._started = started
        self._states = task_states(context, self._branch.tasks.values())
        self._identities = task.identities(context)

    def end(self, parents: Sequence[Parent]) -> list[AttemptClosed | None]:
        """Write how the map went for each parent; None where it did not run."""
        names = {parent.place.identity.graph_name for parent in parents}
        graphs = self._run_log.graphs(self._run_id, names)
        histories = [graphs.get(p.place.identity.graph_name, {}).get(p.place.identity.name) for p in parents]
        branches = {
            f"{history.internal_name}.{name}"
            for history in histories
            if history is not None
            for name in history.latest.opened.branches
        }
        inner = self._run_log.graphs(self._run_id, branches)
        outcomes = [self._outcomes(p, h, inner) for p, h in zip(parents, histories, strict=True)]
        flat = [outcome for each in outcomes if each is not None for outcome, _ in each]
        items = {outcome.graph.name: its for each in outcomes if each for outcome, its in each}
        if bring_in_line(self._run_log, self._run_id, flat, items, inner):
            inner = self._run_log.graphs(self._run_id, branches)
        ended = [
            self._conclude(p, h, each, inner) for p, h, each in zip(parents, histories, outcomes, strict=True)
        ]
        return list(in_parallel(self._write, ended, Pace(READERS)))

    def _outcomes(
        self, parent: Parent, history: StepHistory | None, inner: Graphs
    ) -> list[tuple[Outcome, Items]] | None:
        """How the branches of one parent went; None when the map's own record tells all."""
        closed = history.latest.closed if history else None
        if history is None or self._started != "success" or (closed is not None and closed.mock):
            return None
        opened = history.latest.opened
        if closed is not None and closed.status == "FAIL" and not opened.branches:
            return None  # there was no list
        found: list[tuple[Outcome, Items]] = []
        values = opened.items or [None] * len(opened.branches)
        for name, value in zip(opened.branches, values, strict=True):
            items = [*parent.items, [name, value]]
            index = self._indexes.get(tuple(branch for branch, _ in items))
            if index is None:  # of an earlier run: it has no tasks
                records = inner.get(f"{history.internal_name}.{name}", {})
                statuses: dict[str, str] = {step: record.status for step, record in records.items()}
            else:
                statuses = statuses_of(self._branch.tasks, self._states, index)
            found.append((outcome_of(self._branch, name, items, statuses), items))
        return found

    def _conclude(
        self,
        parent: Parent,
        history: StepHistory | None,
        outcomes: list[tuple[Outcome, Items]] | None,
        inner: Graphs,
    ) -> Any:
        if outcomes is None:
            return parent.place, history
        assert history is not None
        own = [outcome for outcome, _ in outcomes]
        return conclude(parent.place, history.latest.opened, own, inner, self._identities)

    def _write(self, ended: Any) -> AttemptClosed | None:
        if isinstance(ended, tuple):
            return self._as_started(*ended)
        self._run_log.append_all(self._run_id, ended.ends)
        self._run_log.append(self._run_id, ended.closed)
        closed: AttemptClosed = ended.closed
        return closed

    def _as_started(self, place: StepPlace, history: StepHistory | None) -> AttemptClosed | None:
        """The record of a map that had no branches to wait for."""
        closed = history.latest.closed if history else None
        if closed is not None and (closed.mock or self._started == "success"):
            return closed
        if self._started == "skipped":
            return None
        self._run_log.reconcile(self._run_id, [(place.identity, history, "FAIL")])
        message = (closed.message if closed else "") or f"task {self._task.start_task_id} failed"
        return AttemptClosed(
            step=place.identity, number=0, attempt_id="", start_time="", status="FAIL", message=message
        )


class MapJoin(CompositeTask):
    """Takes, for one item of the map around, the outcome of an inner map: its state is the inner step's.

    :param end_task_id: the end of the inner map.
    """

    ui_color = "#e3ecf7"

    def __init__(self, *, end_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.end_task_id = end_task_id

    def record(self, context: Any) -> None:
        """Have the inner map's state.

        :raises AirflowSkipException: when it was not reached.
        :raises AirflowFailException: when it failed.
        """
        self.route.items(context)
        ti = context["ti"]
        outcomes = ti.xcom_pull(task_ids=self.end_task_id, map_indexes=-1) or []
        status, why = outcomes[ti.map_index]
        if not status:
            raise AirflowSkipException("the step was not reached for this item")
        if status == "FAIL":
            raise AirflowFailException(why)
