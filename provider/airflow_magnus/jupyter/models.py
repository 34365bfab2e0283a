"""Jupyter's models: what its contents API says of files and folders.

Source: the contents API of Jupyter Server. S3 keeps no time of creation: that of the last change stands for it. It keeps
no times of folders at all: theirs is the beginning of 1970.
"""

from __future__ import annotations

import base64
import mimetypes
from datetime import UTC, datetime
from typing import Any

from tornado.web import HTTPError

from airflow_magnus.jupyter.paths import name_of

mimetypes.init()  # it reads files of this machine: now, and not while a page waits
NO_TIME = datetime.fromtimestamp(0, UTC)
Model = dict[str, Any]


def folder_model(path: str, *, is_writable: bool = True) -> Model:
    """A folder, without what lies in it."""
    return _base(path, NO_TIME, is_writable) | {"type": "directory"}


def file_model(
    path: str, modified: datetime, size: int, *, kind: str = "", is_writable: bool = True
) -> Model:
    """A file or notebook, without its content.

    :param kind: ``file`` or ``notebook``; "": by its name.
    """
    kind = kind or kind_of(path)
    found = _base(path, modified, is_writable) | {"type": kind, "size": size}
    if kind == "file":
        found["mimetype"] = mimetypes.guess_type(path)[0]
    return found


def with_content(model: Model, content: bytes, format: str | None) -> Model:
    """The model of a file with its content.

    :param format: ``text`` or ``base64``; None: text if it is UTF-8.
    :raises HTTPError: 400, when it is no text and text was asked for.
    """
    text = None
    if format != "base64":
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            if format == "text":
                raise HTTPError(400, f"{model['path']} is not UTF-8 encoded", reason="bad format") from error
    plain = "application/octet-stream" if text is None else "text/plain"
    return model | {
        "content": base64.encodebytes(content).decode("ascii") if text is None else text,
        "format": "base64" if text is None else "text",
        "mimetype": model["mimetype"] or plain,
    }


def content_of(model: Model) -> bytes:
    """The bytes of a file that a browser sends.

    :raises HTTPError: 400, when it has another format than ``text`` and ``base64``, or is not of it.
    """
    if model.get("format") not in ("text", "base64"):
        raise HTTPError(400, "Must specify format of file contents as 'text' or 'base64'")
    try:
        if model["format"] == "text":
            return bytes(model["content"].encode("utf-8"))
        return base64.b64decode(model["content"].encode("ascii"))
    except Exception as error:
        raise HTTPError(400, f"Encoding error: the content is not {model['format']}: {error}") from error


def kind_of(path: str) -> str:
    """What a file is by its name."""
    return "notebook" if path.endswith(".ipynb") else "file"


def _base(path: str, modified: datetime, is_writable: bool) -> Model:
    return {
        "name": name_of(path),
        "path": path,
        "last_modified": modified,
        "created": modified,
        "content": None,
        "format": None,
        "mimetype": None,
        "size": None,
        "writable": is_writable,
        "hash": None,
        "hash_algorithm": None,
    }
