"""The grammar of the ``dag`` section: which keys stand where.

Source: spec 3 and 3.1; ``conditional``, ``loop`` and ``cache`` are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from airflow_magnus.pipeline.model import MAP_PLACEHOLDER, StepKind

STEP_KINDS: tuple[StepKind, ...] = get_args(StepKind)

GRAPH_KEYS = frozenset({"start_at", "steps", "description", "name", "max_time"})

UNSUPPORTED_KINDS = {
    "stub": 'a stub is called "as-is" here',
}
"""Node types of the original's successor, and what to write instead."""


@dataclass(frozen=True)
class StepGrammar:
    """The keys of one type of step.

    :param required: keys that must be there, beside ``type``.
    :param optional: keys that may be there.
    :param ignored: keys that may be there and mean nothing.
    """

    required: frozenset[str]
    optional: frozenset[str]
    ignored: frozenset[str]

    @property
    def known(self) -> frozenset[str]:
        """Every key that is accepted."""
        return self.required | self.optional | self.ignored | {"type"}

    @property
    def meaningful(self) -> frozenset[str]:
        """Every key that is accepted and not ignored: what messages offer."""
        return self.required | self.optional | {"type"}


def _grammar(required: str, optional: str, ignored: str) -> StepGrammar:
    return StepGrammar(frozenset(required.split()), frozenset(optional.split()), frozenset(ignored.split()))


_EDGES = "on_failure mode_config executor_config"
_TERMINAL = _grammar("", "executor_config", "command_type retry mode_config branch source_data")

STEPS: Mapping[StepKind, StepGrammar] = {
    "task": _grammar(
        "next command",
        f"{_EDGES} command_type command_config retry catalog cache s3 mount",
        "branch source_data",
    ),
    "as-is": _grammar(
        "next",
        f"{_EDGES} retry catalog render_string",
        "command command_type command_config branches branch source_data",
    ),
    "parallel": _grammar("next branches", _EDGES, "command_type retry branch"),
    "map": _grammar("next branch iterate_on iterate_as", _EDGES, "command_type retry branches"),
    "dag": _grammar("next dag_definition", _EDGES, "command_type retry branches branch"),
    "conditional": _grammar("next parameter branches", f"{_EDGES} default", "command_type retry branch"),
    "loop": _grammar(
        "next branch max_iterations", f"{_EDGES} break_on index_as", "command_type retry branches"
    ),
    "success": _TERMINAL,
    "fail": _TERMINAL,
}

MAX_ITERATIONS = 100
"""How often a loop may run its branch: it is unrolled. Source: contract 9."""

MEANINGS: Mapping[str, str] = {
    "next": "name the step that follows",
    "command": "write what it runs, such as command: module.function",
    "branch": "write the graph that is run again and again, branch: {start_at: …, steps: {…}}",
    "branches": "write names to graphs, branches: {left: {start_at: …, steps: {…}}, …}",
    "iterate_on": "name the parameter that holds the list",
    "iterate_as": "choose the name by which the steps inside get their item",
    "dag_definition": "write the path of the file whose steps it runs",
    "parameter": "name the parameter whose value chooses the branch",
    "max_iterations": f"write how often it may run at most, such as max_iterations: 10 (1 to {MAX_ITERATIONS})",
}
"""A key that some type of step needs to what is to be written."""

DEFAULT_BRANCH = "default"
"""The name of the branch that a conditional takes for every other value."""

COMMAND_TYPES: Mapping[str, Mapping[str, str]] = {
    "python": {},
    "python-lambda": {},
    "shell": {},
    "notebook": {
        "notebook_output_path": "text",
        "optional_ploomber_args": "mapping",
        "kernel": "text",
        "conn_id": "text",
    },
    "container": {
        "image": "text",
        "command": "text",
        "context_path": "path inside",
        "data_folder": "folder",
        "output_parameters_file": "folder",
        "secrets": "texts",
    },
}
"""Command type to the keys of its ``command_config`` and the kind of their values."""

AIRFLOW_STEP_KEYS: Mapping[str, str] = {
    "queue": "text",
    "pool": "text",
    "pool_slots": "positive",
    "priority_weight": "integer",
    "executor": "text",
    "retry_delay": "duration",
    "execution_timeout": "duration",
    "retry_exponential_backoff": "backoff",
    "max_retry_delay": "duration",
    "executor_config": "mapping",
}
"""Keys of ``executor_config.airflow`` and the kind of their values."""

AIRFLOW_STEP_REFUSED = {
    "trigger_rule": "trigger_rule cannot be set: next and on_failure alone decide which step runs; remove it",
    "retries": "write retry on the step: it counts all attempts, so retries: 2 is retry: 3",
    "task_id": "the task id is made of the step's name; rename the step",
}


def name_fault(name: str) -> str:
    """Say what is wrong with the name of a step or branch; "" when nothing is."""
    if not name.strip():
        return "a name must not be empty"
    if found := [character for character in ".%" if character in name]:
        return (
            f'the name "{name}" holds "{found[0]}"; names of steps and branches hold any text but "." and "%"'
        )
    if name == MAP_PLACEHOLDER:
        return f'the name "{name}" is reserved for the items of a map; choose another'
    return ""
