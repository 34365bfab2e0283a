"""Steps that pass without running: executor ``mocked``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_magnus.operators.commands import CommandStep
from airflow_magnus.operators.session import StepSession
from airflow_magnus.operators.settings import StepSettings


class MockedStep(CommandStep, BaseOperator):
    """Succeeds at once. Its record says ``mock: true`` and has no attempt; nothing is got or put.

    :param command: what the step would run, for people to see.
    :param returns: parameters that it sets as if it had run.
    """

    template_fields = ("command", "returns")
    reads_environment = False
    runs_code = False

    def __init__(
        self,
        *,
        command: str = "",
        returns: Mapping[str, Any] | None = None,
        step: StepSettings | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            step=replace(
                step or StepSettings(), get=(), put=(), s3=None, mount=None, catalog=None, is_cached=False
            ),
            **kwargs,
        )
        self.command = command
        self.returns = dict(returns or {})

    def prepare(self, session: StepSession) -> None:
        """Set the parameters, and let the step be recorded as one that was not run."""
        session.set_values(self.returns)
        made = {"mock": True, "is_attempt": False, "fingerprint": ""}
        self._taken = session.closed("SUCCESS").model_copy(update=made)

    def execute(self, context: Any) -> None:
        """Nothing."""
