"""The button on a task's page that leads to the run log."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import BaseOperatorLink, conf


class RunLogLink(BaseOperatorLink):
    """Leads where ``[magnus] run_log_url`` says, else to the page of the DAG run.

    The setting is a URL with ``{run_id}`` (the run log's), ``{dag_id}`` and ``{airflow_run_id}``, for example of a
    bucket's browser.
    """

    name = "Run log"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The link, made when the task ends."""
        dag_id, airflow_run_id = quote(ti_key.dag_id, safe=""), quote(ti_key.run_id, safe="")
        template = conf.get("magnus", "run_log_url", fallback="")
        if not template:
            return f"/dags/{dag_id}/runs/{airflow_run_id}"
        run_id = quote(getattr(operator, "magnus_run_id", ""), safe="")
        return str(template.format(run_id=run_id, dag_id=dag_id, airflow_run_id=airflow_run_id))
