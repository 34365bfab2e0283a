"""Names of steps and files as ids that Airflow accepts, no two names with one id.

Letters, digits and ``_`` of ASCII stay as they are. One character (a space in tasks, a ``-`` in DAGs) becomes ``-``
unless the same character stands before it; every other becomes ``--<code point in hex>-``. Reading from the left, a ``-``
that is not the start of ``--<hex>-`` is the single one, so an id has one name only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import PurePath

MAX_TASK_ID = 180
"""Characters of the longest task id; Airflow allows 250, the groups around a task need the rest."""
MAX_DAG_ID = 250
"""Characters of the longest DAG id. Source: Airflow's ``dag.dag_id`` column."""
MAX_RUN_ID = 180
"""Characters of the longest run id: it names a folder and begins keys."""

_PLAIN = re.compile(r"[A-Za-z0-9_]")
_SHORTENED = re.compile(r"--z[0-9a-f]{16}$")


def task_id_of(name: str) -> str:
    """Give the task id of a step's or branch's name: ``step shell`` → ``step-shell``.

    An id longer than :data:`MAX_TASK_ID` is cut and ends with a hash of the name.
    """
    return _shortened(_encoded(name, single=" "), name, MAX_TASK_ID)


def own_id(name: str, beside: Iterable[str]) -> str:
    """The id of a task or group of ours that stands beside steps or branches of the file, which may be called so too.

    :param beside: names of those.
    """
    return f"--{name}" if name in {task_id_of(other) for other in beside} else name


def dag_id_of(relative_path: PurePath) -> str:
    """Give the DAG id of a pipeline file: ``sales/getting-started.yaml`` → ``sales.getting-started``.

    :param relative_path: from the folder of pipelines. Its ending is left out, so ``a.yaml`` and ``a.yml`` have the same id.
    """
    *folders, _ = relative_path.parts
    names = [*folders, relative_path.stem]
    return _shortened(".".join(_encoded(name, single="-") for name in names), "/".join(names), MAX_DAG_ID)


def _encoded(name: str, single: str) -> str:
    parts: list[str] = []
    before = ""
    for character in name:
        if _PLAIN.match(character):
            parts.append(character)
        elif character == single and before != single:
            parts.append("-")
        else:
            parts.append(f"--{ord(character):x}-")
        before = character
    return "".join(parts)


def _shortened(encoded: str, name: str, limit: int) -> str:
    looks_shortened = len(encoded) == limit and _SHORTENED.search(encoded)
    if len(encoded) <= limit and not looks_shortened:
        return encoded
    digest = hashlib.sha1(name.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()[:16]
    return f"{encoded[: limit - 3 - len(digest)]}--z{digest}"


def safe_run_id(text: str) -> str:
    """A run id that is fit for folders, keys and shells: letters, digits and ``_ . = @ -``."""
    safe = re.sub(r"[^A-Za-z0-9_.=@-]+", "-", text).strip(".-") or "run"
    safe = re.sub(r"\.json$", "-json", safe)  # a run's document ends so
    if len(safe) > MAX_RUN_ID:
        safe = f"{safe[: MAX_RUN_ID - 17]}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return safe
