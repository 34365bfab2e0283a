"""What a pipeline's DAG tells of its run log and catalog in Airflow's database.

Our pages run in the API server, which has no pipeline files. They open only stores that the server itself can trust:
connections, the folders below AIRFLOW_HOME, and what this module lets a DAG say: its ``fail`` task carries it as
``doc_json``, which the DAG processor alone writes. Nothing of it may come from a request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow_magnus.hooks.services import CONNECTIONS, ServiceSources
from airflow_magnus.pipeline.model import ServiceSettings
from airflow_magnus.pipeline.service_types import SERVICE_TYPES

_KEY = "magnus"


@dataclass(frozen=True)
class Description:
    """What is known of a pipeline without its files.

    :param scope: as of ``RunSettings``.
    :param pipeline: its name.
    :param outline: its steps, as of ``runlog.outline``.
    :param withheld: services whose settings are not told, each with the reason.
    """

    sources: ServiceSources = field(default_factory=ServiceSources)
    dag_hash: str = ""
    scope: str = ""
    withheld: Mapping[str, str] = field(default_factory=dict)
    pipeline: str = ""
    outline: Mapping[str, Any] = field(default_factory=dict)

    def scoped(self, dag_id: str) -> str:
        """What the run log calls the DAG."""
        return f"{dag_id}.{self.scope}" if self.scope else dag_id


def describe(
    sources: ServiceSources,
    *,
    dag_hash: str = "",
    scope: str = "",
    pipeline: str = "",
    outline: Mapping[str, Any] | None = None,
) -> str:
    """The description of a pipeline as JSON, without anything secret."""
    settings: dict[str, Any] = {}
    withheld: dict[str, str] = {}
    for service in CONNECTIONS:
        given = sources.settings.get(service)
        if given is not None and (reason := _why_withheld(service, given)):
            withheld[service] = reason
        elif given is not None:
            settings[service] = {"type": given.type, "config": dict(given.config)}
    told = {
        "settings": settings,
        "connections": dict(sources.connections),
        "folder": str(sources.folder) if settings and sources.folder else None,
        "withheld": withheld,
        "dag_hash": dag_hash,
        "scope": scope,
        "pipeline": pipeline,
        "outline": outline,
    }
    return json.dumps({_KEY: {key: value for key, value in told.items() if value}}, default=str)


def read_description(text: str | None) -> Description | None:
    """The description that :func:`describe` has written; None when ``text`` is something else."""
    try:
        told = json.loads(text or "")[_KEY]
        settings = {
            service: ServiceSettings(str(given["type"]), dict(given["config"]))
            for service, given in told.get("settings", {}).items()
        }
        folder = told.get("folder")
        sources = ServiceSources(
            settings, dict(told.get("connections", {})), Path(folder) if folder else None
        )
        return Description(
            sources=sources,
            dag_hash=told.get("dag_hash", ""),
            scope=told.get("scope", ""),
            withheld=told.get("withheld", {}),
            pipeline=told.get("pipeline", ""),
            outline=dict(told.get("outline", {})),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _why_withheld(service: str, given: ServiceSettings) -> str:
    """Why the settings of a file are not put into Airflow's database; "" when they may be."""
    if given.type not in SERVICE_TYPES[service]:
        return f"the settings of a store of type {given.type!r}, which another package gives, may be secret"
    if "connection_string" in given.config and _has_password(str(given.config["connection_string"])):
        return "the connection string in the file has a password"
    return ""


def _has_password(connection_string: str) -> bool:
    try:
        url = urlsplit(connection_string)
        password = url.password
    except ValueError:
        return True
    is_placeholder = (password or "").startswith("${") and (password or "").endswith("}")
    return bool(password and not is_placeholder) or "password" in url.query.lower()
