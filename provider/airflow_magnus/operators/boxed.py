"""A step's command as a job for a container: executor ``local-container`` and ``k8s-job``."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_magnus import api, errors
from airflow_magnus.errors import CatalogError
from airflow_magnus.operators import calling
from airflow_magnus.operators.calling import executed_copy
from airflow_magnus.operators.environment import PARAMETERS_FILE, SCRATCH, SHIM
from airflow_magnus.operators.jobs import CONTEXT, Job, Shared, left_in
from airflow_magnus.operators.server import StepServer
from airflow_magnus.operators.session import StepSession
from airflow_magnus.operators.workspace import WorkspaceSettings
from airflow_magnus.runlog.definition import items_around

_STEP = "/opt/magnus-step"
_CODE = "/opt/magnus-code"
_SESSION = "/opt/magnus-session"
_SHELL = (
    'export PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$MAGNUS_SHIM"; unset MAGNUS_SHIM; exec /bin/sh -c "$1"'
)
"""The image's own PYTHONPATH stays in front."""
COMMANDS = ("python", "python-lambda", "shell", "notebook")


class CommandJob(Job):
    """The command of a step, in an image that has what it needs but nothing of this package.

    :param kind: one of :data:`COMMANDS`.
    :param config: the step's ``command_config``.
    :param can_call: whether the container can reach a socket of the worker, so that the API works in it.
    """

    def __init__(
        self,
        kind: str,
        command: str,
        config: Mapping[str, Any],
        workspace: WorkspaceSettings,
        *,
        can_call: bool = True,
    ) -> None:
        super().__init__()
        self.needs_folder = kind != "shell"
        self._kind = kind
        self._command = command
        self._output_path = config.get("notebook_output_path")
        self._output = ""
        self._kernel = config.get("kernel")
        self._workspace = workspace
        self._can_call = can_call
        self._server: StepServer | None = None

    def open(self, session: StepSession, variables: Mapping[str, str], parent: Path | None) -> None:
        """Share the working folder, and a folder with the script that calls the function."""
        super().open(session, variables, parent)
        self._set_command()
        if self._folder is None:
            return
        self.working_dir = CONTEXT
        self.shares = [
            Shared(session.workspace.folder.resolve(), CONTEXT),
            Shared(self._folder, _STEP, is_own=True),
            *self._code_shares(),
        ]
        self._fill(self._folder, session)
        self.environment |= {PARAMETERS_FILE: f"{_STEP}/parameters.json", SCRATCH: f"{_STEP}/tmp"}
        if self._kind == "shell":
            self.environment["MAGNUS_SHIM"] = f"{_STEP}/code/shim"
        if self._can_call:
            self._server = StepServer(Translating(session, self.shares))
            self._server.start()
            socket = Path(self._server.address)
            self.shares.append(Shared(socket.parent, _SESSION))
            self.environment[api.SESSION_VARIABLE] = f"{_SESSION}/{socket.name}"
        else:
            self.environment[api.UNREACHABLE] = "a pod cannot call the worker that waits for it"

    def _set_command(self) -> None:
        if self._kind == "shell":
            self.entrypoint = ["/bin/sh"]
            has_shim = self._folder is not None
            self.arguments = ["-c", _SHELL, "sh", self._command] if has_shim else ["-c", self._command]
        else:
            self.entrypoint = ["python3"]
            self.arguments = [f"{_STEP}/calling.py", _CODE]

    def _code_shares(self) -> list[Shared]:
        settings = self._workspace
        shares = []
        if settings.code is not None:
            shares.append(Shared(settings.code.resolve(), _CODE, is_read_only=True))
        if settings.is_private and settings.has_links and settings.source is not None:
            source = settings.source.resolve()  # where the links lead
            shares.append(Shared(source, str(source), is_read_only=True))
        return shares

    def _fill(self, folder: Path, session: StepSession) -> None:
        items = items_around(session.header, session.opened.step.internal_name)
        self._output = executed_copy(self._command, self._output_path, items)
        (folder / "code" / "shim").mkdir(parents=True)
        (folder / "tmp").mkdir()
        shutil.copy(str(calling.__file__), folder / "calling.py")
        for module in (api, errors):
            shutil.copy(str(module.__file__), folder / "code")
        shutil.copy(SHIM / "magnus.py", folder / "code" / "shim")
        job = {
            "kind": self._kind,
            "command": self._command,
            "variables": dict(getattr(session, "variables", {})),  # the item of each map around the step
            "output": self._output,
            "kernel": self._kernel,
        }
        self._write_json("job.json", job)
        self._write_json("parameters.json", session.parameters)

    def give(self, session: StepSession) -> None:
        """Set what the function returned; keep the executed notebook, unless the step's own patterns do."""
        if self._folder is None or self._kind == "shell":
            return
        left = left_in(self._folder, "output.json", f"{_STEP}/output.json")
        session.metrics.update(left.get("metrics") or {})
        session.set_values(left.get("parameters") or {})
        if self._kind == "notebook":
            path = session.workspace.folder / self._output
            if not path.resolve().is_relative_to(session.workspace.data.resolve()):
                session.call("put_in_catalog", {"path": str(path), "name": path.name})

    def close(self) -> None:
        """Stop answering, remove the files."""
        if self._server is not None:
            self._server.stop()
        self._server = None
        super().close()


class Translating:
    """A session for code in a container: paths are those of the container, and only shared folders are touched."""

    def __init__(self, session: StepSession, shares: list[Shared]) -> None:
        self._session = session
        self._shares = shares

    def call(self, operation: str, arguments: Mapping[str, Any]) -> Any:
        """Answer one call of :mod:`airflow_magnus.api`."""
        translated = dict(arguments)
        for key in ("path", "folder"):
            if translated.get(key) is not None:
                translated[key] = str(self._on_worker(Path(translated[key])))
        return self._session.call(operation, translated)

    def _on_worker(self, path: Path) -> Path:
        for shared in self._shares:
            for seen in (Path(shared.target), shared.folder):
                if path.is_relative_to(seen):
                    found = shared.folder / path.relative_to(seen)
                    # The container could make a link to what only the worker may read.
                    if any(found.resolve().is_relative_to(s.folder) for s in self._shares):
                        return found
        targets = ", ".join(s.target for s in self._shares if not s.is_read_only)
        raise CatalogError(
            f"{path} lies in the container alone: only files below {targets} can be put in the catalog or fetched"
        )
