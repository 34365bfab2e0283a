"""Addresses of the pages about one file, below the root of our pages."""

from __future__ import annotations

from urllib.parse import quote, urlencode


def file_path(dag_id: str, run_id: str, name: str, digest: str = "", wanted: str = "") -> str:
    """Of the page that shows a file, or with ``wanted`` of the file itself.

    :param run_id: as in the addresses of the run's other pages.
    :param digest: sha256 hex; "" for what the run has left under this name.
    :param wanted: ``download``, or ``image`` for an ``img`` element.
    """
    return _path("files", dag_id, run_id, name, {"digest": digest, "as": wanted})


def provenance_path(dag_id: str, run_id: str, name: str, digest: str = "") -> str:
    """Of the page that says where a file comes from and who has read it. Parameters: as of :func:`file_path`."""
    return _path("provenance", dag_id, run_id, name, {"digest": digest})


def search_path(text: str) -> str:
    """Of the search for files and runs."""
    return "/provenance?" + urlencode({"q": text})


def _path(kind: str, dag_id: str, run_id: str, name: str, query: dict[str, str]) -> str:
    asked = urlencode({key: value for key, value in query.items() if value})
    path = f"/{kind}/{quote(dag_id, safe='')}/{quote(run_id, safe='')}/{quote(name, safe='/')}"
    return f"{path}?{asked}" if asked else path
