"""A stage for the pages in Airflow's UI: below an application that checks users as Airflow's own does, with no server."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ui_site import client_of, served

Client = Any


@pytest.fixture(scope="module")
def site(airflow_home: Path) -> Iterator[Any]:
    """Our pages below an application that checks users as Airflow's own does."""
    with served(airflow_home) as app:
        yield app


@pytest.fixture
def client(site: Any) -> Callable[..., Client]:
    """A browser that is signed in; without a name it is not."""
    return partial(_client, site)


def _client(site: Any, name: str = "", role: str = "", app: Any = None) -> Client:
    return client_of(app or site, name, role)


def words(page: str) -> str:
    """What a page says."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))
