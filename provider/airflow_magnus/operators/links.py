"""The buttons on a task's page: to the run log, and to the re-run of a run that failed."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode, urlsplit

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


class RerunLink(BaseOperatorLink):
    """Leads from the ``fail`` task of a run that failed to the page that shows what a re-run would do.

    What it says of the run is no more than a hint: the page finds the stores by itself.
    """

    name = "Re-run from failure"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The link, made when the task ends; "" when the run succeeded, or its run log could not be opened."""
        magnus_run_id = getattr(operator, "magnus_run_id", "")
        if not magnus_run_id:
            return ""
        root = urlsplit(str(conf.get("api", "base_url", fallback="") or "")).path.rstrip("/")
        path = f"{quote(ti_key.dag_id, safe='')}/{quote(ti_key.run_id, safe='')}"
        return f"{root}/magnus/rerun/{path}?{urlencode({'run': magnus_run_id})}"
