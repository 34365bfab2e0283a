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


class MagnusPlugin(AirflowPlugin):
    """Our pages, at ``/magnus`` of Airflow's API server."""

    name = "magnus"
    fastapi_apps: ClassVar[list[dict[str, Any]]] = [
        {"name": "magnus", "app": LazyApp(), "url_prefix": PREFIX}
    ]
    operator_extra_links: ClassVar[list[Any]] = links()
