"""Which run a task belongs to: its header is claimed by the first task and found again by all others."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from airflow_magnus.errors import RerunRefusedError, RunNotFoundError
from airflow_magnus.hooks.services import OpenServices
from airflow_magnus.operators.rerun import taking_over
from airflow_magnus.pipeline.cursor import nearest
from airflow_magnus.pipeline.identifiers import safe_run_id
from airflow_magnus.runlog.records import RunHeader

log = logging.getLogger(__name__)

RESERVED = "magnus"
"""Key of a run's conf by which the command line tells the run id that it has claimed."""
USE_CACHED = "use_cached"
"""Key of a run's conf that names an earlier run, whose successful steps are not run again."""
NEW_PARAMETERS = "new_parameters"
"""Key of a run's conf: true lets given parameters win over those of the earlier run."""
TAG = "tag"
"""Key of a run's conf that is kept in the run log, unless the pipeline has a parameter of this name."""


@dataclass(frozen=True)
class RunSettings:
    """What every task of a pipeline knows of its run before it starts.

    :param parameters: names of the parameters that the pipeline declares.
    :param defaults: their values where nobody gives others, as in a DAG that does not declare them.
    :param scope: added to the DAG id when several pipelines share one DAG; else "".
    """

    pipeline: str = ""
    dag_hash: str = ""
    definition: Mapping[str, Any] = field(default_factory=dict)
    sub_definitions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    scope: str = ""
    parameters: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)


def header_of(
    settings: RunSettings, services: OpenServices, context: Any, *, is_lenient: bool = False
) -> RunHeader:
    """The header of the run that a task belongs to. Cost: 1 request; of the first task 3 more.

    :param is_lenient: claim the run also when its catalog does not answer, to record what went wrong.
    """
    dag_run = context["dag_run"]
    conf = {
        name: v
        for name, v in (dag_run.conf or {}).items()
        if name not in settings.parameters or name == RESERVED
    }
    reserved = conf.get(RESERVED) or {}
    if reserved.get("run_id"):
        header = services.run_log.header(str(reserved["run_id"]))
    else:

        def completed(candidate: RunHeader) -> RunHeader:
            for doubt in _doubts(conf, settings.parameters):
                log.warning("%s", doubt)
            return complete(conf, services, candidate, is_lenient=is_lenient)

        header = services.run_log.claim_for(_wanted(settings, services, context, conf), completed)
    services.heed(header)
    return header


def complete(
    conf: Mapping[str, Any], services: OpenServices, header: RunHeader, *, is_lenient: bool = False
) -> RunHeader:
    """What is found out only once a run: what the stores can do, and what a re-run takes over.

    :raises RerunRefusedError: when the run that the conf names cannot be taken up.
    """
    header = header.model_copy(
        update={"conditional_writes": services.conditional_writes(is_lenient=is_lenient)}
    )
    services.heed(header)
    earlier = conf.get(USE_CACHED)
    if not earlier:
        return header
    wins = conf.get(NEW_PARAMETERS) is True
    try:
        return taking_over(header, str(earlier), services, new_parameters_win=wins)
    except RunNotFoundError as error:
        # Its tasks fail with this sentence, and what led to it says no more.
        raise RerunRefusedError(
            f"this re-run was refused before it began, and has no run log: {error}"
        ) from None


def _doubts(conf: Mapping[str, Any], declared: Collection[str]) -> Iterator[str]:
    """Keys of a run's conf that are taken for parameters and look like something else that was meant."""
    reserved = {USE_CACHED, NEW_PARAMETERS, TAG}
    for name in conf:
        close = nearest(name, reserved | set(declared), likeness=0.75)
        if close and name not in reserved and name != RESERVED:
            yield f"the run's configuration gives the parameter {name!r}: did you mean {close!r}?"


def _wanted(
    settings: RunSettings, services: OpenServices, context: Any, conf: Mapping[str, Any]
) -> RunHeader:
    dag_run = context["dag_run"]
    parameters = {
        **settings.defaults,
        **{
            name: value
            for name, value in dict(context.get("params") or {}).items()
            if name in settings.parameters or name not in (RESERVED, USE_CACHED, NEW_PARAMETERS, TAG)
        },
    }
    dag_id = f"{dag_run.dag_id}.{settings.scope}" if settings.scope else dag_run.dag_id
    return RunHeader(
        run_id=safe_run_id(f"{dag_id}.{dag_run.run_id}"),
        token=uuid4().hex,
        dag_hash=settings.dag_hash,
        pipeline=settings.pipeline or dag_id,
        tag=str(conf[TAG]) if conf.get(TAG) is not None and TAG not in settings.parameters else None,
        parameters=parameters,
        # The trigger form gives the defaults too: what is left as it was counts as not given.
        given=sorted(
            n for n, v in parameters.items() if n not in settings.defaults or settings.defaults[n] != v
        ),
        run_config=services.run_config,
        scheduler={
            "type": "airflow",
            "dag_id": dag_id,
            "airflow_dag_id": dag_run.dag_id,
            "run_id": dag_run.run_id,
            "run_after": dag_run.run_after.isoformat(),
            "first_start": dag_run.start_date.isoformat() if dag_run.start_date else "",
            "clear_number": getattr(dag_run, "clear_number", 0) or 0,
        },
        definition=dict(settings.definition),
        sub_definitions={name: dict(section) for name, section in settings.sub_definitions.items()},
    )


def scheduler_ids(context: Any) -> dict[str, Any]:
    """Airflow's own names for the attempt, kept with its record."""
    ti = context["ti"]
    return {
        "task_id": ti.task_id,
        "map_index": ti.map_index,
        "try_number": ti.try_number,
        "hostname": getattr(ti, "hostname", None) or _hostname(),
    }


def _hostname() -> str:
    import socket

    return socket.gethostname()
