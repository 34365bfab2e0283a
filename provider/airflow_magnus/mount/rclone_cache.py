"""The files that rclone keeps of a bucket: which of them the store may not have.

Layout, of rclone 1.53 and later: ``vfs/<remote>/<bucket>/<key>`` has the bytes, ``vfsMeta/…`` of the same name what
is known of them, as JSON. The name of a remote that stands in the environment has a suffix, such as ``{Jtpws}``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_magnus.mount.engine import Held


@dataclass(frozen=True)
class RcloneCache:
    """The cache of one bucket.

    :param folder: what rclone was given as ``--cache-dir``.
    """

    folder: Path
    bucket: str

    def dirty(self) -> list[Held]:
        """Files that were changed and not sent. One whose record cannot be read counts as such."""
        return [held for held, record in self._files() if record.get("Dirty", True)]

    def whole(self) -> dict[str, Path]:
        """Files of which all bytes are there, by key."""
        return {held.name: held.path for held, _ in self._files() if held.is_whole and held.path.exists()}

    def _files(self) -> Iterator[tuple[Held, dict[str, Any]]]:
        for remote in self.folder.glob("vfsMeta/*"):
            root = remote / self.bucket
            for folder, _, names in os.walk(root):
                for name in names:
                    below = Path(folder, name).relative_to(root)
                    record = _record(root / below)
                    if record is not None:
                        yield (
                            _held(self.folder / "vfs" / remote.name / self.bucket, str(below), record),
                            record,
                        )


def _held(root: Path, name: str, record: dict[str, Any]) -> Held:
    path, size = root / name, int(record.get("Size") or 0)
    with suppress(OSError):
        size = path.stat().st_size  # of a file that is still open the record is an old one
    end = 0
    for part in sorted(record.get("Rs") or [], key=lambda part: int(part["Pos"])):
        if part["Pos"] > end:
            break
        end = max(end, part["Pos"] + part["Size"])
    return Held(name, size, path, is_whole=end >= size)


def _record(path: Path) -> dict[str, Any] | None:
    """What is known of a file; None: it was removed meanwhile."""
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return record
