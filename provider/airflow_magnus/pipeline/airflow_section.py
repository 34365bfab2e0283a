"""The ``airflow`` and ``connections`` sections of a pipeline file: settings of its DAG."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_magnus.pipeline.assets import file_named
from airflow_magnus.pipeline.cursor import Cursor, described, unknown
from airflow_magnus.pipeline.values import check_timezone, check_values, given

CONNECTION_KEYS = ("catalog", "run_log", "secrets")
AIRFLOW_KEYS: Mapping[str, str] = {
    "start_date": "moment",
    "end_date": "moment",
    "catchup": "flag",
    "tags": "texts",
    "owner": "text",
    "owner_links": "text mapping",
    "default_args": "mapping",
    "max_active_runs": "positive",
    "max_active_tasks": "positive",
    "max_consecutive_failed_dag_runs": "count",
    "dagrun_timeout": "duration",
    "doc_md": "any text",
    "description": "any text",
    "dag_display_name": "text",
    "is_paused_upon_creation": "flag",
    "access_control": "mapping",
    "timezone": "timezone",
}
"""Keys of the ``airflow`` section and the kind of their values; ``dag_id`` and ``schedule`` have checks of their own."""

PRESETS = (
    "@once",
    "@continuous",
    "@hourly",
    "@daily",
    "@weekly",
    "@monthly",
    "@quarterly",
    "@yearly",
    "@annually",
    "@midnight",
)
_OWN_CHECKS = ("dag_id", "schedule")
_ASSET_KEYS = ("pipeline", "file")
_SCHEDULE_KEYS = ("assets", "cron", "timezone")
_DAG_ID = re.compile(r"[A-Za-z0-9_.-]{1,250}")
_REFUSED = {
    "fail_fast": "fail_fast cannot be set: a failed step takes its on_failure, which fail_fast would skip; remove it",
    "fail_stop": "fail_stop cannot be set: a failed step takes its on_failure, which fail_stop would skip; remove it",
    "schedule_interval": "write schedule: Airflow 3 has no schedule_interval",
    "params": "write parameters at the top level of the file: they are Airflow's params too",
}
_DEFAULT_ARGS_REFUSED = ("trigger_rule", "retries")


def airflow_settings(section: Cursor) -> dict[str, Any]:
    """Check the ``airflow`` section and give its settings as they stand in the file.

    Null means not given, but ``schedule: null`` is kept: never by time.
    """
    if section.value is None or section.as_mapping() is None:
        return {}
    section.check_keys({*AIRFLOW_KEYS, *_OWN_CHECKS}, refused=_REFUSED)
    check_values(section, AIRFLOW_KEYS)
    if section.at("dag_id").value is not None:
        _check_dag_id(section.at("dag_id"))
    if section.at("schedule").value is not None:
        _check_schedule(section.at("schedule"))
    for key, entry in section.at("default_args").items():
        if key in _DEFAULT_ARGS_REFUSED:
            entry.fault(
                f"{key} cannot be set for all tasks: next, on_failure and retry of the steps decide",
                at_key=True,
            )
    unscheduled = {"schedule": None} if section.has("schedule") else {}
    return unscheduled | given(section, AIRFLOW_KEYS)


def connection_ids(section: Cursor) -> dict[str, str]:
    """Give the connection of each service: ``catalog``, ``run_log``, ``secrets``."""
    if section.value is None or section.as_mapping() is None:
        return {}
    section.check_keys(CONNECTION_KEYS)
    texts = {key: entry.as_text() for key, entry in section.items() if entry.value is not None}
    return {key: text for key, text in texts.items() if text is not None}


def _check_dag_id(entry: Cursor) -> None:
    dag_id = entry.as_text()
    if dag_id is not None and not _DAG_ID.fullmatch(dag_id):
        entry.fault(f'"{dag_id}" is no DAG id: write 1 to 250 of the characters A-Z a-z 0-9 _ . -')


def _check_schedule(entry: Cursor) -> None:
    if not isinstance(entry.value, dict):
        _check_cron(entry)
        return
    entry.check_keys(_SCHEDULE_KEYS)
    if entry.has("assets") == entry.has("cron"):
        if entry.has("cron") or all(entry.lacks(key, _SCHEDULE_KEYS) for key in ("assets", "cron")):
            entry.fault(
                "write either assets: [URI, name or {pipeline: NAME, file: PATH}, …] or cron: TEXT with timezone: NAME",
                at_key=True,
            )
    elif entry.has("assets"):
        _check_assets(entry.at("assets"))
        if entry.has("timezone"):
            entry.at("timezone").fault("timezone belongs to cron; remove it", at_key=True)
    else:
        _check_cron(entry.at("cron"))
        if entry.has("timezone"):
            check_timezone(entry.at("timezone"))


def _check_assets(entry: Cursor) -> None:
    """A list of texts, and of files of pipelines."""
    if not isinstance(entry.value, list):
        entry.as_texts()
        return
    if not entry.value:
        entry.fault("must name at least one asset")
    for item in map(entry.at, range(len(entry.value))):
        if not isinstance(item.value, dict):
            item.as_text()
            continue
        item.check_keys(_ASSET_KEYS)
        for key in _ASSET_KEYS:
            if item.has(key):
                item.at(key).as_text()
            elif item.lacks(key, _ASSET_KEYS):
                item.fault(
                    f"{key} is missing: a file of a pipeline is written {{pipeline: NAME, file: PATH}}"
                )
        file = item.at("file").value
        if isinstance(file, str) and file.strip() and file_named(file) != file:
            item.at("file").fault(
                f'"{file}" is no name of one file: write it as the pipeline puts it, without "*", "?", "[" and "./"'
            )


def _check_cron(entry: Cursor) -> None:
    if not isinstance(entry.value, str):
        allowed = (
            'cron text such as "0 6 * * *", a preset such as "@daily", null, or a mapping with assets or cron'
        )
        entry.fault(f"must be {allowed}, not {described(entry.value)}")
    elif entry.value.startswith("@"):
        if entry.value not in PRESETS:
            entry.fault(unknown("preset", entry.value, PRESETS))
    elif len(entry.value.split()) not in (5, 6):
        entry.fault(
            f'"{entry.value}" is no cron text: write five fields, such as "0 6 * * *", or a preset such as "@daily"'
        )
