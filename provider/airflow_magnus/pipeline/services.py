"""The services that files ask for, and which file wins. Source: spec 2.1, contract 4."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from airflow_magnus.errors import PipelineError
from airflow_magnus.pipeline.cursor import Cursor, Report, described, unknown
from airflow_magnus.pipeline.extensions import extension_types
from airflow_magnus.pipeline.model import ServiceSettings
from airflow_magnus.pipeline.service_types import REPLACED, SERVICE_TYPES, ServiceType
from airflow_magnus.pipeline.text import read_document
from airflow_magnus.pipeline.values import check_values, given
from airflow_magnus.pipeline.variables import substituted

logger = logging.getLogger(__name__)

DEFAULTS_FILE = "magnus-config.yaml"
"""The file whose ``defaults`` are used for services that no other file names."""
SERVICE_KEYS = ("mode", *SERVICE_TYPES)
"""The sections of services; ``mode`` is the older name of ``executor``."""
MISTAKES = {"run_log": "write run_log_store: run_log is never read"}


def resolve_services(
    config_file: Path | None,
    pipeline_services: Mapping[str, ServiceSettings],
    folder: Path,
    variables: Mapping[str, str],
) -> Mapping[str, ServiceSettings]:
    """Give each service as the first file names it that names it at all; it is used whole.

    :param config_file: of the command line; wins over all.
    :param pipeline_services: of the pipeline file.
    :param folder: where :data:`DEFAULTS_FILE` is looked for; it may be missing.
    :param variables: substituted in both files.
    :returns: ``executor``, ``run_log_store``, ``catalog``, ``secrets``; one that no file names is missing.
    :raises PipelineError: with every fault of both files.
    """
    report = Report()
    named: dict[str, ServiceSettings] = {}
    if (folder / DEFAULTS_FILE).exists():
        named.update(_of_defaults(folder / DEFAULTS_FILE, variables, report))
    named.update(pipeline_services)
    if config_file is not None:
        named.update(_of_config(config_file, variables, report))
    for warning in report.warnings:
        logger.warning("%s", warning)
    if report.faults:
        raise PipelineError(report.faults)
    return named


def _opened(file: Path, variables: Mapping[str, str], report: Report) -> Cursor | None:
    try:
        document = substituted(read_document(file), variables)
    except PipelineError as error:
        for fault in error.faults:
            report.add(fault)
        return None
    top = Cursor(document, report, document.value)
    return top if document.value is not None and top.as_mapping() is not None else None


def _of_config(file: Path, variables: Mapping[str, str], report: Report) -> dict[str, ServiceSettings]:
    top = _opened(file, variables, report)
    if top is None:
        return {}
    top.check_keys(SERVICE_KEYS, refused=MISTAKES, ignored=anchors(top))
    return read_services(top)


def _of_defaults(file: Path, variables: Mapping[str, str], report: Report) -> dict[str, ServiceSettings]:
    top = _opened(file, variables, report)
    if top is None:
        return {}
    top.check_keys(("defaults", "extensions"), ignored=anchors(top))
    if top.has("extensions"):
        message = "extensions are not imported: packages add services by entry points; install the package, remove this"
        top.at("extensions").warn(message, at_key=True)
    defaults = top.at("defaults")
    if defaults.value is None or defaults.as_mapping() is None:
        return {}
    defaults.check_keys(SERVICE_KEYS, refused=MISTAKES)
    return read_services(defaults)


def anchors(top: Cursor) -> set[str]:
    """Give the top-level keys that only hold YAML anchors: those that begin with ``x-`` or a dot."""
    return {key for key, _ in top.items() if key.startswith(("x-", "."))}


def read_services(section: Cursor) -> dict[str, ServiceSettings]:
    """Give the services that a mapping names, reporting every fault; one that is empty counts as not named."""
    named: dict[str, ServiceSettings] = {}
    for key in SERVICE_KEYS:
        entry = section.at(key)
        if entry.value is None or entry.value == {}:
            continue
        service = "executor" if key == "mode" else key
        settings = _service(entry, service)
        if settings is None:
            continue
        if named.get(service, settings) != settings:
            entry.fault("mode and executor name different executors; write one of them", at_key=True)
        named[service] = settings
    named.pop("experiment_tracker", None)
    return named


def _service(entry: Cursor, service: str) -> ServiceSettings | None:
    if entry.as_mapping() is None:
        return None
    entry.check_keys(("type", "config"))
    if not entry.has("type"):
        if entry.lacks("type", ("type", "config")):
            entry.fault(f"needs a type; allowed: {', '.join(SERVICE_TYPES[service])}", at_key=True)
        return None
    kind = entry.at("type").as_text()
    service_type = _service_type(entry.at("type"), service, kind) if kind is not None else None
    if kind is None or service_type is None:
        return None
    config = entry.at("config")
    if config.value is not None and (config.as_mapping() is None or not config.is_json()):
        return None
    _check_config(entry, service_type, f"{service} of type {kind}")
    return ServiceSettings(kind, given(config, service_type.keys or {}))


def _service_type(entry: Cursor, service: str, kind: str) -> ServiceType | None:
    known = SERVICE_TYPES[service]
    if kind in known:
        return known[kind]
    if kind in REPLACED.get(service, {}):
        entry.fault(f'"{kind}" {REPLACED[service][kind]}')
        return None
    added = extension_types(service)
    if kind in added:
        return ServiceType(None)
    message = unknown(f"type of {service}", kind, {*known, *added})
    if service == "experiment_tracker":
        message = f"an experiment tracker of type {described(kind)} is not supported: write do-nothing"
    entry.fault(message)
    return None


def _check_config(entry: Cursor, service_type: ServiceType, what: str) -> None:
    config = entry.at("config")
    if service_type.keys is None:
        return
    config.check_keys(service_type.keys)
    check_values(config, service_type.keys)
    for group in service_type.required:
        if all(not config.at(key).value and config.lacks(key, service_type.keys) for key in group):
            place = config if config.value is not None else entry
            place.fault(f"{what} needs {' or '.join(group)}", at_key=True)
