"""How a step's methods are wrapped so that no way out of them goes unrecorded."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_magnus.errors import RerunRefusedError, StepFailedError, TerminalError
from airflow_magnus.hooks.services import open_for_record
from airflow_magnus.operators.run import header_of, scheduler_ids
from airflow_magnus.operators.settings import StepSettings

if TYPE_CHECKING:
    from airflow_magnus.operators.step import StepMixin


class Recorded:
    """Records an error that leaves the block, and tells Airflow not to try again where that is of no use."""

    def __init__(self, step: StepMixin, context: Any) -> None:
        self._step = step
        self._context = context

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: Any) -> None:
        if error is None or isinstance(error, TaskDeferred):
            return
        if self._step._session is None and self._step._open is None:
            return  # recorded already
        self._step._record_failure(self._context, error)
        if isinstance(error, TerminalError) and not self._step._is_attempting:
            raise AirflowFailException(str(error)) from error
        if isinstance(error, AirflowSkipException):
            raise StepFailedError(f"the step skipped itself: {error}") from error


def record_unbegun(step: StepMixin, context: Any, message: str) -> None:
    """Record the failure of an attempt that could not begin: it is opened for that."""
    services = open_for_record(step.step.services)
    try:
        header = header_of(step.step.run, services, context, is_lenient=True)
    except RerunRefusedError:
        return  # there is no run log; the task fails with the same sentence
    place = step.place_now(context)
    opened = services.run_log.open_attempt(
        header.run_id, place.identity, str(context["ti"].id), scheduler_ids(context)
    ).opened
    services.run_log.close(header.run_id, opened.ended(status="FAIL", message=message))


def own_init(cls: type[StepMixin]) -> Callable[..., None]:
    """An ``__init__`` for a class that has none: Airflow's operators count on each class having its own."""

    def __init__(self: Any, *, step: StepSettings | None = None, **kwargs: Any) -> None:  # noqa: N807
        super(cls, self).__init__(step=step, **kwargs)

    return __init__


def as_attempt(execute: Callable[..., Any]) -> Callable[..., Any]:
    """An operator's own ``execute``, recorded."""

    @functools.wraps(execute)
    def attempt(self: StepMixin, context: Any) -> Any:
        return self._attempt(context, functools.partial(execute, self, context))

    attempt.is_magnus_attempt = True  # type: ignore[attr-defined]
    return attempt
