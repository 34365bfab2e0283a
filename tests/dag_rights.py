"""An auth manager for tests: Airflow's simple one, where one user has no right on any DAG whose id begins with ``private``."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

WITHOUT = "nora"
"""Who may edit all DAGs but those."""


class DagRights(SimpleAuthManager):
    """Rights by DAG, as other auth managers have them."""

    def is_authorized_dag(self, *, user: Any, details: Any = None, **kwargs: Any) -> bool:
        """Whether a user may do something with a DAG, or, without details, with any at all."""
        if user.username == WITHOUT and details is not None and (details.id or "").startswith("private"):
            return False
        return bool(super().is_authorized_dag(user=user, details=details, **kwargs))
