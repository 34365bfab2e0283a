"""The ``airflow`` section of a pipeline file and its parameters, as arguments of a DAG."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import Param

from airflow_magnus.operators.run import NEW_PARAMETERS, USE_CACHED
from airflow_magnus.operators.run import TAG as RUN_TAG
from airflow_magnus.pipeline.describe import as_markdown
from airflow_magnus.pipeline.durations import parse_duration
from airflow_magnus.pipeline.model import Parameter, Pipeline

_AS_THEY_ARE = (
    "catchup",
    "max_active_runs",
    "max_active_tasks",
    "max_consecutive_failed_dag_runs",
    "dag_display_name",
    "is_paused_upon_creation",
    "access_control",
    "owner_links",
)
_DURATIONS = ("retry_delay", "execution_timeout", "max_retry_delay")
TAG = "magnus"
"""Every DAG that is made of a pipeline file has this tag."""


def dag_arguments(pipeline: Pipeline) -> dict[str, Any]:
    """Keyword arguments of the DAG of a pipeline, without its id."""
    given = pipeline.airflow
    arguments: dict[str, Any] = {key: given[key] for key in _AS_THEY_ARE if key in given}
    zone = given.get("timezone")
    for key in ("start_date", "end_date"):
        if key in given:
            arguments[key] = _moment(given[key], zone)
    if "dagrun_timeout" in given:
        arguments["dagrun_timeout"] = parse_duration(given["dagrun_timeout"])
    default_args = _with_durations(given.get("default_args") or {})
    if "owner" in given:
        default_args["owner"] = given["owner"]
    return {
        "schedule": _schedule(given.get("schedule"), zone),
        "catchup": False,
        "tags": sorted({TAG, *given.get("tags", ())}),
        "description": given.get("description") or pipeline.graph.description or None,
        **({"dag_display_name": pipeline.graph.name} if pipeline.graph.name else {}),
        # The digest makes a new version of the DAG of every change of the file.
        "doc_md": f"{given.get('doc_md') or as_markdown(pipeline)}\n\n`{pipeline.path.name}` {pipeline.digest[:12]}",
        "default_args": default_args,
        "params": {**_run_params(), **{name: _param(p) for name, p in pipeline.parameters.items()}},
        **arguments,
    }


def _moment(value: Any, zone: str | None) -> datetime.datetime:
    """A date or time of the file; without a zone of its own it is in the file's ``timezone``, else UTC."""
    if isinstance(value, datetime.datetime):
        return value if value.tzinfo else value.replace(tzinfo=pendulum.timezone(zone or "UTC"))
    text = value.isoformat() if isinstance(value, datetime.date) else str(value)
    parsed = pendulum.parse(text, tz=zone or "UTC")
    assert isinstance(parsed, datetime.datetime)
    return parsed


def _schedule(value: Any, zone: str | None) -> Any:
    if not isinstance(value, Mapping):
        if value and zone and not str(value).startswith("@"):
            return _cron(str(value), zone)
        return value
    if "assets" in value:
        return [_asset(given) for given in value["assets"]]
    return _cron(value["cron"], value.get("timezone") or zone or "UTC")


def _asset(given: str | Mapping[str, str]) -> Any:
    """An asset by its URI, by its name, or as a file of a pipeline."""
    from airflow.sdk import Asset

    from airflow_magnus.operators.assets import file_asset

    if isinstance(given, str):
        return Asset(given) if "://" in given else Asset(name=given)
    return file_asset(given["pipeline"], given["file"])


def _cron(text: str, zone: str) -> Any:
    """The timetable that Airflow itself makes of cron text, in a time zone."""
    from airflow.providers.common.compat.sdk import conf
    from airflow.sdk import CronDataIntervalTimetable, CronTriggerTimetable

    has_intervals = conf.getboolean("scheduler", "create_cron_data_intervals", fallback=False)
    return (CronDataIntervalTimetable if has_intervals else CronTriggerTimetable)(text, timezone=zone)


_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    (str, "string"),
    (list, "array"),
    (dict, "object"),
)


def _run_params() -> dict[str, Param]:
    """What the trigger form asks for of every pipeline; a pipeline's own parameter of the same name wins."""
    section = "Magnus"
    return {
        USE_CACHED: Param(
            None,
            description="Re-run of an earlier run: its id in the run log, or Airflow's. What succeeded in it is not run again.",
            type=["null", "string"],
            section=section,
        ),
        NEW_PARAMETERS: Param(
            False,
            description="Of a re-run: parameters that are given with it win over those of the earlier run; what could read a changed "
            "one runs again.",
            type="boolean",
            section=section,
        ),
        RUN_TAG: Param(None, description="Kept in the run log.", type=["null", "string"], section=section),
    }


def _param(parameter: Parameter) -> Param:
    """An Airflow Param, so that the trigger form asks for a value of the right type."""
    schema = dict(parameter.schema)
    if not schema and parameter.default is not None:
        kind = next((name for type_, name in _TYPES if isinstance(parameter.default, type_)), None)
        schema = {"type": kind} if kind else {}
    description = schema.pop("description", None)
    schema.pop("default", None)
    if parameter.has_default:
        return Param(parameter.default, description=description, **schema)
    return Param(description=description, **schema)


def task_arguments(settings: Mapping[str, Any], attempts: int) -> dict[str, Any]:
    """Keyword arguments of one task, from ``executor_config.airflow`` and ``retry`` of its step."""
    return {"retries": attempts - 1, "retry_delay": datetime.timedelta(0), **_with_durations(settings)}


def _with_durations(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of tasks with lengths of time in place of what the file says."""
    return {
        key: parse_duration(value) if key in _DURATIONS and value is not None else value
        for key, value in settings.items()
    }
