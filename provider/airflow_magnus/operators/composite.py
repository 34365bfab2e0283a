"""The tasks around the branches of a parallel, dag, conditional or loop step."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from airflow.sdk.exceptions import DownstreamTasksSkipped

from airflow_magnus.hooks.services import OpenServices
from airflow_magnus.operators.branches import Branch, Outcome, bring_in_line, conclude, outcome_of
from airflow_magnus.operators.place import Items, StepPlace
from airflow_magnus.operators.record_task import RecordTask, statuses_of
from airflow_magnus.operators.rerun import is_reused, restored
from airflow_magnus.operators.route import Route, Way
from airflow_magnus.operators.run import scheduler_ids
from airflow_magnus.operators.states import task_states
from airflow_magnus.pipeline.items import item_text
from airflow_magnus.runlog.history import StepHistory, Visible, visible
from airflow_magnus.runlog.records import AttemptClosed, AttemptOpened, RunHeader

if TYPE_CHECKING:
    from airflow_magnus.stores.attempts import OpenAttempt

log = logging.getLogger(__name__)

_WHY = "why"
"""Key of the XCom by which a task between repetitions tells the end of its loop why it failed."""


class CompositeTask(RecordTask):
    """A task of a composite step.

    :param route: how it finds out whether it is reached, and for which item it runs.
    :param branches: of the step.
    """

    def __init__(self, *, route: Route, branches: Sequence[Branch] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.route = route
        self.branches = tuple(branches)

    def index(self, context: Any) -> int | None:
        """The map index; None outside maps."""
        return context["ti"].map_index if self.route.list_task_id else None


class StartTask(CompositeTask):
    """Opens the record of a composite step; its end closes it.

    :param end_task_id: that end.
    """

    ui_color = "#e3ecf7"

    def __init__(self, *, end_task_id: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.end_task_id = end_task_id

    def is_alone(self, context: Any) -> bool:
        """Whether it was cleared without the end, which has ended already: then nobody would close another attempt."""
        if not getattr(context["dag_run"], "clear_number", 0):
            return False
        index = context["ti"].map_index
        return bool(task_states(context, [self.end_task_id], index if index >= 0 else None))

    def opened(
        self,
        context: Any,
        services: OpenServices,
        header: RunHeader,
        place: StepPlace,
        *,
        is_alone: bool,
        branches: Sequence[str],
        items: Sequence[Any] = (),
    ) -> OpenAttempt:
        """A new attempt; when the start was cleared alone the one that was there, with the branches that it had."""
        from airflow_magnus.stores.attempts import OpenAttempt  # not where a DAG file is only parsed

        step = place.identity
        if is_alone:
            history = services.run_log.graph(header.run_id, step.graph_name, [step.name]).get(step.name)
            closed = history.latest.closed if history else None
            if closed is not None and not closed.mock and (closed.branches or closed.status == "SUCCESS"):
                return OpenAttempt(closed, is_first=closed.number == 0)
        return services.run_log.open_attempt(
            header.run_id,
            step,
            str(context["ti"].id),
            scheduler_ids(context),
            branches=branches,
            items=items,
        )


class BranchesStart(StartTask):
    """Opens the record of the step; the branches begin behind it.

    :param parameter: of a conditional step: the parameter whose value names the branch.
    :param default: of a conditional step: the branch of all other values; "" when there is none.
    """

    def __init__(self, *, parameter: str = "", default: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.parameter = parameter
        self.default = default

    def record(self, context: Any) -> str | None:
        """Open the record; of a conditional step give the name of the branch that runs.

        :raises AirflowSkipException: when no way leads here, or an earlier run's result is used.
        :raises AirflowFailException: when no branch can be chosen.
        """
        items = self.route.items(context)
        self.route.check(context)
        place = self.place.at(items)
        services, header = self.open(context)
        names, fault = [branch.name for branch in self.branches], ""
        if self.parameter:
            chosen, fault = self._chosen(place.visible(services.run_log, header), place)
            names = [chosen] if chosen else []
        attempt = self.opened(
            context, services, header, place, is_alone=self.is_alone(context), branches=names
        )
        if isinstance(attempt.opened, AttemptClosed):
            return attempt.opened.branches[0] if self.parameter else None
        if attempt.is_first and is_reused(header, place.identity):
            services.run_log.close(header.run_id, restored(attempt.opened, header, services))
            raise AirflowSkipException(f"not run again: it succeeded in run {header.original_run_id}")
        if fault:
            services.run_log.close(
                header.run_id, attempt.opened.ended(status="FAIL", message=fault, step_message=fault)
            )
            raise AirflowFailException(fault)
        return names[0] if self.parameter else None

    def _chosen(self, seen: Visible, place: StepPlace) -> tuple[str, str]:
        """The branch that a conditional step takes, or why it takes none."""
        known = {**seen.parameters, **dict(place.variables)}
        names = [branch.name for branch in self.branches]
        if self.parameter not in known:
            there = ", ".join(sorted(known)) or "none"
            return (
                "",
                f"there is no parameter {self.parameter!r} to choose a branch by; this run has: {there}",
            )
        text = item_text(known[self.parameter])
        if text in names and text != self.default:
            return text, ""
        if self.default:
            return self.default, ""
        return "", (
            f"parameter {self.parameter!r} is {text!r}, and there is no such branch: there are {', '.join(names)}; "
            "add one, or a default"
        )


class BranchesEnd(CompositeTask):
    """Closes the record of the step when all branches have ended; its state is the step's.

    :param start_task_id: the task that opened the record.
    :param break_on: of a loop: the parameter that ends it; "": none does.
    """

    ui_color = "#e3ecf7"

    def __init__(self, *, start_task_id: str, break_on: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start_task_id = start_task_id
        self.break_on = break_on

    def record(self, context: Any) -> None:
        """Decide how the step went.

        :raises AirflowSkipException: when the step was not reached.
        :raises AirflowFailException: when a branch did not succeed.
        """
        items, index = self.route.items(context), self.index(context)
        tasks = [task_id for branch in self.branches for task_id in branch.tasks.values()]
        ways = [branch.reached.task_id for branch in self.branches if branch.reached]
        states = task_states(context, [self.start_task_id, *tasks, *ways], index)
        started = states.get(self.start_task_id if index is None else f"{self.start_task_id}_{index}")
        if started not in ("success", "failed", "skipped"):
            raise AirflowSkipException("the step was not reached")
        place = self.place.at(items)
        services, header = self.open(context)
        history = services.run_log.graph(header.run_id, place.identity.graph_name, [place.identity.name]).get(
            place.identity.name
        )
        if started == "skipped":
            if history is not None and history.latest.closed is not None and history.latest.closed.mock:
                return
            raise AirflowSkipException("the step was not reached")
        if started == "failed" or history is None:
            services.run_log.reconcile(header.run_id, [(place.identity, history, "FAIL")])
            raise AirflowFailException(_why(history) or f"task {self.start_task_id} failed")
        outcomes = self._outcomes(context, states, items, index)
        faults = self._faults(context, states, index)
        closed = _conclude(self, context, services, header, place, history.latest.opened, outcomes, faults)
        if closed.status == "FAIL":
            raise AirflowFailException(closed.message)

    def _outcomes(
        self, context: Any, states: Mapping[str, str], items: Items, index: int | None
    ) -> list[Outcome]:
        return [
            outcome_of(branch, branch.name, items, statuses_of(branch.tasks, states, index))
            for branch in self.branches
            if branch.reached is None or Route((branch.reached,)).leads(context, states, index)
        ]

    def _faults(self, context: Any, states: Mapping[str, str], index: int | None) -> list[str]:
        """Why tasks between repetitions have failed: the loop has not ended well, though its repetitions have."""
        turns = [branch.reached.task_id for branch in self.branches if branch.reached]
        failed = [t for t in turns if states.get(t if index is None else f"{t}_{index}") == "failed"]
        own = -1 if index is None else index
        said = {t: context["ti"].xcom_pull(task_ids=t, map_indexes=own, key=_WHY) for t in failed}
        return [said[task_id] or f"task {task_id} failed" for task_id in failed]

    def doubt(
        self, services: OpenServices, header: RunHeader, place: StepPlace, closed: AttemptClosed
    ) -> str:
        """What looks like a mistake of a loop that ended well: nothing has set the parameter that it waited for."""
        is_used_up = closed.status == "SUCCESS" and len(closed.branches) == len(self.branches)
        if not (self.break_on and is_used_up) or self.break_on in closed.parameters:
            return ""
        if self.break_on in place.visible(services.run_log, header).parameters:
            return ""
        there = ", ".join(sorted(closed.parameters)) or "none"
        return (
            f"nothing has set the parameter {self.break_on!r} that break_on names, so the loop ran as often as "
            f"max_iterations allows; the steps inside have set: {there}. Return {self.break_on} from one of them, or "
            "correct the name"
        )


def _conclude(
    task: BranchesEnd,
    context: Any,
    services: OpenServices,
    header: RunHeader,
    place: StepPlace,
    opened: AttemptOpened,
    outcomes: Sequence[Outcome],
    faults: Sequence[str] = (),
) -> Any:
    """Bring the records in line with the states of the tasks, then write how the step went."""
    names = [outcome.graph.name for outcome in outcomes]
    graphs = services.run_log.graphs(header.run_id, names)
    index = context["ti"].map_index
    items = task.route.items(context) if index >= 0 else []
    if bring_in_line(services.run_log, header.run_id, outcomes, dict.fromkeys(names, items), graphs):
        graphs = services.run_log.graphs(header.run_id, names)
    conclusion = conclude(place, opened, outcomes, graphs, task.identities(context), faults)
    closed = conclusion.closed
    if doubt := task.doubt(services, header, place, closed):
        message = "\n".join(filter(None, [closed.step_message, doubt]))
        closed = closed.model_copy(update={"step_message": message})
    services.run_log.append_all(header.run_id, conclusion.ends)
    services.run_log.append(header.run_id, closed)
    for line in closed.step_message.splitlines():
        log.warning("%s", line)
    return closed


def _why(history: StepHistory | None) -> str:
    closed = history.latest.closed if history else None
    return closed.message if closed is not None else ""


class LoopTurn(CompositeTask):
    """Stands behind one repetition of a loop: decides whether there is another one.

    :param number: of the repetition, from 0.
    :param break_on: the parameter that ends the loop when it is true; "": none does.
    :param later: tasks of the repetitions behind this one, which do not run when the loop ends.
    """

    ui_color = "#e3ecf7"

    def __init__(self, *, number: int, break_on: str, later: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.number = number
        self.break_on = break_on
        self.later = tuple(later)

    def record(self, context: Any) -> bool:
        """Go on with the next repetition.

        :raises AirflowSkipException: when the repetition was not reached.
        :raises DownstreamTasksSkipped: when the loop ends here.
        :raises AirflowFailException: when the parameter is no boolean.
        """
        items, index = self.route.items(context), self.index(context)
        self.route.check(context)
        branch = self.branches[self.number]
        states = task_states(context, branch.tasks.values(), index)
        outcome = outcome_of(branch, branch.name, items, statuses_of(branch.tasks, states, index))
        if outcome.is_success and not self._has_ended(context, items):
            return True
        context["ti"].xcom_push(key="return_value", value=False)
        log.info("the loop ends after repetition %d", self.number)
        raise DownstreamTasksSkipped(
            tasks=[task_id if index is None else (task_id, index) for task_id in self.later]
        )

    def _has_ended(self, context: Any, items: Items) -> bool:
        if not self.break_on:
            return False
        services, header = self.open(context)
        run_log = services.run_log
        seen = self.place.at(items).visible(run_log, header)
        for branch in self.branches[: self.number + 1]:
            graph = branch.graph.at(items)
            histories = run_log.graph(header.run_id, graph.name, graph.order)
            path = graph.way({name: history.status for name, history in histories.items()})
            seen = visible(seen, path, histories)
        value = seen.parameters.get(self.break_on, False)
        if not isinstance(value, bool):
            fault = f"parameter {self.break_on!r} ends the loop when it is true, and it is {value!r}: set it to true or false"
            context["ti"].xcom_push(key=_WHY, value=fault)
            raise AirflowFailException(fault)
        return value


def chosen_by(start_task_id: str, branch: str) -> Way:
    """The way to a branch of a conditional step."""
    return Way(start_task_id, "success", branch)


def goes_on_after(turn_task_id: str) -> Way:
    """The way to the next repetition of a loop."""
    return Way(turn_task_id, "success", True)
