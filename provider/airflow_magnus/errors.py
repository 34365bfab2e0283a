"""Every error of this package: one root, and two marks that decide whether trying again can help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class MagnusError(Exception):
    """Root of all errors raised on purpose by this package."""


class TerminalError(MagnusError):
    """Trying again gives the same result: Airflow does not retry the task."""


class TransientError(MagnusError):
    """Trying again may help: Airflow retries the task as often as the step says."""


@dataclass(frozen=True, order=True)
class Position:
    """A place in a file; line and column count from 1."""

    file: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in a file.

    :param position: where, or None when the file cannot be read at all.
    :param path: the dotted path of the faulty value, such as ``dag.steps.train.next``; "" for the whole file.
    :param message: what is wrong, what is allowed and what to do.
    """

    position: Position | None
    path: str
    message: str

    def __str__(self) -> str:
        return ": ".join(str(part) for part in (self.position, self.path, self.message) if part)


class PipelineError(TerminalError, ValueError):
    """A pipeline file, a configuration or a set of parameters is refused; ``faults`` names every reason."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


class ConfigurationError(TerminalError, ValueError):
    """A service, connection or setting cannot be used as it is."""


class ParameterError(TerminalError, ValueError):
    """A parameter cannot be read, stored or handed out."""


class RunNotFoundError(TerminalError, LookupError):
    """No run of this id is in the run log store."""


class RerunRefusedError(RunNotFoundError):
    """The run that a re-run is to take up cannot be; nothing was run, and there is no run log."""


class RunCollectedError(TerminalError, LookupError):
    """The files of a run were removed from the catalog as old, and something of it is needed."""


class RunIdTakenError(TerminalError, ValueError):
    """A run id was given that another run has already."""


class RecordError(TerminalError, ValueError):
    """An object of the run log cannot be read, or could not be read again if it were written."""


class AttemptLostError(TerminalError):
    """Another attempt of the same step has taken over; what this one made is not recorded."""


class CatalogError(MagnusError, OSError):
    """The catalog could not do what a step asked of it."""


class CatalogEntryNotFoundError(CatalogError, FileNotFoundError):
    """The catalog of this run holds nothing of that name."""


class DigestMismatchError(CatalogError, TransientError):
    """The bytes that arrived are not those that were recorded."""


class SecretNotFoundError(TerminalError, KeyError):
    """The secrets store has no secret of that name."""

    def __str__(self) -> str:  # KeyError would print the repr
        return str(self.args[0]) if self.args else ""


class SecretLeakError(TerminalError, ValueError):
    """A step tried to store a secret where everybody can read it."""


class StoreError(TransientError, OSError):
    """A store did not answer as it should."""


class StepFailedError(MagnusError, RuntimeError):
    """The command of a step failed."""


class MissingExtraError(TerminalError, ImportError):
    """An optional dependency is needed and not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs an optional dependency: pip install 'airflow-provider-magnus[{extra}]'"
        )


class RunInterruptedError(TerminalError):
    """A signal has ended a run of the command line.

    :param number: of the signal.
    """

    def __init__(self, run_id: str, number: int) -> None:
        super().__init__(
            f"run {run_id} was interrupted: its run log says FAIL, and --use-cached {run_id} takes it up where it was"
        )
        self.number = number
