"""Which DAGs are pipelines, and which of them a user may read, by Airflow's database and its own checks."""

from __future__ import annotations

import functools
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.serialized_dag import SerializedDagModel
from airflow.utils.session import create_session

from airflow_magnus.hooks.description import Description, read_description

_RUN_ENTITIES = (DagAccessEntity.RUN, DagAccessEntity.TASK_INSTANCE)
_AT_ONCE = 200


@dataclass(frozen=True)
class PipelineOfDag:
    """A pipeline in a DAG.

    :param scoped_dag_id: what the run log calls the DAG.
    """

    dag_id: str
    scoped_dag_id: str
    description: Description


def readable_pipelines(user: Any) -> list[PipelineOfDag]:
    """The pipelines whose runs and tasks a user may read, by DAG id; also of DAGs whose files are gone."""
    manager = get_auth_manager()
    dag_ids = manager.get_authorized_dag_ids(user=user, method="GET")
    described = descriptions(dag_ids)
    return [
        PipelineOfDag(dag_id, one.scoped(dag_id), one)
        for dag_id in sorted(described)
        if _may_read(manager, user, dag_id)
        for one in described[dag_id]
    ]


def may_read(user: Any, dag_id: str) -> bool:
    """Whether a user may read the runs and tasks of a DAG."""
    return _may_read(get_auth_manager(), user, dag_id)


def _may_read(manager: Any, user: Any, dag_id: str) -> bool:
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return all(
        manager.is_authorized_dag(method="GET", access_entity=entity, details=details, user=user)
        for entity in _RUN_ENTITIES
    )


def descriptions(dag_ids: Collection[str]) -> dict[str, tuple[Description, ...]]:
    """What the newest version of each DAG tells of its pipelines; DAGs of others are left out. Cost: 1 query, 1 more for new ones.

    No DAG is built for it: that would take a hundred times as long as to look for the few texts.
    """
    wanted = set(dag_ids)
    versions = {dag_id: version for dag_id, version in _newest_versions().items() if dag_id in wanted}
    known = _known()
    missing = {version: dag_id for dag_id, version in versions.items() if known.get(dag_id, version) is None}
    for version, found in _read(list(missing)).items():
        known.keep(missing[version], version, found)
    told = {dag_id: known.get(dag_id, version) or () for dag_id, version in versions.items()}
    return {dag_id: found for dag_id, found in told.items() if found}


def _newest_versions() -> dict[str, Any]:
    """DAG id → id of its newest serialised form, and when that was written last: a form may be written over."""
    from sqlalchemy import func, select

    newest = (
        select(DagVersion.dag_id, func.max(DagVersion.version_number).label("number"))
        .join(SerializedDagModel, SerializedDagModel.dag_version_id == DagVersion.id)
        .group_by(DagVersion.dag_id)
        .subquery()
    )
    asked = (
        select(DagVersion.dag_id, SerializedDagModel.id, SerializedDagModel.dag_hash)
        .join(SerializedDagModel, SerializedDagModel.dag_version_id == DagVersion.id)
        .join(newest, (newest.c.dag_id == DagVersion.dag_id) & (newest.c.number == DagVersion.version_number))
    )
    with create_session(scoped=False) as session:
        return {dag_id: (form, dag_hash) for dag_id, form, dag_hash in session.execute(asked)}


def _read(versions: list[Any]) -> dict[Any, tuple[Description, ...]]:
    from sqlalchemy import select

    found = {}
    with create_session(scoped=False) as session:
        for start in range(0, len(versions), _AT_ONCE):
            forms = {version[0]: version for version in versions[start : start + _AT_ONCE]}
            asked = select(SerializedDagModel).where(SerializedDagModel.id.in_(forms))
            for row in session.scalars(asked):
                found[forms[row.id]] = _descriptions(row.data or {})
    return found


def _descriptions(data: Mapping[str, Any]) -> tuple[Description, ...]:
    tasks = [task.get("__var", task) for task in data.get("dag", {}).get("tasks", [])]
    texts = [task.get("doc_json") for task in tasks if isinstance(task, dict)]
    return tuple(read for text in texts if text and (read := read_description(text)) is not None)


class _Known:
    """Descriptions that were read, one version of each DAG."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[Any, tuple[Description, ...]]] = {}
        self._lock = threading.Lock()

    def get(self, dag_id: str, version: Any) -> tuple[Description, ...] | None:
        """What that version tells; None when it was not read."""
        there = self._found.get(dag_id)
        return there[1] if there is not None and there[0] == version else None

    def keep(self, dag_id: str, version: Any, found: tuple[Description, ...]) -> None:
        """Remember it instead of what an earlier version told."""
        with self._lock:
            self._found[dag_id] = version, found


@functools.cache
def _known() -> _Known:
    return _Known()
