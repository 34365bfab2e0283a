"""What the pages ask of Airflow's own database, and the start of a DAG run."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow.api_fastapi.common.dagbag import create_dag_bag
from airflow.api_fastapi.core_api.datamodels.dag_run import TriggerDAGRunPostBody
from airflow.api_fastapi.core_api.routes.public.dag_run import trigger_dag_run
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from fastapi import Request

from airflow_magnus.hooks.description import Description, read_description
from airflow_magnus.ui.responses import PageError

_UNFINISHED = ("queued", "running")
_MOST_UNFINISHED = 200


@dataclass(frozen=True)
class DagFacts:
    """A DAG as Airflow knows it now, of a pipeline file or not.

    :param schedule: for people; "" where nothing starts it by itself.
    :param is_gone: its file was removed, or cannot be read any more; its runs may still be looked at.
    :param pipelines: the pipelines in it; none in a DAG that is not of this package.
    :param defaults: of its params; None where there is none.
    :param faults: of its pipeline file, which is refused for them.
    """

    dag_id: str
    title: str
    about: str
    schedule: str
    is_paused: bool
    is_gone: bool
    pipelines: tuple[Description, ...]
    defaults: Mapping[str, Any]
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class AirflowRun:
    """A DAG run as Airflow knows it."""

    dag_id: str
    run_id: str
    state: str
    started: datetime | None
    ended: datetime | None


@dataclass(frozen=True)
class DagRunFacts:
    """A DAG run and its DAG, as Airflow knows them now.

    :param description: of the pipeline in the DAG's latest version, which is the one that a new run takes.
    :param defaults: of the DAG's params; None where there is none.
    :param unfinished: conf of the DAG's runs that go on now: run id → conf.
    """

    dag_id: str
    run_id: str
    title: str
    state: str
    started: datetime | None
    ended: datetime | None
    is_paused: bool
    description: Description
    defaults: Mapping[str, Any]
    unfinished: Mapping[str, Mapping[str, Any]]

    @property
    def scoped_dag_id(self) -> str:
        """What the run log calls the DAG."""
        return self.description.scoped(self.dag_id)


def dag_facts(dag_id: str) -> DagFacts:
    """What there is to know of a DAG.

    :raises PageError: when there is no such DAG.
    """
    from sqlalchemy import select

    with create_session(scoped=False) as session:
        model = session.scalar(select(DagModel).where(DagModel.dag_id == dag_id))
        if model is None:
            raise PageError(
                404,
                f"There is no DAG {dag_id}",
                "Look whether its file is in a DAG bundle and has no import error.",
            )
        dag = _dag_bag().get_latest_version_of_dag(dag_id, session=session)
        return DagFacts(
            dag_id=dag_id,
            title=model.dag_display_name or dag_id,
            about=model.description or "",
            schedule=model.timetable_description or model.timetable_summary or "",
            is_paused=bool(model.is_paused),
            is_gone=bool(model.is_stale) or dag is None,
            pipelines=() if dag is None else tuple(_descriptions(dag)),
            defaults={} if dag is None else dict(dag.params.dump()),
            faults=() if dag is None else tuple(_faults(dag)),
        )


def airflow_runs(dag_id: str, run_id: str = "", *, most: int = 1) -> list[AirflowRun]:
    """DAG runs of a DAG, the newest first.

    :param run_id: this one alone.
    """
    from sqlalchemy import select

    asked = select(DagRun).where(DagRun.dag_id == dag_id)
    if run_id:
        asked = asked.where(DagRun.run_id == run_id)
    with create_session(scoped=False) as session:
        found = session.scalars(asked.order_by(DagRun.run_after.desc(), DagRun.id.desc()).limit(most))
        return [AirflowRun(dag_id, r.run_id, str(r.state), r.start_date, r.end_date) for r in found]


def dag_run_facts(dag_id: str, run_id: str) -> DagRunFacts:
    """What there is to know of a DAG run.

    :raises PageError: when there is no such run or DAG, or the DAG is not made of one pipeline file.
    """
    from sqlalchemy import select

    with create_session(scoped=False) as session:
        run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        if run is None:
            raise PageError(
                404,
                f"There is no run {run_id} of the DAG {dag_id}",
                "It may have been deleted. Choose another run of the DAG.",
            )
        model = session.scalar(select(DagModel).where(DagModel.dag_id == dag_id))
        dag = _dag_bag().get_latest_version_of_dag(dag_id, session=session)
        if model is None or model.is_stale or dag is None:
            raise PageError(
                409,
                f"The DAG {dag_id} is gone",
                "Its file was removed, renamed or cannot be read any more. "
                "Put it back, wait until Airflow shows the DAG again, and reload this page.",
            )
        going_on = session.execute(
            select(DagRun.run_id, DagRun.conf)
            .where(DagRun.dag_id == dag_id, DagRun.state.in_(_UNFINISHED))
            .limit(_MOST_UNFINISHED)
        )
        return DagRunFacts(
            dag_id=dag_id,
            run_id=run_id,
            title=model.dag_display_name or dag_id,
            state=str(run.state),
            started=run.start_date,
            ended=run.end_date,
            is_paused=bool(model.is_paused),
            description=_description(dag),
            defaults=dict(dag.params.dump()),
            unfinished={name: conf or {} for name, conf in going_on},
        )


def has_failed(dag_id: str, run_id: str) -> bool:
    """Whether a DAG run has ended as failed."""
    from sqlalchemy import select

    with create_session(scoped=False) as session:
        state = session.scalar(select(DagRun.state).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    return str(state) == "failed"


def start_run(dag_id: str, conf: Mapping[str, Any], note: str, user: Any, request: Request) -> str:
    """Start a DAG run by Airflow's own route, with all its checks; gives the new run's id.

    :raises HTTPException: when Airflow refuses.
    """
    body = TriggerDAGRunPostBody(logical_date=None, conf=dict(conf), note=note)
    with create_session(scoped=False) as session:
        run = trigger_dag_run(
            dag_id=dag_id, body=body, dag_bag=_dag_bag(), user=user, session=session, request=request
        )
        return str(run.run_id)


def _description(dag: Any) -> Description:
    found = _descriptions(dag)
    if len(found) == 1:
        return found[0]
    if found:
        raise PageError(
            409,
            f"The DAG {dag.dag_id} holds {len(found)} pipelines",
            "A re-run takes up one earlier run, and would take up the same one for each of them. "
            "Clear the failed tasks instead, or start a run by hand.",
        )
    raise PageError(
        409,
        f"The DAG {dag.dag_id} is not made of a pipeline file",
        "Only the run of a pipeline file can be taken up. Clear the failed tasks instead. "
        "If it is one, an earlier version of this package made the DAG: wait until Airflow has read its file again.",
    )


def _descriptions(dag: Any) -> list[Description]:
    return [read for task in dag.tasks if (read := read_description(getattr(task, "doc_json", None)))]


def _faults(dag: Any) -> Iterator[str]:
    """What is wrong with the pipeline file of a DAG that stands for one that is refused."""
    for task in dag.tasks:
        if task.task_type == "FileFault":
            yield str(getattr(task, "fault", ""))


@functools.cache
def _dag_bag() -> Any:
    return create_dag_bag()
