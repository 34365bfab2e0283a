"""Pipelines as text, and what loading them says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_magnus.errors import PipelineError
from airflow_magnus.pipeline.model import Pipeline
from airflow_magnus.pipeline.parser import load_pipeline

ENDS = """
    success: {type: success}
    fail: {type: fail}
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file below the test's folder."""

    def write_file(text: str | bytes, name: str = "pipeline.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_file


@pytest.fixture
def load(write: Callable[..., Path]) -> Callable[..., Pipeline]:
    """Load a pipeline from its text."""

    def load_text(text: str | bytes, **options: object) -> Pipeline:
        return load_pipeline(write(text), **options)  # type: ignore[arg-type]

    return load_text


@pytest.fixture
def faults(load: Callable[..., Pipeline]) -> Callable[..., list[str]]:
    """The faults of a pipeline's text, each as ``line:column path: message``."""

    def faults_of(text: str | bytes, **options: object) -> list[str]:
        with pytest.raises(PipelineError) as caught:
            load(text, **options)
        return [shown(fault) for fault in caught.value.faults]

    return faults_of


def shown(fault: object) -> str:
    """A fault without the folder of its file."""
    place = fault.position  # type: ignore[attr-defined]
    where = f"{place.line}:{place.column} " if place else ""
    return f"{where}{fault.path}: {fault.message}"  # type: ignore[attr-defined]


@pytest.fixture
def step_text() -> Callable[[str], str]:
    """A pipeline of one shell step with further keys, which begin at line 4, column 75."""

    def text(keys: str = "") -> str:
        more = f", {keys}" if keys else ""
        step = f"    a: {{type: task, command_type: shell, next: success, command: ls      {more}}}"
        return f"dag:\n  start_at: a\n  steps:\n{step}{ENDS}"

    return text
