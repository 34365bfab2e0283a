"""One pipeline file as a DAG, or as a group of tasks in a DAG that is written by hand."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, TaskGroup
from airflow.sdk.definitions.param import ParamsDict

from airflow_magnus.dags import plan_cache
from airflow_magnus.dags.kinds import refuse_unsupported
from airflow_magnus.dags.routing import Plan, add_graph
from airflow_magnus.dags.settings import dag_arguments
from airflow_magnus.errors import Fault, PipelineError
from airflow_magnus.hooks.services import ServiceSources
from airflow_magnus.operators.run import RunSettings
from airflow_magnus.operators.workspace import WorkspaceSettings
from airflow_magnus.pipeline.identifiers import dag_id_of, task_id_of
from airflow_magnus.pipeline.model import Pipeline, ServiceSettings
from airflow_magnus.pipeline.services import resolve_services
from airflow_magnus.pipeline.variables import read_variables

_SERVICE_OF = {"catalog": "catalog", "run_log": "run_log_store", "secrets": "secrets"}


def pipeline_dag(
    path: str | os.PathLike[str],
    *,
    dag_id: str | None = None,
    config_file: str | os.PathLike[str] | None = None,
    variables: Mapping[str, str] | None = None,
    catalog_conn_id: str | None = None,
    run_log_conn_id: str | None = None,
    secrets_conn_id: str | None = None,
    **dag_kwargs: Any,
) -> DAG:
    """The DAG of one pipeline file.

    :param path: the file; a relative one is looked for beside the DAG file that calls this.
    :param dag_id: default: the file's ``airflow.dag_id``, else its name.
    :param config_file: services, as of ``magnus execute -c``.
    :param variables: over those of the environment (``MAGNUS_VAR_<name>``).
    :param catalog_conn_id: Airflow connection of a service that no file names; likewise the two others.
    :param dag_kwargs: over the file's ``airflow`` section.
    :raises PipelineError: with every fault of the file.
    """
    connections = {"catalog": catalog_conn_id, "run_log": run_log_conn_id, "secrets": secrets_conn_id}
    pipeline, services = loaded(beside_caller(path), config_file, variables, connections)
    return dag_of(pipeline, plan_of(pipeline, services), dag_id=dag_id, **dag_kwargs)


def dag_of(pipeline: Pipeline, plan: Plan, *, dag_id: str | None = None, **dag_kwargs: Any) -> DAG:
    """The DAG of a loaded pipeline."""
    wanted = dag_id or pipeline.airflow.get("dag_id") or dag_id_of(Path(pipeline.path.name))
    refuse_unsupported(pipeline.graph)
    arguments = {**dag_arguments(pipeline), **dag_kwargs}
    params = arguments.pop("params", None) or {}
    # Airflow takes up every DAG that a `with` block has left, also one that an error has left half made.
    dag = DAG(wanted, **{**arguments, "auto_register": False})
    with dag:
        add_graph(pipeline.graph, plan, dag.task_group)
    # Not before: each task would copy them, and Airflow gives every task those of its DAG anyway.
    dag.params = params if isinstance(params, ParamsDict) else ParamsDict(params)
    dag.auto_register = True
    with dag:
        return dag


class PipelineTaskGroup(TaskGroup):
    """A pipeline file inside a DAG that is written by hand. Its run log is that of the DAG run and this group.

    The group's ends are its ``success`` and ``fail`` tasks: what follows usually waits for ``group.success``.

    :param path: as of :func:`pipeline_dag`, and so are the other arguments.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        group_id: str | None = None,
        config_file: str | os.PathLike[str] | None = None,
        variables: Mapping[str, str] | None = None,
        catalog_conn_id: str | None = None,
        run_log_conn_id: str | None = None,
        secrets_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        connections = {"catalog": catalog_conn_id, "run_log": run_log_conn_id, "secrets": secrets_conn_id}
        pipeline, services = loaded(beside_caller(path), config_file, variables, connections)
        refuse_unsupported(pipeline.graph)
        super().__init__(group_id=group_id or task_id_of(pipeline.name), **kwargs)
        plan = plan_of(pipeline, services, scope=str(self.group_id))
        with self:
            tasks = add_graph(pipeline.graph, plan, self)
        self.success = tasks[pipeline.graph.success.name]
        self.fail = tasks[pipeline.graph.fail.name]


