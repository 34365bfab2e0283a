"""The plugin that mounts our pages. Every process of Airflow imports it, so the pages are loaded by the first request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_magnus.ui.task_links import links

PREFIX = "/magnus"


class LazyApp:
    """The ASGI application of the pages, made when it is first asked for."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Answer a request."""
        if self._app is None:
            from airflow_magnus.ui.app import make_app

            self._app = make_app()
        await self._app(scope, receive, send)


def _view(name: str, destination: str, path: str, icon: str) -> dict[str, Any]:
    """A page of ours in a frame of Airflow's UI.

    :param path: below our prefix. Relative, as Airflow may be served below a path of its own.
    """
    return {
        "name": name,
        "destination": destination,
        "href": f"{PREFIX[1:]}/{path}",
        "url_route": f"magnus-{icon}",
        "icon": f"{PREFIX[1:]}/static/icon-{icon}.svg",
        "icon_dark_mode": f"{PREFIX[1:]}/static/icon-{icon}-dark.svg",
    }


class MagnusPlugin(AirflowPlugin):
    """Our pages, at ``/magnus`` of Airflow's API server, and where Airflow's UI shows them."""

    name = "magnus"
    fastapi_apps: ClassVar[list[dict[str, Any]]] = [
        {"name": "magnus", "app": LazyApp(), "url_prefix": PREFIX}
    ]
    external_views: ClassVar[list[dict[str, Any]]] = [
        _view("Magnus runs", "nav", "runs", "runs"),
        _view("Pipeline", "dag", "pipelines/{DAG_ID}", "pipeline"),
        _view("Run log", "dag_run", "runs/{DAG_ID}/{RUN_ID}", "run-log"),
        _view("Data", "task_instance", "data/{DAG_ID}/{RUN_ID}/{TASK_ID}/{MAP_INDEX}", "data"),
    ]
    operator_extra_links: ClassVar[list[Any]] = links()
