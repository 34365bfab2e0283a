"""Who may do what, by Airflow's own checks. What is not its public API: here, ``dag_runs``, ``pipeline_dags``.

A sub-application of Airflow's API server has no sign-in of its own: every route names one of these.

No other site may start anything. The cookie of the session is ``SameSite=Lax``, so a browser sends it with no form of
another site. That leaves other applications of the same site (another port, another subdomain): a browser says where a
request comes from (``Sec-Fetch-Site``), and every form carries a signature that only our page, shown to that user for
that run, has. The header ``Origin`` is not compared: behind a proxy the server does not know its own name for sure.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.auth.tokens import get_signing_key
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.api_fastapi.logging.decorators import action_logging
from airflow.models.dag import DagModel
from fastapi import Depends, HTTPException, Request

from airflow_magnus.ui.pipeline_dags import may_read

User = GetUserDep
"""Annotation of a route's argument: who is signed in."""


def own_forms_only(request: Request) -> None:
    """Refuse what a page of another origin has sent, where the browser says so."""
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise HTTPException(403, "this was sent by a page of another origin: start from Airflow's own page")


_starts_runs = requires_access_dag(method="POST", access_entity=DagAccessEntity.RUN)

READS_RUN = [
    Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.RUN)),
    Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.TASK_INSTANCE)),
]
"""Of a route with ``dag_id`` in its path: the user may see that DAG's runs and tasks."""
STARTS_RUN = [
    Depends(own_forms_only),
    *READS_RUN,
    Depends(_starts_runs),
    Depends(action_logging(event="trigger_dag_run")),
]
"""The same of a route that starts a run; it is written into Airflow's audit log."""


def may_start_run(request: Request, user: Any) -> bool:
    """Whether the user may start a run of the DAG that the request's path names."""
    try:
        _starts_runs(request, user)
    except HTTPException:
        return False
    return True


def may_read_runs_of(user: Any, dag_id: str) -> bool:
    """Whether the user may see the runs and tasks of a DAG, whichever the request's path names."""
    return may_read(user, dag_id)


def may_start_runs_of(user: Any, dag_id: str) -> bool:
    """Whether the user may start a run of a DAG, whichever the request's path names."""
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return bool(
        get_auth_manager().is_authorized_dag(
            method="POST", access_entity=DagAccessEntity.RUN, details=details, user=user
        )
    )


def signature(user: Any, *about: str) -> str:
    """What a form carries to show that our page, shown to this user, has sent it.

    :param about: what the form is about.
    """
    text = "\0".join(["magnus form", str(user.get_id()), *about])
    return hmac.new(_key(), text.encode(), hashlib.sha256).hexdigest()


def is_signature(given: str, user: Any, *about: str) -> bool:
    """Whether a form was given to this user, about this."""
    return hmac.compare_digest(given.encode(), signature(user, *about).encode())


@functools.cache
def _key() -> bytes:
    return str(get_signing_key("api", "secret_key")).encode()
