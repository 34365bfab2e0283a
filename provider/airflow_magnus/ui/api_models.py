"""What the JSON API answers. Names of fields stay as they are within ``v1``; new ones may be added."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from airflow_magnus.runlog.provenance import FileNode, Provenance, StepNode
from airflow_magnus.runlog.records import BranchLog, Status, StepLog
from airflow_magnus.runlog.run_query import RunPage, aware
from airflow_magnus.runlog.summaries import Code, FileUse, RunSummary


def _rfc3339(text: Any) -> datetime | None:
    """A time of a run log, which writes a space before the hour; None where it has none, or no time that can be read."""
    if isinstance(text, datetime):
        return aware(text)
    try:
        return aware(datetime.fromisoformat(text)) if text else None
    except ValueError:
        return None


Moment = Annotated[datetime | None, BeforeValidator(_rfc3339)]
RunStatus = Literal["SUCCESS", "FAIL", "PROCESSING"]


class Problem(BaseModel):
    """Why a request was refused, and what can be done."""

    status: int
    title: str
    what_to_do: str = ""


class Run(BaseModel):
    """One run in a list."""

    dag_id: str = Field(description="Airflow's id of the DAG that the run belongs to")
    dag_run_id: str = Field(description="Airflow's run id; empty of a run that Airflow did not start")
    run_id: str = Field(description="id in the run log")
    pipeline: str
    status: RunStatus
    tag: str | None
    start: Moment
    end: Moment = Field(description="null while it goes on")
    seconds: float | None
    parameters: dict[str, Any] = Field(description="final values; long ones are cut")
    bytes_stored: int
    files: int = Field(description="put or restored")
    is_pinned: bool
    is_collected: bool = Field(description="its files were removed from the catalog as old")
    original_run_id: str = Field(description="of a re-run: the run that it takes up")

    @classmethod
    def of(cls, run: RunSummary) -> Run:
        """The answer for a run."""
        own = {name: getattr(run, name) for name in cls.model_fields if name not in ("dag_id", "dag_run_id")}
        return cls(dag_id=run.airflow_dag_id, dag_run_id=run.airflow_run_id, **own)


class Runs(BaseModel):
    """A page of runs, the one that started last in front."""

    runs: list[Run]
    total: int = Field(description="on all pages")
    after: str = Field(description="give it as `after` for the next page; empty on the last")
    unread: int = Field(description="runs that the index does not have; `magnus runlog reindex` enters them")
    failed: dict[str, str] = Field(description="DAGs whose run log cannot be read, each with the reason")

    @classmethod
    def of(cls, page: RunPage, after: str, failed: dict[str, str]) -> Runs:
        """The answer for a page."""
        return cls(
            runs=[Run.of(run) for run in page.runs],
            total=page.total,
            after=after,
            unread=page.unread,
            failed=failed,
        )


class CodeUsed(BaseModel):
    """What code ran."""

    kind: str = Field(description="git, docker, dag_bundle …")
    identifier: str
    is_dependable: bool

    @classmethod
    def of(cls, code: Code) -> CodeUsed:
        """The answer for code."""
        return cls(**vars(code))


class FileUsed(BaseModel):
    """A file that a step read, made or was given by a re-run."""

    dag_id: str
    run_id: str
    pipeline: str
    step: str
    attempt: int
    direction: Literal["get", "put", "restored"]
    name: str
    sha256: str
    size: int | None
    time: Moment = Field(description="when the attempt ended")
    code: list[CodeUsed]

    @classmethod
    def of(cls, use: FileUse, dag_id: str) -> FileUsed:
        """The answer for a use of a file."""
        own = {name: getattr(use, name) for name in cls.model_fields if name not in ("dag_id", "code")}
        return cls(dag_id=dag_id, code=[CodeUsed.of(one) for one in use.code], **own)


class Files(BaseModel):
    """Uses of files."""

    files: list[FileUsed]
    is_cut: bool = Field(default=False, description="more were found")


class Step(BaseModel):
    """One step of a run; those of a branch follow the step that has it."""

    internal_name: str
    step_type: str
    status: Status
    depth: int = Field(description="0 in the pipeline's own graph, one more in each branch")
    start: Moment
    end: Moment
    attempts: int
    is_taken_over: bool = Field(description="not run, as a re-run has its result from an earlier run")
    message: str = Field(description="of the last attempt, or of the step")
    code: list[CodeUsed]
    metrics: dict[str, Any]
    parameters: dict[str, Any] = Field(description="what the step set")
    task_id: str = Field(description="Airflow's; empty where no task ran")
    map_index: int

    @classmethod
    def of(cls, step: StepLog, depth: int) -> Step:
        """The answer for a step."""
        first, last = (step.attempts[0], step.attempts[-1]) if step.attempts else (None, None)
        scheduler = last.scheduler if last else {}
        return cls(
            internal_name=step.internal_name,
            step_type=step.step_type,
            status=step.status,
            depth=depth,
            start=_rfc3339(first.start_time if first else ""),
            end=_rfc3339(last.end_time if last else ""),
            attempts=len(step.attempts),
            is_taken_over=step.mock,
            message=(last.message if last else "") or step.message,
            code=[
                CodeUsed(
                    kind=one.code_identifier_type,
                    identifier=one.code_identifier or "",
                    is_dependable=one.code_identifier_dependable,
                )
                for one in step.code_identities
            ],
            metrics=step.user_defined_metrics,
            parameters=step.parameters,
            task_id=str(scheduler.get("task_id") or ""),
            map_index=int(scheduler.get("map_index", -1)),
        )


class Steps(BaseModel):
    """Some steps of a run, in the order of the pipeline."""

    steps: list[Step]
    total: int = Field(description="that are asked for, on all pages")


def all_steps(steps: dict[str, StepLog], depth: int = 0) -> Iterator[tuple[StepLog, int]]:
    """The steps of a run log with those of their branches, each with its depth."""
    for step in steps.values():
        yield step, depth
        branches: dict[str, BranchLog] = step.branches
        for branch in branches.values():
            yield from all_steps(branch.steps, depth + 1)


class Content(BaseModel):
    """One content under one name."""

    key: str
    name: str
    sha256: str
    size: int | None

    @classmethod
    def of(cls, file: FileNode) -> Content:
        """The answer for a file."""
        return cls(key=file.key, **vars(file))


class MakingStep(BaseModel):
    """A step that made or read files of a provenance."""

    key: str
    dag_id: str
    run_id: str
    pipeline: str
    step: str
    attempt: int
    time: Moment = Field(description="when the attempt ended")
    depth: int = Field(description="steps between it and the file; 0 made the file")
    code: list[CodeUsed]
    parameters: dict[str, Any] = Field(description="of the run")

    @classmethod
    def of(cls, node: StepNode, dag_id: str) -> MakingStep:
        """The answer for a step."""
        return cls(
            key=node.key,
            dag_id=dag_id,
            run_id=node.run.run_id,
            pipeline=node.run.pipeline,
            step=node.step,
            attempt=node.attempt,
            time=_rfc3339(node.time),
            depth=node.depth,
            code=[CodeUsed.of(one) for one in node.code],
            parameters=node.run.parameters,
        )


class Link(BaseModel):
    """A file that a step made or read, by their keys."""

    step: str
    file: str
    direction: Literal["get", "put"]


class Origin(BaseModel):
    """Where a content comes from, and what read it."""

    file: Content
    makers: list[FileUsed]
    readers: list[FileUsed]
    steps: list[MakingStep]
    files: list[Content]
    edges: list[Link]
    is_cut: bool = Field(description="there is more than was asked for")

    @classmethod
    def of(cls, found: Provenance, dags: dict[str, str]) -> Origin:
        """The answer for a provenance.

        :param dags: run id → the DAG that it belongs to.
        """
        return cls(
            file=Content.of(found.file),
            makers=[FileUsed.of(use, dags.get(use.run_id, "")) for use in found.makers],
            readers=[FileUsed.of(use, dags.get(use.run_id, "")) for use in found.readers],
            steps=[MakingStep.of(node, dags.get(node.run.run_id, "")) for node in found.steps.values()],
            files=[Content.of(file) for file in found.files.values()],
            edges=[Link(step=e.step, file=e.file, direction=e.direction) for e in found.edges],  # type: ignore[arg-type]
            is_cut=found.is_cut,
        )


class PlannedStep(BaseModel):
    """What a re-run does with a step."""

    internal_name: str
    action: Literal["skip", "restore", "run"]
    why: str
    files: int
    size: int


class Plan(BaseModel):
    """What a re-run of a failed run would do now."""

    dag_id: str
    run_id: str = Field(description="of the earlier run, in the run log")
    steps: list[PlannedStep]
    warnings: list[str]
    conf: dict[str, Any] = Field(description="of the DAG run that starts it")
    has_changed: bool = Field(description="the pipeline has changed since")
    going_on: list[str] = Field(description="DAG runs that take up the same run and have not ended")
