"""The buttons on a task's page: to the run log, to the data, to the run's folder in the catalog, to Jupyter and to a re-run.

Airflow has two ways to make one. A link of an operator's class is made by the task when it ends, at the cost of an XCom, and a
task that was killed has none. A link that a plugin brings for operators it names is made by the API server when the page
is opened. So ours are brought by the plugin (``ui/task_links.py``), but for those that only the task knows, and those of
operators that other packages make with ``StepMixin``, which a plugin cannot name.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

from airflow.providers.common.compat.sdk import BaseOperatorLink, conf

RUN_LOG_TAB = "magnus-run-log"
"""Where Airflow's UI shows the tab *Run log* of a DAG run."""
DATA_TAB = "magnus-data"
"""Where it shows the tab *Data* of a task instance."""


class RunLogLink(BaseOperatorLink):
    """Leads to the tab *Run log* of the DAG run, or where ``[magnus] run_log_url`` says.

    The setting is a URL with ``{run_id}`` (the run log's), ``{dag_id}`` and ``{airflow_run_id}``, for example of a
    bucket's browser.
    """

    name = "Run log"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The link; with the setting it needs the operator as its task leaves it."""
        dag_id, airflow_run_id = quote(ti_key.dag_id, safe=""), quote(ti_key.run_id, safe="")
        template = run_log_url()
        if not template:
            return f"{airflow_path()}/dags/{dag_id}/runs/{airflow_run_id}/plugin/{RUN_LOG_TAB}"
        run_id = quote(getattr(operator, "magnus_run_id", ""), safe="")
        return str(template.format(run_id=run_id, dag_id=dag_id, airflow_run_id=airflow_run_id))


class DataLink(BaseOperatorLink):
    """Leads to the tab *Data* of the task instance."""

    name = "Data"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The link."""
        names = (quote(name, safe="") for name in (ti_key.dag_id, ti_key.run_id, ti_key.task_id))
        path = "/dags/{}/runs/{}/tasks/{}".format(*names)
        item = f"/mapped/{ti_key.map_index}" if ti_key.map_index >= 0 else ""
        return f"{airflow_path()}{path}{item}/plugin/{DATA_TAB}"


class CatalogLink(BaseOperatorLink):
    """Leads to the page that says where the run's files lie, and on to the bucket's browser where there is one.

    Airflow's UI follows links of ``http`` and ``https`` alone, so ``s3://…`` cannot be one.
    """

    name = "Catalog folder"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The link."""
        return page_path("catalog", ti_key.dag_id, ti_key.run_id)


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


def run_log_url() -> str:
    """What the setting says; "" when it is not set."""
    return str(conf.get("magnus", "run_log_url", fallback=""))


def page_path(page: str, *names: str) -> str:
    """Path of one of our pages at the server, below Airflow's own path.

    :param names: the parts of the path behind the page's name.
    """
    return "/".join([f"{airflow_path()}/magnus/{page}", *(quote(name, safe="") for name in names)])


def airflow_path() -> str:
    """The path that Airflow's UI is served at, as ``[api] base_url`` says; "" for ``/``."""
    return urlsplit(_base_url()).path.rstrip("/")


def airflow_url() -> str:
    """What stands in front of that path where a link is read outside the UI; "" when ``[api] base_url`` is not set."""
    url = urlsplit(_base_url())
    return f"{url.scheme}://{url.netloc}" if url.netloc else ""


def _base_url() -> str:
    return str(conf.get("api", "base_url", fallback="") or "")


def links_of_steps(*, by_plugin: bool) -> tuple[BaseOperatorLink, ...]:
    """The buttons of a step that its task makes when it ends. Each costs every task an XCom: none is there in vain.

    :param by_plugin: whether the plugin names the step's operator.
    """
    made: list[BaseOperatorLink] = []
    if run_log_url() or not by_plugin:
        made.append(RunLogLink())
    if not by_plugin:
        made += [DataLink(), CatalogLink()]
    if jupyter_url():
        made.append(JupyterLink())
    return tuple(made)
