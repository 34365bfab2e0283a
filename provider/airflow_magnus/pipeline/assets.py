"""Files of pipelines as assets of Airflow: their URIs.

``x-magnus://<pipeline>/<file>``: the same for every run, so that another pipeline can be scheduled on it. A scheme that begins with
``x-`` is one that Airflow takes as it stands; for any other it loads all its providers to ask who knows it, in every
process that reads a DAG file.
"""

from __future__ import annotations

import re
from urllib.parse import quote

_SCHEME = "x-magnus"
_LONGEST = 1500
"""Characters that Airflow allows."""
_NO_NAME = re.compile(r"[*?\[]|\{\{|\{%|\{#")
"""What makes a pattern stand for more than one name: that of a glob, or a template."""


def pipeline_uri(pipeline: str) -> str:
    """What stands for all files of a pipeline: the name of an asset alias."""
    return f"{_SCHEME}://{quote(pipeline, safe='')}"


def file_uri(pipeline: str, file: str) -> str:
    """The asset that a file of a pipeline is; "" when its name is too long for one.

    :param file: path below the compute data folder, with ``/``.
    """
    uri = f"{pipeline_uri(pipeline)}/{quote(file)}"
    return uri if len(uri) <= _LONGEST else ""


def is_of_pipelines(uri: str) -> bool:
    """Whether an asset is a file of a pipeline."""
    return uri.startswith(f"{_SCHEME}://")


def file_named(pattern: str) -> str:
    """The one file that a pattern of a put names; "" when it may be another, or several."""
    if _NO_NAME.search(pattern):
        return ""
    return "/".join(segment for segment in pattern.split("/") if segment not in ("", "."))
