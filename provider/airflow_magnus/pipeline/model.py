"""The model of a pipeline: graphs of steps as they stand in the file, all checks passed.

A *graph* is the pipeline's own, a branch of a composite step, or a sub-pipeline. The *internal name* of a step is
its dotted path (an odd number of segments), that of a branch has an even number; the pipeline's own graph has "".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from airflow_magnus.errors import Fault, Position

StepKind = Literal["task", "as-is", "parallel", "map", "dag", "conditional", "loop", "success", "fail"]
MAP_PLACEHOLDER = "map_variable_placeholder"
"""The segment that stands for the item in the internal names of a map's steps."""


@dataclass(frozen=True)
class CatalogRequest:
    """What one step takes from the catalog and gives to it.

    :param compute_data_folder: replaces the global folder for this step; None: the global one.
    :param get: glob patterns below the folder, fetched before the command.
    :param put: glob patterns below the folder, stored after the command succeeded.
    """

    compute_data_folder: str | None = None
    get: tuple[str, ...] = ()
    put: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataSource:
    """Where the objects of a bucket come from that a step is given.

    :param files: glob patterns of catalog files, or of keys below the prefix.
    :param run: another run: its id, or ``latest`` for the last one that succeeded; "" for this one.
    :param pipeline: the pipeline of that run; "" for this one.
    :param digest: the one file with this sha256, of any run; "" for none.
    :param bucket: a bucket of its own; "" for the catalog.
    :param prefix: of the bucket.
    :param conn_id: Airflow connection that opens the bucket; "" for the catalog's credentials.
    """

    files: tuple[str, ...] = ("**",)
    run: str = ""
    pipeline: str = ""
    digest: str = ""
    bucket: str = ""
    prefix: str = ""
    conn_id: str = ""


@dataclass(frozen=True)
class EndpointRequest:
    """The S3 endpoint that a step's code finds beside it.

    :param inputs: name of a bucket to what is in it.
    :param out: whether there is a bucket ``out`` that becomes part of the catalog when the step succeeds.
    :param keep_failed: whether what a failed attempt wrote is kept where it is.
    """

    inputs: Mapping[str, DataSource] = field(default_factory=dict)
    out: bool = False
    keep_failed: bool = False


@dataclass(frozen=True)
class MountRequest(EndpointRequest):
    """Buckets as folders: ``mnt/<name>`` below the step's working folder.

    :param engine: ``rclone`` or ``s3fs``.
    :param fallback: ``copy`` to copy the objects where nothing can be mounted; "": the step fails there.
    """

    engine: str = "rclone"
    fallback: str = ""


@dataclass(frozen=True)
class CatalogMountRequest(MountRequest):
    """The compute data folder as a mount of the run's catalog, in place of copies (the file's ``catalog: {mode: mount}``)."""

    out: bool = True


@dataclass(frozen=True)
class Step:
    """One node of a graph.

    :param name: as in the file, unique in its graph.
    :param internal_name: dotted path from the pipeline's own graph.
    :param next: the step taken after success; "" on success and fail nodes.
    :param on_failure: the step taken after a failure; "" stands for the graph's fail node.
    :param attempts: how often the step is tried, at least 1 (the file's ``retry``).
    :param is_cached: of a task: it reuses the outputs of an earlier run with the same fingerprint (the file's ``cache``).
    :param endpoint: of a task: the S3 endpoint beside it (the file's ``s3``), or folders in its place (``mount``,
        ``catalog: {mode: mount}``).
    :param executor_config: settings of this step by executor type, for example ``{"airflow": {"queue": "big"}}``.
    """

    name: str
    internal_name: str
    kind: StepKind
    position: Position
    next: str = ""
    on_failure: str = ""
    attempts: int = 1
    is_cached: bool = False
    catalog: CatalogRequest = CatalogRequest()
    endpoint: EndpointRequest | None = None
    executor_config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def is_terminal(self) -> bool:
        """True for success and fail nodes."""
        return self.kind in ("success", "fail")