def loaded(
    file: Path,
    config_file: str | os.PathLike[str] | None = None,
    variables: Mapping[str, str] | None = None,
    connections: Mapping[str, str | None] | None = None,
) -> tuple[Pipeline, ServiceSources]:
    """A pipeline and where its services come from on Airflow: its files, then connections.

    :param connections: ``catalog``, ``run_log``, ``secrets`` → Airflow connection; those of the file win.
    :raises PipelineError: with every fault of the file, or when it names a service that cannot be used.
    """
    known = read_variables(None, os.environ) | dict(variables or {})
    pipeline = plan_cache.load(file, known, plan_cache.plans_folder())
    folder = pipeline.path.parent.resolve()
    config = beside_caller(config_file) if config_file else None
    settings = resolve_services(config, pipeline.services, folder, known)
    _refuse_buffered(settings, pipeline)
    ids = {**{k: v for k, v in (connections or {}).items() if v}, **pipeline.connections}
    return pipeline, ServiceSources(settings, {_SERVICE_OF[k]: conn_id for k, conn_id in ids.items()}, folder)


def _refuse_buffered(settings: Mapping[str, ServiceSettings], pipeline: Pipeline) -> None:
    if settings.get("run_log_store", ServiceSettings("")).type == "buffered":
        message = (
            "a buffered run log lives in one process and cannot be used on Airflow: use file-system, s3 or db, "
            "or remove the section to use the connection magnus_run_log_default"
        )
        raise PipelineError([Fault(None, str(pipeline.path), message)])


def plan_of(pipeline: Pipeline, services: ServiceSources, scope: str = "") -> Plan:
    """What the tasks of a pipeline have in common on Airflow: private working folders, one run a DAG run."""
    return Plan(
        services=services,
        workspace=private_workspace(pipeline.path.parent.resolve(), stores_of(services)),
        run=run_settings(pipeline, scope),
    )


def run_settings(pipeline: Pipeline, scope: str = "") -> RunSettings:
    """How the runs of a pipeline are known."""
    return RunSettings(
        pipeline=pipeline.name,
        dag_hash=pipeline.dag_hash,
        definition=pipeline.definition,
        sub_definitions=pipeline.sub_definitions,
        scope=scope,
        parameters=tuple(pipeline.parameters),
        defaults={name: p.default for name, p in pipeline.parameters.items() if p.has_default},
    )


def stores_of(services: ServiceSources) -> tuple[Path, ...]:
    """The folders of run logs and catalogs that lie on the file system by the settings of files."""
    keys = ("log_folder", "catalog_location")
    named = [s.config[key] for s in services.settings.values() for key in keys if s.config.get(key)]
    return tuple((services.folder or Path()) / str(path) for path in named)


def private_workspace(folder: Path, left_out: tuple[Path, ...] = ()) -> WorkspaceSettings:
    """Private copies of the pipeline's folder, as the ``[magnus]`` section of Airflow's configuration says."""
    from airflow.providers.common.compat.sdk import conf

    parent = conf.get("magnus", "work_folder", fallback="")
    return WorkspaceSettings(
        source=folder,
        left_out=left_out,
        parent=Path(parent) if parent else None,
        has_links=conf.getboolean("magnus", "link_working_copy", fallback=False),
        is_kept=conf.getboolean("magnus", "keep_work_folders", fallback=False),
    )


def beside_caller(path: str | os.PathLike[str]) -> Path:
    """A path as the DAG file that is being read means it: relative to itself."""
    given = Path(path).expanduser()
    if given.is_absolute():
        return given
    frame = sys._getframe(1)
    package = str(Path(__file__).parents[1])
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        frame = frame.f_back
    caller = Path(frame.f_code.co_filename)
    beside = caller.parent / given
    return beside if caller.exists() and (beside.exists() or not given.exists()) else given.resolve()
