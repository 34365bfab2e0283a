"""What is known on disk of mounts that are there, for whoever comes when their task has died."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_magnus.mount.places import Place
from airflow_magnus.mount.processes import ProcessMark, machine

_VERSION = 1


def state_folder() -> Path:
    """Where the mounts of this user on this machine are noted, if nobody says otherwise; made where it is not."""
    return private(Path(tempfile.gettempdir()) / f"airflow-magnus-mounts-{os.geteuid()}")


def private(folder: Path) -> Path:
    """Make a folder for this user alone, where it is not.

    :raises PermissionError: when it is another's.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.geteuid() or folder.is_symlink():
        raise PermissionError(f"{folder} belongs to another user: remove it, or choose another folder")
    folder.chmod(0o700)
    return folder


@dataclass
class MountState:
    """The mounts of one task. No secrets: the gateway's token ends with it.

    :param path: of the file that says this.
    :param scratch: the folder with all that the engines keep; goes when the mounts have ended.
    :param task: whose mounts they are.
    :param supervisor: who ends them.
    :param engines: bucket to the process of its engine.
    :param made: folders that were made for the mounts, and go with them.
    :param is_gateway_gone: nothing can be brought to the store any more.
    """

    path: Path
    engine: str
    scratch: Path
    places: list[Place]
    task: ProcessMark
    supervisor: ProcessMark = field(default_factory=lambda: ProcessMark(0, ""))
    engines: dict[str, ProcessMark] = field(default_factory=dict)
    made: list[Path] = field(default_factory=list)
    machine: dict[str, str] = field(default_factory=machine)
    is_gateway_gone: bool = False

    @property
    def is_here(self) -> bool:
        """Whether it tells of this machine, where its numbers of processes mean what they meant."""
        here = machine()
        if self.machine["host"] != here["host"]:
            return False
        return self.machine["boot"] != here["boot"] or self.machine["pids"] == here["pids"]

    @property
    def is_since_boot(self) -> bool:
        """Whether the machine was not started anew since."""
        return self.machine["boot"] == machine()["boot"]

    def write(self) -> None:
        """Note it, whole or not at all."""
        values = {
            "version": _VERSION,
            "engine": self.engine,
            "scratch": str(self.scratch),
            "mounts": [{**place.as_json(), **_mark(self.engines.get(place.bucket))} for place in self.places],
            "task": _mark(self.task),
            "supervisor": _mark(self.supervisor),
            "made": [str(folder) for folder in self.made],
            "machine": self.machine,
            "is_gateway_gone": self.is_gateway_gone,
        }
        new = self.path.with_suffix(f".{secrets.token_hex(4)}.new")
        new.write_text(json.dumps(values, indent=1), encoding="utf-8")
        new.replace(self.path)

    def forget(self) -> None:
        """Remove the note."""
        self.path.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: Path) -> MountState:
        """What a note says.

        :raises OSError: when it is not there.
        :raises ValueError: when it is no such note.
        """
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            marks = {one["bucket"]: _process(one) for one in values["mounts"]}
            return cls(
                path=path,
                engine=values["engine"],
                scratch=Path(values["scratch"]),
                places=[Place.of(one) for one in values["mounts"]],
                task=_process(values["task"]),
                supervisor=_process(values["supervisor"]),
                engines={bucket: mark for bucket, mark in marks.items() if mark.pid},
                made=[Path(folder) for folder in values["made"]],
                machine=values["machine"],
                is_gateway_gone=values["is_gateway_gone"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} does not tell of mounts: {error!r}") from None


def noted(folder: Path) -> Iterator[MountState]:
    """The mounts that are noted in a folder; what cannot be read is passed over."""
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError, ValueError):
            yield MountState.read(path)


def _mark(process: ProcessMark | None) -> dict[str, Any]:
    return {"pid": process.pid, "started": process.started} if process is not None else {}


def _process(values: dict[str, Any]) -> ProcessMark:
    return ProcessMark(int(values.get("pid", 0)), str(values.get("started", "")))
