"""The buttons on a task's page: to the run log, to the run's files in Jupyter, and to the re-run of a run that failed."""

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


class JupyterLink(BaseOperatorLink):
    """Leads to the run's files, of a notebook step to its executed copy, in the Jupyter that ``[magnus] jupyter_url`` names."""

    name = "Open in Jupyter"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The link, made when the task ends; "" when the step opened no run log."""
        place = getattr(operator, "magnus_run_place", ())
        url = jupyter_url()
        if not place or not url:
            return ""
        notebook = getattr(operator, "magnus_notebook", "")
        path = "/".join(quote(name, safe="") for name in (*place, *notebook.split("/")) if name)
        return url.replace("{path}", path) if "{path}" in url else f"{url}/lab/tree/runs/{path}"


def jupyter_url() -> str:
    """What the setting says, without a slash at its end; "" when it is not set."""
    return str(conf.get("magnus", "jupyter_url", fallback="")).rstrip("/")


def links_of_steps() -> tuple[BaseOperatorLink, ...]:
    """The buttons of every step. Airflow stores each of them for each task that ends, so that none is there in vain."""
    return (RunLogLink(), JupyterLink()) if jupyter_url() else (RunLogLink(),)


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
