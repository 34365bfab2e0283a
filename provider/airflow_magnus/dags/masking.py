"""Keep secrets out of what a process prints; on Airflow the supervisor of a task does this.

Importing this module must not import Airflow.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO


@contextmanager
def masked_output() -> Iterator[None]:
    """Standard output and error of this process with every secret that Airflow's masker knows shown as ``***``.

    What a child writes to the terminal by itself is beyond reach.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Masked(sys.stdout), _Masked(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _Masked:
    """A text stream that masks each text before it is written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text without its secrets."""
        return self._stream.write(_without_secrets(text))

    def writelines(self, lines: Iterable[str]) -> None:
        """Write the lines without their secrets."""
        self._stream.writelines(map(_without_secrets, lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _without_secrets(text: str) -> str:
    log = sys.modules.get("airflow.sdk.log")  # no secret was read before it was imported
    return str(log.redact(text)) if log is not None else text
