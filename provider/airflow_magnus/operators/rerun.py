"""Apply the plan of a re-run: find out what is still there, take it over into the new run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from airflow_magnus.errors import RunCollectedError, RunNotFoundError, StoreError
from airflow_magnus.hooks.services import OpenServices
from airflow_magnus.runlog.definition import files_wanted, graph_of
from airflow_magnus.runlog.history import Graphs
from airflow_magnus.runlog.marks import Collection
from airflow_magnus.runlog.records import (
    AttemptClosed,
    AttemptOpened,
    CatalogEntry,
    RunHeader,
    StepIdentity,
)
from airflow_magnus.runlog.rerun import RerunPlan, path_records, plan_rerun

log = logging.getLogger(__name__)


def plan_of_rerun(
    header: RunHeader, wanted: str, services: OpenServices, *, new_parameters_win: bool = False
) -> tuple[RunHeader, RerunPlan]:
    """The earlier run that was asked for, and what a new one takes over from it. Nothing is written.

    :param header: of the new run.
    :param wanted: a run id, Airflow's run id, or ``latest``, ``latest~1`` … of this pipeline.
    :raises RunNotFoundError: when there is no such run, or it still goes on.
    """
    from airflow_magnus.stores.owners import goes_on
    from airflow_magnus.stores.runlogs import LATEST

    if back := LATEST.fullmatch(wanted):
        wanted = services.run_log.latest(int(back[1] or 0), header.pipeline)
    document = services.run_log.find(wanted, header.pipeline)
    earlier = services.run_log.header(document.run_id)
    if earlier.pipeline != header.pipeline:
        raise RunNotFoundError(
            f"run {document.run_id!r} is of pipeline {earlier.pipeline!r}, and this is {header.pipeline!r}: "
            "a re-run takes up a run of the same pipeline"
        )
    if document.status == "PROCESSING" and goes_on(earlier):
        raise RunNotFoundError(f"run {document.run_id!r} still goes on: wait for its end, then run it again")
    graphs = services.run_log.graphs(earlier.run_id)
    mark = services.run_log.marks.collection(earlier.run_id)
    lost = _lost(header, earlier.run_id, graphs, services, mark)
    plan = plan_rerun(earlier, graphs, header, lost=lost, new_parameters_win=new_parameters_win)
    if mark is not None and lost:
        plan = replace(plan, warnings=(mark.told, *plan.warnings))
    return earlier, plan


def taking_over(
    header: RunHeader, wanted: str, services: OpenServices, *, new_parameters_win: bool = False
) -> RunHeader:
    """The header of a re-run of the run ``wanted``.

    :raises RunNotFoundError: as of :func:`plan_of_rerun`.
    """
    earlier, plan = plan_of_rerun(header, wanted, services, new_parameters_win=new_parameters_win)
    for warning in plan.warnings:
        log.warning("%s", warning)
    return header.model_copy(
        update={
            "use_cached": True,
            "original_run_id": earlier.run_id,
            "parameters": dict(plan.parameters),
            "reused": list(plan.reused),
            "shadowed": dict(plan.shadowed),
        }
    )


def _lost(
    header: RunHeader, run_id: str, graphs: Graphs, services: OpenServices, mark: Collection | None
) -> list[str]:
    """Steps of which a file that some step gets is no longer in the catalog, whole.

    :param mark: says that files of the run were removed, or are being: those are lost, whoever gets them.
    """
    from airflow_magnus.stores.globs import matches

    wanted = files_wanted(header)
    lost = []
    for histories in graphs.values():
        for history in histories.values():
            closed = history.latest.closed
            puts = closed.puts() if closed and not (closed.step.is_composite and not closed.mock) else []
            if puts and closed and mark is not None and mark.covers(closed.end_time):
                lost.append(history.internal_name)
                continue
            needed = [entry for entry in puts if any(matches(pattern, entry.name) for pattern in wanted)]
            if needed and not services.catalog.are_whole(services.catalog.located(run_id, needed)):
                lost.append(history.internal_name)
    return lost


def is_reused(header: RunHeader, step: StepIdentity) -> bool:
    """Whether a step is not run again. Those of a map's branch that is taken as one have no tasks to ask this."""
    return step.internal_name in header.reused


