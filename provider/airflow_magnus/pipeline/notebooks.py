"""Where a notebook step's notebook is: a file beside the pipeline, an object of a bucket, or a file of the catalog."""

from __future__ import annotations

import re

S3 = "s3://"
CATALOG = "catalog://"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_OF_S3 = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9._-]{1,254}/.*[^/]\.ipynb")


def is_remote(command: str) -> bool:
    """Whether the notebook is fetched before the step, as it is no file of the working folder."""
    return command.startswith((S3, CATALOG))


def fault_of(command: str) -> str:
    """What is wrong with the command of a notebook step; "" when nothing is."""
    if not command.endswith(".ipynb"):
        return f'the command of a notebook step is a file that ends with .ipynb, not "{command}"'
    scheme = _SCHEME.match(command)
    if scheme is None:
        return ""
    name = command.removeprefix(CATALOG)
    is_right = (
        _OF_S3.fullmatch(command) is not None
        if command.startswith(S3)
        else name != command and not {"", ".", ".."} & set(name.split("/")) and name != ".ipynb"
    )
    if is_right:
        return ""
    return (
        f'"{command}" is no place of a notebook: write a path, s3://bucket/path/name.ipynb, or'
        " catalog://path/name.ipynb for a file of the run's catalog"
    )
