"""Notebooks as bytes, and back. All of this takes long for large ones: call it in a thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nbformat
from tornado.web import HTTPError


def read(content: bytes, path: str) -> tuple[Any, dict[str, Any]]:
    """A notebook in the newest form, and what its validation has found.

    :raises HTTPError: 400, when it is none.
    """
    found: dict[str, Any] = {}
    try:
        notebook = nbformat.reads(content.decode("utf-8"), as_version=4, capture_validation_error=found)
    except Exception as error:
        raise HTTPError(400, f"Unreadable Notebook: {path} {error!r}") from error
    return notebook, found


def written(content: Mapping[str, Any]) -> tuple[Any, bytes, dict[str, Any]]:
    """A notebook of a browser: as an object, as bytes, and what its validation has found."""
    found: dict[str, Any] = {}
    notebook = nbformat.from_dict(content)
    text = nbformat.writes(notebook, version=nbformat.NO_CONVERT, capture_validation_error=found)
    return notebook, (text if text.endswith("\n") else text + "\n").encode(), found
