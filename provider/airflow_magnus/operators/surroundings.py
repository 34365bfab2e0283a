"""What is around a step's command while it runs: folder, environment, the API, the S3 endpoint."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from airflow_magnus import api
from airflow_magnus.operators.environment import (
    PARAMETERS_FILE,
    child_environment,
    children_end_on_sigterm,
    code_path,
    item_variable,
    parameter_variables,
    replaced_environment,
    run_variables,
)
from airflow_magnus.operators.server import StepServer
from airflow_magnus.operators.session import StepSession

if TYPE_CHECKING:
    from airflow_magnus.operators.step import StepMixin


@contextmanager
def surroundings(step: StepMixin, session: StepSession) -> Iterator[None]:
    """The surroundings of one attempt; the step is told of the environment of its children, and of its own."""
    server = StepServer(session)
    with ExitStack() as stack:
        stack.enter_context(session.endpoint.in_use())
        server.start()
        stack.callback(server.stop)
        parameters_file = session.write_parameters_file()
        stack.callback(parameters_file.unlink, missing_ok=True)
        own = {
            api.SESSION_VARIABLE: server.address,
            PARAMETERS_FILE: str(parameters_file),
            **run_variables(session.header),
            **parameter_variables(session.parameters, session.warnings if step.reads_environment else []),
            **item_variable(session.variables),
        }
        step.child_environment = child_environment(own)
        stack.enter_context(replaced_environment(step.process_environment(own)))
        stack.enter_context(code_path(session.workspace.folder.resolve(), step.step.workspace.code))
        stack.enter_context(children_end_on_sigterm())
        api.enter(session)
        stack.callback(api.enter, None)
        step.own_environment = dict(os.environ)
        yield
