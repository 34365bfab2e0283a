"""What runs in a container, whichever engine runs it: its files, its environment, and what it gives back."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_magnus.errors import StepFailedError
from airflow_magnus.operators.environment import PARAMETER, PARAMETERS_FILE
from airflow_magnus.operators.session import StepSession

CONTEXT = "/opt/magnus"
"""Where a container sees the step's folder."""
_PARAMETERS = "magnus-parameters.json"
_OF_THE_RUN = ("MAGNUS_RUN_ID", "MAGNUS_RUN_TAG")


@dataclass(frozen=True)
class Shared:
    """A folder that worker and container both see.

    :param folder: as the worker sees it, absolute.
    :param target: as the container sees it.
    :param is_own: made for this attempt alone.
    """

    folder: Path
    target: str
    is_read_only: bool = False
    is_own: bool = False


class Job:
    """Base of the two kinds of job. It is set up by :meth:`open` for one attempt, and taken down by :meth:`close`.

    :ivar arguments: given to ``entrypoint``, or to that of the image when there is none.
    :ivar secrets: variables that nobody may see.
    """

    needs_folder = True
    """Whether it can do nothing without a folder that worker and container share."""

    def __init__(self) -> None:
        self.entrypoint: list[str] | None = None
        self.arguments: str | list[str] | None = None
        self.working_dir: str | None = None
        self.shares: list[Shared] = []
        self.environment: dict[str, str] = {}
        self.secrets: dict[str, str] = {}
        self._folder: Path | None = None

    def open(self, session: StepSession, variables: Mapping[str, str], parent: Path | None) -> None:
        """Make the files and the environment.

        :param variables: those of the step's children on this machine.
        :param parent: below it worker and container share folders; None: they share nothing.
        """
        given = {*_OF_THE_RUN, *session.endpoint.variables}
        self.environment = {
            name: text for name, text in variables.items() if name.startswith(PARAMETER) or name in given
        }
        self.secrets = {name: variables[name] for name in session.endpoint.tokens}
        self.shares = []
        if parent is not None:
            parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix="magnus-container-", dir=parent)).resolve()

    def give(self, session: StepSession) -> None:
        """Give the step what the container has left; called when it has succeeded, before :meth:`close`."""

    def close(self) -> None:
        """Remove the files."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None
        self.secrets = {}

    def _write_json(self, name: str, value: Any) -> None:
        assert self._folder is not None
        (self._folder / name).write_text(json.dumps(value), encoding="utf-8")


class ImageJob(Job):
    """``command_type: container``: an image with its own programs. Source: spec §7.5.

    :param command: as in the file, split as a shell splits words; "" for the image's own.
    :param secrets: names of secrets, each given as the variable of its name.
    """

    needs_folder = False

    def __init__(
        self,
        *,
        command: str = "",
        context_path: str = CONTEXT,
        data_folder: str = "data",
        output_parameters_file: str = "parameters.json",
        secrets: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.arguments = command or None
        self._context = context_path.rstrip("/")
        self._data = data_folder
        self._output = output_parameters_file
        self._wanted = tuple(secrets)

    def open(self, session: StepSession, variables: Mapping[str, str], parent: Path | None) -> None:
        """Share a folder of its own, with a file of the parameters, and in it the compute data folder."""
        super().open(session, variables, parent)
        self.secrets |= {name: str(session.call("get_secret", {"name": name})) for name in self._wanted}
        if self._folder is None:
            return
        self._write_json(_PARAMETERS, session.parameters)
        (self._folder / self._data).mkdir(parents=True, exist_ok=True)
        (self._folder / self._output).parent.mkdir(parents=True, exist_ok=True)
        data = session.workspace.data.resolve()
        data.mkdir(parents=True, exist_ok=True)
        self.shares = [
            Shared(self._folder, self._context, is_own=True),
            Shared(data, f"{self._context}/{self._data}"),
        ]
        self.environment[PARAMETERS_FILE] = f"{self._context}/{_PARAMETERS}"

    def give(self, session: StepSession) -> None:
        """Set the parameters that the container has written, if it has.

        :raises StepFailedError: when the file is not a JSON object.
        """
        if self._folder is not None:
            session.set_values(left_in(self._folder, self._output, f"{self._context}/{self._output}"))


def left_in(folder: Path, name: str, shown: str) -> dict[str, Any]:
    """The JSON object of a file that a container may have left in a shared folder; {} when it has not.

    :param shown: what messages call the file.
    :raises StepFailedError: when it is something else.
    """
    path = folder / name
    if not path.is_symlink() and not path.exists():
        return {}
    # A container could leave a link to a file that only the worker may read.
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        raise StepFailedError(f"the container left {shown}, and it is no file: write a JSON object into it")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise StepFailedError(
            f"the container left {shown}, and it cannot be read as JSON ({error}): write a JSON object, name → value"
        ) from error
    if not isinstance(found, dict):
        raise StepFailedError(
            f"the container left {shown}, and it holds {type(found).__name__}: write a JSON object, name → value"
        )
    return found
