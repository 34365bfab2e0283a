"""The buttons on the pages of our tasks that the API server makes. Every process of Airflow imports this: nothing heavy.

They cost a task nothing, and are there while it runs and when it was killed. Airflow looks a link up by the name and the
module of a task's class, which it does not import; so stand-ins are enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow.providers.common.compat.sdk import BaseOperatorLink

from airflow_magnus.operators.links import CatalogLink, DataLink, RunLogLink, page_path, run_log_url

STEPS: Mapping[str, tuple[str, ...]] = {
    "commands": ("PythonStep", "LambdaStep", "ShellStep", "AsIsStep"),
    "notebook": ("NotebookStep",),
    "container": ("DockerStep",),
    "pod": ("PodStep",),
    "mocked": ("MockedStep",),
}
"""Module below ``operators`` → classes of steps."""
OTHERS: Mapping[str, tuple[str, ...]] = {
    "composite": ("BranchesStart", "BranchesEnd", "LoopTurn"),
    "mapping": ("MapStart", "MapEnd", "MapJoin"),
    "terminal": ("SuccessNode", "FailNode", "EndOfRun"),
    "gate": ("FailureGate",),
}
"""The same of the pipeline's own tasks, which have no data of their own."""


class RerunLink(BaseOperatorLink):
    """Leads from the tasks of a run that failed to the page that shows what a re-run would do."""

    name = "Re-run from failure"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The link; "" unless the DAG run has failed and its DAG is made of a pipeline file. Cost: 1 query."""
        if not any(is_description(getattr(task, "doc_json", None)) for task in operator.dag.tasks):
            return ""
        from airflow_magnus.ui.dag_runs import has_failed

        if not has_failed(ti_key.dag_id, ti_key.run_id):
            return ""
        return page_path("rerun", ti_key.dag_id, ti_key.run_id)


def is_description(text: str | None) -> bool:
    """Whether a task tells where its pipeline's run log is."""
    if not text:
        return False
    from airflow_magnus.hooks.description import read_description

    return read_description(text) is not None


def links() -> list[BaseOperatorLink]:
    """The links, each with the operators that it is for."""
    steps = list(_stand_ins(STEPS))
    everything = [*steps, *_stand_ins(OTHERS)]
    made = [
        _for(CatalogLink(), everything),
        _for(DataLink(), steps),
        _for(RerunLink(), everything),
    ]
    return made if run_log_url() else [*made, _for(RunLogLink(), everything)]


def _for(link: BaseOperatorLink, operators: list[type]) -> BaseOperatorLink:
    link.operators = operators
    return link


def _stand_ins(classes: Mapping[str, Iterable[str]]) -> Iterable[type]:
    for module, names in classes.items():
        for name in names:
            yield type(name, (), {"__module__": f"airflow_magnus.operators.{module}"})
