"""The mixin that makes any operator a step of a pipeline.

``pre_execute`` claims the attempt and gets the inputs, ``execute`` is the operator's own, ``post_execute`` puts the
outputs and closes the attempt. A failure at any place closes the attempt as failed; a process that is killed leaves it
open, and the next attempt, a terminal node or a reader closes it.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk.exceptions import AirflowTaskTerminated, AirflowTaskTimeout

from airflow_magnus.errors import StepFailedError
from airflow_magnus.hooks.services import open_services
from airflow_magnus.operators.environment import (
    METRIC,
    PARAMETER,
    variables_set,
    with_shim,
)
from airflow_magnus.operators.fingerprint import earlier_result, fingerprint
from airflow_magnus.operators.identity import code_identities
from airflow_magnus.operators.interruption import interrupt
from airflow_magnus.operators.links import links_of_steps
from airflow_magnus.operators.place import StepPlace, place_in_dag
from airflow_magnus.operators.record_task import reopen
from airflow_magnus.operators.recording import Recorded, as_attempt, own_init, record_unbegun
from airflow_magnus.operators.rerun import is_reused, restored
from airflow_magnus.operators.run import header_of, scheduler_ids
from airflow_magnus.operators.session import StepSession
from airflow_magnus.operators.settings import StepSettings
from airflow_magnus.operators.surroundings import surroundings
from airflow_magnus.operators.telling import TellsOfFiles
from airflow_magnus.operators.template_fields import SHOWN, shown_fields
from airflow_magnus.operators.workspace import Workspace
from airflow_magnus.pipeline.model import CatalogRequest
from airflow_magnus.runlog.records import AttemptClosed
from airflow_magnus.runlog.run_places import place_of_run

log = logging.getLogger(__name__)
_OWN_OPERATORS = "airflow_magnus.operators."
"""Where the operators are that the plugin names."""


class StepMixin(TellsOfFiles):
    """Put in front of any operator class: ``class QueryStep(StepMixin, SQLExecuteQueryOperator): ...``.

    :param step: see :class:`StepSettings`.

    The command runs in the working folder. A deferrable operator has a fresh one after it resumes: what it wrote before
    is kept only if it was put by :func:`airflow_magnus.put_in_catalog`.
    """

    operator_extra_links: ClassVar[tuple[Any, ...]] = ()
    overwrite_rtif_after_execution = True
    is_magnus_step = True
    reads_environment = True
    """Whether the command has its parameters by environment variables, so that one left out is worth a warning."""
    result_is_parameters = False
    """Whether what ``execute`` returns is a mapping of parameters."""
    runs_code = True
    """Whether code of the user's runs that the command does not hold itself."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" not in cls.__dict__:
            cls.__init__ = own_init(cls)  # type: ignore[method-assign]
        own = cls.__dict__.get("execute")
        if own is not None and not getattr(own, "is_magnus_attempt", False):
            cls.execute = as_attempt(own)  # type: ignore[method-assign]
        cls.template_fields, cls.template_fields_renderers = shown_fields(cls)
        cls.operator_extra_links = links_of_steps(by_plugin=cls.__module__.startswith(_OWN_OPERATORS))

    # Of the class: Airflow looks at each attribute that is set on a task, and a DAG has thousands.
    run_parameters: Mapping[str, Any] | None = None
    child_environment: Mapping[str, str]
    own_environment: Mapping[str, str]
    _session: StepSession | None = None
    _open: ExitStack | None = None
    _result: Any = None
    _is_attempting = False
    _taken: AttemptClosed | None = None
    template_fields: ClassVar[Sequence[str]]
    template_fields_renderers: ClassVar[dict[str, str]]

    def __init__(self, *, step: StepSettings | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step or StepSettings()
        self.step.endpoint  # noqa: B018 - wrong ones are refused where the DAG is made
        self.catalog_get = tuple(self.step.get)
        self.catalog_put = tuple(self.step.put)
        self.expect_files()

    @property
    def step_name(self) -> str:
        """What the run log calls the step."""
        return self.step.name or str(self.task_id)  # type: ignore[attr-defined]

    # what Airflow calls, in this order

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Render templates; a failure to do so is an attempt that failed."""
        get, put = self.catalog_get, self.catalog_put
        # A pattern such as *.sh would be taken for the name of a template file.
        self.catalog_get = self.catalog_put = ()
        try:
            super().render_template_fields(context, jinja_env)  # type: ignore[misc]
            env = jinja_env or self.get_template_env()  # type: ignore[attr-defined]
            self.catalog_get = tuple(env.from_string(pattern).render(context) for pattern in get)
            self.catalog_put = tuple(env.from_string(pattern).render(context) for pattern in put)
        except BaseException as error:
            self._record_failure(context, error)
            raise

    def pre_execute(self, context: Any) -> None:
        """Claim the attempt, read what the steps before have left, fetch the inputs.

        :raises AirflowSkipException: when no way through the pipeline leads here.
        """
        self.step.route.check(context)
        with Recorded(self, context):
            self._begin(context)
            super().pre_execute(context)  # type: ignore[misc]

    def execute(self, context: Any) -> Any:
        """Run the operator's own command."""
        return self._attempt(context, functools.partial(super().execute, context))  # type: ignore[misc]

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Go on after a deferral."""
        run = functools.partial(super().resume_execution, next_method, next_kwargs, context)  # type: ignore[misc]
        return self._attempt(context, run)

    def post_execute(self, context: Any, result: Any = None) -> None:
        """Store the outputs and close the attempt: from here on later steps see them."""
        with Recorded(self, context):
            super().post_execute(context)  # type: ignore[misc]
            session = self._current
            run_log, run_id = session.services.run_log, session.header.run_id
            if self._taken is not None:
                closed = self._taken
            else:
                self.collect(session, self._result)
                session.refuse_secrets()
                session.put_outputs()
                closed = session.closed("SUCCESS", identities=code_identities(self._code_folder, context))
            run_log.close(run_id, closed)
            self.tell_of_files(context, session.header, closed, was_run=self._taken is None)
            session.endpoint.drop()
            if self.step.is_cached and closed.fingerprint:
                run_log.keep_fingerprint(run_id, closed)
            for warning in session.warnings:
                log.warning("%s", warning)
        self._end()

    def on_kill(self) -> None:
        """Stop the command; the task was ended from outside."""
        try:
            super().on_kill()  # type: ignore[misc]
        except Exception:
            log.exception("the command could not be stopped")
        if not isinstance(sys.exc_info()[1], AirflowTaskTimeout):
            interrupt(signal.SIGTERM)
            raise AirflowTaskTerminated(
                "the task was ended from outside (SIGTERM, marked or cleared in the UI)"
            )

    # what the kinds of step add

    def find(self, session: StepSession) -> None:
        """Called when the inputs are there, before it is asked whether the step has run already: fetch what is run."""

    def prepare(self, session: StepSession) -> None:
        """Called before the command: set up the command from the session."""
        if getattr(self, "cwd", "") is None:  # operators that would make a folder of their own
            self.cwd = str(session.workspace.folder.resolve())

    def collect(self, session: StepSession, result: Any) -> None:
        """Called after the command: take parameters from its result."""
        if self.result_is_parameters and result:
            if not isinstance(result, Mapping):
                raise StepFailedError(
                    f"step {self.step_name!r} returned {type(result).__name__}: return a dict of parameters, or nothing"
                )
            session.set_values(result)

    def parameters_read(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Of the run's parameters those that the command can read."""
        return parameters

    def known_by(self) -> dict[str, Any]:
        """What is run and with what, as far as the operator knows: part of the step's fingerprint."""
        shown = [name for name in self.template_fields if name not in SHOWN]
        return {
            "operator": type(self).__name__,
            **{name: getattr(self, name, None) for name in shown},
            "parameters": self.parameters_read(self._current.parameters),
        }

    def finish(self) -> None:
        """Called when the command has ended, however it did: leave nothing running."""

    def failure_message(self, error: BaseException) -> str:
        """What the run log says of a failed attempt."""
        text = str(error).strip()
        return f"{type(error).__name__}: {text}" if text else type(error).__name__

    # the attempt

    @property
    def _current(self) -> StepSession:
        assert self._session is not None, "pre_execute has not run"
        return self._session

    def place_now(self, context: Any) -> StepPlace:
        """Where the step stands, for the items that this task runs for."""
        place = self.step.place or place_in_dag(self, self.step_name)
        return place.at(self.step.route.items(context))

    @property
    def _code_folder(self) -> Path:
        return self.step.workspace.source or Path.cwd()

    def _begin(self, context: Any) -> None:
        """Everything before the command; done again, with the same attempt, when a deferred task resumes."""
        self._open = ExitStack()
        services = open_services(self.step.services)
        header = header_of(self.step.run, services, context)
        self.magnus_run_id, self.magnus_run_place = header.run_id, place_of_run(header)
        place = self.place_now(context)
        attempt = services.run_log.open_attempt(
            header.run_id, place.identity, str(context["ti"].id), scheduler_ids(context)
        )
        if (end_again := reopen(self, self.step.run, context, services, header)) is not None:
            self._open.callback(end_again)
        folder = self.step.compute_data_folder or services.compute_data_folder
        request = CatalogRequest(folder, self.catalog_get, self.catalog_put)
        workspace = Workspace(self.step.workspace, folder)
        seen = place.visible(services.run_log, header)
        self._session = StepSession(
            services, header, attempt, seen, workspace, request, variables=dict(place.variables)
        )
        if attempt.is_first and is_reused(header, place.identity):
            self._taken = restored(attempt.opened, header, services)
            log.info("not run again: it succeeded in run %s", header.original_run_id)
            return
        workspace.open()
        self._open.callback(workspace.close)
        self._session.find_endpoint(self.step.endpoint, self.step.services)
        self._session.get_inputs()
        self.find(self._session)
        self.run_parameters = {**self._session.parameters, **self._session.variables}
        code = code_identities(self._code_folder, context) if self.runs_code else None
        self._session.fingerprint = fingerprint(self.known_by(), self._session, code)
        if self.step.is_cached:
            self._taken = earlier_result(self._session)
        if self._taken is None:
            self._open.enter_context(self._session.endpoint)

    def _attempt(self, context: Any, run: Callable[[], Any]) -> Any:
        """Run the command once, whatever the chain of overridden ``execute`` methods."""
        if self._taken is not None:
            return None
        if self._is_attempting:
            return run()
        self._is_attempting = True
        try:
            with Recorded(self, context), surroundings(self, self._current):
                self.prepare(self._current)
                try:
                    self._result = run()
                finally:
                    self.finish()
                self._collect_environment()
                self._current.endpoint.check()
                return self._result
        except TaskDeferred:
            with Recorded(self, context):
                self._suspend()
            raise
        finally:
            self._is_attempting = False

    def process_environment(self, own: Mapping[str, str]) -> Mapping[str, str]:
        """The environment of this process while the command runs."""
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(PARAMETER)}
        return with_shim(inherited | dict(own))

    def _collect_environment(self) -> None:
        """Take what code set by way of the environment, as the original allows."""
        session = self._current
        session.metrics.update(variables_set(self.own_environment, METRIC))
        session.set_values(variables_set(self.own_environment, PARAMETER))

    def _record_failure(self, context: Any, error: BaseException) -> None:
        """Close the attempt as failed; one that never began is opened for it."""
        message = self.failure_message(error)
        try:
            if self._session is not None:
                self._session.endpoint.note_failure()
                identities = code_identities(self._code_folder, context)
                closed = self._session.closed("FAIL", message, identities)
                self._session.services.run_log.close(self._session.header.run_id, closed)
                self.recorded = self._session.header, closed
                self._session.forget_outputs()
            else:
                record_unbegun(self, context, message)
        except Exception:
            log.exception("the run log could not be told of this failure: %s", message)
        finally:
            if self._session is not None:
                self._session.endpoint.give_up()
            self._end()

    def _suspend(self) -> None:
        """Keep what the attempt has made so far; it goes on in another process."""
        session = self._current
        session.put_written()
        if session.set_parameters or session.put or session.metrics or session.endpoint.accesses:
            session.services.run_log.carry(session.header.run_id, session.closed("SUCCESS"))
        session.endpoint.drop()
        self._end()

    def _end(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = self._session = None
