"""The settings of one step: what it takes from the catalog, how its executor runs it, how its command is run."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping
from typing import Any

from airflow_magnus.pipeline import notebooks
from airflow_magnus.pipeline.cursor import Cursor, described, unknown
from airflow_magnus.pipeline.extensions import extension_types
from airflow_magnus.pipeline.grammar import AIRFLOW_STEP_KEYS, AIRFLOW_STEP_REFUSED, COMMAND_TYPES
from airflow_magnus.pipeline.model import CatalogRequest
from airflow_magnus.pipeline.mounts import CATALOG_MOUNT_KEYS
from airflow_magnus.pipeline.service_types import CONTAINER_KEYS, EXECUTOR_TYPES
from airflow_magnus.pipeline.values import check_folder, check_pattern, check_values

_CATALOG_KEYS = ("compute_data_folder", "get", "put", *CATALOG_MOUNT_KEYS)
_DOTTED_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


def catalog_request(section: Cursor) -> CatalogRequest:
    """Read the ``catalog`` of a step; null, there or below, means nothing."""
    if section.value is None or section.as_mapping() is None:
        return CatalogRequest()
    section.check_keys(_CATALOG_KEYS)
    folder = section.at("compute_data_folder")
    if folder.value is not None:
        check_folder(folder)
    return CatalogRequest(folder.value, get=_patterns(section.at("get")), put=_patterns(section.at("put")))


def _patterns(section: Cursor) -> tuple[str, ...]:
    if section.value is None:
        return ()
    patterns = section.as_texts()
    for index in range(len(section.value)) if isinstance(section.value, list) else ():
        check_pattern(section.at(index))
    return patterns or ()


def executor_settings(step: Cursor, *, with_mode_config: bool = True) -> dict[str, dict[str, Any]]:
    """Read ``executor_config`` (executor type → mapping); the older ``mode_config`` counts as that of ``local``, and of containers."""
    settings: dict[str, dict[str, Any]] = {}
    older = step.at("mode_config")
    if with_mode_config and older.value is not None and older.as_mapping() is not None and older.is_json():
        settings["local"] = dict(older.value)
        settings |= _for_containers(older)
    section = step.at("executor_config")
    if section.value is None or section.as_mapping() is None:
        return settings
    section.check_keys(EXECUTOR_TYPES)
    for executor, entry in section.items():
        if entry.value is None or entry.as_mapping() is None or not entry.is_json():
            continue
        if executor == "airflow":
            entry.check_keys(AIRFLOW_STEP_KEYS, refused=AIRFLOW_STEP_REFUSED)
            check_values(entry, AIRFLOW_STEP_KEYS)
        elif executor in CONTAINER_KEYS:
            entry.check_keys(CONTAINER_KEYS[executor])
            check_values(entry, CONTAINER_KEYS[executor])
        elif executor == "local" and entry.at("optional_docker_args").value is not None:
            entry.at("optional_docker_args").as_mapping()
        settings[executor] = {**settings.get(executor, {}), **entry.value}
    return settings


def _for_containers(older: Cursor) -> dict[str, dict[str, Any]]:
    """What a ``mode_config`` says to the executors that use containers; it does not tell for which one it was written."""
    settings: dict[str, dict[str, Any]] = {}
    for executor, keys in CONTAINER_KEYS.items():
        check_values(older, keys)
        known = {key: value for key, value in older.value.items() if key in keys}
        if known:
            settings[executor] = known
    return settings


def is_cached(step: Cursor) -> bool:
    """Read the ``cache`` of a task: true or false, not as text."""
    entry = step.at("cache")
    if step.has("cache") and not isinstance(entry.value, bool):
        entry.fault(f"must be true or false, not {described(entry.value)}")
    return entry.value is True


def command_type(step: Cursor) -> str | None:
    """Read the ``command_type`` of a step, default ``python``; None when it is not a known one."""
    entry = step.at("command_type")
    if entry.value is None:
        return "python"
    name = entry.as_text()
    if name is None or name in COMMAND_TYPES:
        return name
    added = extension_types("command_type")
    if name in added:
        return name
    entry.fault(unknown("command type", name, {*COMMAND_TYPES, *added}))
    return None


def command_settings(section: Cursor, kind: str) -> dict[str, Any]:
    """Read the ``command_config`` of a task whose command type is ``kind``."""
    if (
        section.value is not None
        and section.as_mapping() is not None
        and section.is_json()
        and kind in COMMAND_TYPES
    ):
        section.check_keys(COMMAND_TYPES[kind])
        check_values(section, COMMAND_TYPES[kind])
    if kind == "container" and not (isinstance(section.value, dict) and section.value.get("image")):
        section.fault("a container step needs command_config: {image: …}, the image to run", at_key=True)
    return dict(section.value) if isinstance(section.value, dict) else {}


def command_text(step: Cursor, kind: str, settings: Mapping[str, Any]) -> str:
    """Read the ``command`` of a task; that of a container may stand in its ``command_config``."""
    entry = step.at("command")
    if not step.has("command"):
        return str(settings.get("command", "")) if kind == "container" else ""
    command = entry.as_text()
    if command is None:
        return ""
    if kind == "notebook" and (fault := notebooks.fault_of(command)):
        entry.fault(fault)
    elif kind == "python" and not _DOTTED_NAME.fullmatch(command.strip()):
        entry.warn(f'"{command}" is not a dotted name like package.module.function: the step will fail')
    elif kind == "python-lambda" and (reason := _lambda_fault(command)):
        entry.warn(f"the command is no lambda expression, so the step will fail: {reason}")
    elif kind == "container" and settings.get("command", command) != command:
        entry.fault("command and command_config.command differ; write one of them")
    return command


def _lambda_fault(source: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return str(error)
    return "" if isinstance(tree.body, ast.Lambda) else "it is another expression"
