"""Types that other packages add by entry points; only their names are read, nothing is imported."""

from __future__ import annotations

from importlib.metadata import entry_points

GROUPS = {
    "catalog": "airflow_magnus.catalogs",
    "run_log_store": "airflow_magnus.run_logs",
    "secrets": "airflow_magnus.secrets",
    "command_type": "airflow_magnus.commands",
}
"""What is extended to the group of entry points."""


def extension_types(extended: str) -> frozenset[str]:
    """Give the types that installed packages add to a service or to ``command_type``."""
    group = GROUPS.get(extended)
    return frozenset(point.name for point in entry_points(group=group)) if group else frozenset()