def restored(opened: AttemptOpened, header: RunHeader, services: OpenServices) -> AttemptClosed:
    """The record of a step that is not run again: what it had made, its files copied into this run's folder.

    May be done again. Cost: 3 requests, and 1 a file; no byte passes through here.

    :raises StoreError: when a file cannot be copied.
    :raises RunCollectedError: when the earlier run's files were removed as old since this run was planned.
    """
    step = opened.step
    histories = services.run_log.graph(header.original_run_id, step.graph_name, [step.name])
    history = histories.get(step.name)
    closed = history.latest.closed if history else None
    if closed is None:
        raise RunNotFoundError(
            f"run {header.original_run_id!r} has no outcome of step {step.internal_name!r} any more: run without it"
        )
    return taken_from(opened, closed, header.original_run_id, header, services)


def put_earlier(header: RunHeader, step: StepIdentity, services: OpenServices) -> Mapping[str, CatalogEntry]:
    """What a step put in the run that this one runs again, by name. Cost: 3 requests; none of a run that is new."""
    if not header.original_run_id:
        return {}
    history = services.run_log.graph(header.original_run_id, step.graph_name, [step.name]).get(step.name)
    closed = history.latest.closed if history else None
    puts = closed.puts() if closed else []
    return {entry.name: entry for entry in services.catalog.located(header.original_run_id, puts)}


def taken_from(
    opened: AttemptOpened, closed: AttemptClosed, run_id: str, header: RunHeader, services: OpenServices
) -> AttemptClosed:
    """The record of an attempt that has what an attempt of another run has made, its files copied into this run's folder."""
    from airflow_magnus.stores.catalog import kept_at

    there = services.catalog.located(run_id, closed.puts())
    hidden = header.shadowed.get(opened.step.internal_name, [])
    moved: list[CatalogEntry] = []
    for entry in there:
        # Files of the pipeline's own graph take their plain names: nothing else was put yet.
        is_plain = is_reused(header, opened.step) and not opened.step.graph_name and entry.name not in hidden
        new = kept_at(entry, header.run_id, "" if is_plain else opened.attempt_id)
        if _copy(new.catalog_relative_path, entry.catalog_relative_path, services):
            moved.append(new)
        elif (mark := services.run_log.marks.collection(run_id)) and mark.covers(closed.end_time):
            raise RunCollectedError(f"{mark.told}, after this run had begun to use them: start it again")
    return opened.ended(
        status=closed.status,
        mock=True,
        is_attempt=False,
        parameters=closed.parameters,
        metrics=closed.metrics,
        data_catalog=moved,
        branches=closed.branches,
        items=closed.items,
        fingerprint=closed.fingerprint,
    )


def _copy(key: str, source: str, services: OpenServices) -> bool:
    """Copy one file; one that is gone stops nobody: those that steps get were looked at before."""
    try:
        services.catalog.copy({key: source})
    except StoreError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        log.warning("%s is gone from the catalog, and no step gets it: it is not taken over", source)
        return False
    return True


def reused_branches(header: RunHeader, opened: AttemptOpened, services: OpenServices) -> set[str]:
    """Names of the branches of a map that are not run again: those with the item that they had."""
    prefix = f"{opened.step.internal_name}."
    named = {name.removeprefix(prefix) for name in header.reused if name.startswith(prefix)}
    if not named & set(opened.branches):
        return set()
    histories = services.run_log.graph(header.original_run_id, opened.step.graph_name, [opened.step.name])
    before = histories[opened.step.name].latest.opened
    items = dict(zip(before.branches, before.items, strict=False))
    now = dict(zip(opened.branches, opened.items, strict=True))
    return {name for name in named & set(now) if name in items and items[name] == now[name]}


def restore_branch(name: str, header: RunHeader, services: OpenServices) -> None:
    """Take over one branch of a map: a record of each of its steps, and their files."""
    histories = services.run_log.graph(header.original_run_id, name)
    there = services.run_log.graph(header.run_id, name)
    for closed in path_records(graph_of(header, name), histories):
        if closed.step.name in there:
            continue  # an attempt before this one came so far
        opened = AttemptOpened(step=closed.step, number=0, attempt_id=f"restored-{closed.attempt_id}")
        services.run_log.append(
            header.run_id, taken_from(opened, closed, header.original_run_id, header, services)
        )