@dataclass(frozen=True)
class TaskStep(Step):
    """A step that runs a command.

    :param command_type: ``python``, ``python-lambda``, ``shell``, ``notebook`` or ``container``.
    :param command: what is run; its meaning depends on the type.
    :param command_config: further settings of the command type.
    """

    command_type: str = "python"
    command: str = ""
    command_config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CompositeStep(Step):
    """A step made of graphs.

    :param branches: branch name to graph, in the order of the file. A parallel step has one or more, a dag step one
        called ``dag``, a map step one called :data:`MAP_PLACEHOLDER`. A conditional step has one for each value, and
        last ``default`` when ``has_default``; a loop ``max_iterations`` equal ones, called ``0``, ``1`` and so on.
    :param iterate_on: of a map: the parameter that holds the list.
    :param iterate_as: of a map: the name under which an item is given to the branch.
    :param dag_definition: of a dag step: the file that was read.
    :param parameter: of a conditional: the parameter whose value, as text, names the branch that runs.
    :param has_default: of a conditional: the branch ``default`` runs when no other has the name of the value.
    :param max_iterations: of a loop: how often its branch runs at most, 1 to 100.
    :param break_on: of a loop: the boolean parameter that ends it when an iteration leaves it true; "": none does.
    :param index_as: of a loop: the name under which the number of the iteration, from 0, is given to it; "": it is not.
    """

    branches: Mapping[str, Graph] = field(default_factory=dict)
    iterate_on: str = ""
    iterate_as: str = ""
    dag_definition: Path | None = None
    parameter: str = ""
    has_default: bool = False
    max_iterations: int = 0
    break_on: str = ""
    index_as: str = ""


@dataclass(frozen=True)
class Graph:
    """Steps and the way between them; checked: every name exists, no cycle, one success and one fail node."""

    internal_name: str
    start_at: str
    steps: Mapping[str, Step]
    description: str = ""
    name: str = ""
    max_time: int = 86400

    @cached_property
    def success(self) -> Step:
        """The success node."""
        return next(step for step in self.steps.values() if step.kind == "success")

    @cached_property
    def fail(self) -> Step:
        """The fail node."""
        return next(step for step in self.steps.values() if step.kind == "fail")

    def walk(self) -> Iterator[Step]:
        """Every step, each followed by those of its branches."""
        for step in self.steps.values():
            yield step
            for branch in step.branches.values() if isinstance(step, CompositeStep) else ():
                yield from branch.walk()

    def after_failure(self, step: Step) -> Step:
        """The step taken when ``step`` failed."""
        return self.steps[step.on_failure] if step.on_failure else self.fail

    @cached_property
    def reachable(self) -> tuple[Step, ...]:
        """The steps that some path from the start visits, sorted so that each stands behind all that lead to it.

        Success and fail node come last; the fail node is always there.
        """
        order: list[Step] = []
        seen: set[str] = set()

        def visit(step: Step) -> None:
            stack = [(step, self._targets(step))]
            seen.add(step.name)
            while stack:
                current, targets = stack[-1]
                target = next((t for t in targets if t.name not in seen), None)
                if target is None:
                    stack.pop()
                    order.append(current)
                else:
                    seen.add(target.name)
                    stack.append((target, self._targets(target)))

        visit(self.steps[self.start_at])
        inner = [step for step in reversed(order) if not step.is_terminal]
        ends = [step for step in (self.success,) if step.name in seen]
        return (*inner, *ends, self.fail)

    def _targets(self, step: Step) -> Iterator[Step]:
        names = [step.on_failure, step.next] if not step.is_terminal else []
        return iter([self.steps[name] for name in names if name])


@dataclass(frozen=True)
class ServiceSettings:
    """One service as configured: what the run log records under ``run_config``."""

    type: str
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Parameter:
    """A parameter that the file declares.

    :param default: JSON value, None when ``has_default`` is False.
    :param schema: JSON Schema of its values; {} when the file gives only a default.
    """

    name: str
    default: Any = None
    schema: Mapping[str, Any] = field(default_factory=dict)
    has_default: bool = True


@dataclass(frozen=True)
class Pipeline:
    """One pipeline file.

    :param path: the file as it was named.
    :param dag_hash: sha1 hex of the ``dag`` section, 40 characters (Source: seed 001).
    :param digest: sha256 hex over the text of the file and of all sub-pipeline files, 64 characters.
    :param services: the services that the file itself names: ``executor``, ``run_log_store``, ``catalog``, ``secrets``.
    :param connections: service name to Airflow connection id, as the file gives them.
    :param airflow: the ``airflow`` section: settings of the DAG.
    :param definition: the ``dag`` section after substitution.
    :param sub_definitions: internal name of each dag step, in every iteration of the loops around it, to the ``dag``
        section of its file after substitution.
    :param warnings: what is accepted but looks like a mistake.
    """

    path: Path
    graph: Graph
    dag_hash: str
    digest: str
    services: Mapping[str, ServiceSettings] = field(default_factory=dict)
    connections: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    airflow: Mapping[str, Any] = field(default_factory=dict)
    definition: Mapping[str, Any] = field(default_factory=dict)
    sub_definitions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    warnings: tuple[Fault, ...] = ()

    @property
    def name(self) -> str:
        """What people call it, and its files as assets: ``dag.name``, else the file's name without its ending."""
        return self.graph.name or self.path.stem
