"""The DAG of a pipeline file with faults: it shows them, and cannot be triggered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, AirflowFailException, BaseOperator, Param

from airflow_magnus.dags.settings import TAG
from airflow_magnus.errors import Fault

INVALID_TAG = "invalid"
_MOST_SHOWN = 100
_LONGEST_LABEL = 160


class FileFault(BaseOperator):
    """Stands for one fault of a pipeline file, so that the grid lists them; fails if it is run all the same.

    :param fault: what is wrong, and where.
    """

    template_fields = ("fault",)
    ui_color = "#f5b7b1"

    def __init__(self, *, fault: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fault = fault

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Nothing is a template."""

    def execute(self, context: Any) -> None:
        """Fail, with the fault."""
        raise AirflowFailException(self.fault)


def invalid_dag(dag_id: str, path: Path, faults: Sequence[Fault]) -> DAG:
    """A DAG that stands for a file that is refused."""
    count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
    dag = DAG(
        dag_id,
        dag_display_name=f"{dag_id} ({count})",
        schedule=None,
        tags=[TAG, INVALID_TAG],
        description=f"{path.name} is refused: {count}",
        doc_md=_page(path, faults, count),
        is_paused_upon_creation=True,
        # A value that no schema allows: Airflow then refuses every trigger, with this description.
        params={
            "refused": Param(schema={"enum": []}, description=f"{path.name} has {count}: mend the file first")
        },
    )
    for number, fault in enumerate(faults[:_MOST_SHOWN]):
        FileFault(
            task_id=f"fault_{number}",
            task_display_name=_label(fault),
            doc_md=_page(path, [fault], count),
            fault=str(fault),
            dag=dag,
        )
    return dag


def _label(fault: Fault) -> str:
    """A fault in one line of the grid."""
    place = f"line {fault.position.line}: " if fault.position else ""
    text = f"{place}{fault.message}"
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"


def _page(path: Path, faults: Sequence[Fault], count: str) -> str:
    lines = [f"## {path.name} is refused: {count}", "", f"`{path}`", ""]
    for fault in faults:
        place = f"line {fault.position.line}, column {fault.position.column}" if fault.position else ""
        file = f"`{fault.position.file.name}` " if fault.position and fault.position.file != path else ""
        where = " · ".join(
            part for part in (f"{file}{place}".strip(), f"`{fault.path}`" if fault.path else "") if part
        )
        lines.append(f"- **{where}**: {fault.message}" if where else f"- {fault.message}")
    return "\n".join(
        [*lines, "", "Mend the file; this page becomes the pipeline when Airflow reads it again."]
    )
