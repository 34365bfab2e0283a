"""The files that rclone keeps of a bucket: which of them the store may not have.

Layout, of rclone 1.53 and later: ``vfs/<remote>/<bucket>/<key>`` has the bytes, ``vfsMeta/…`` of the same name what
is known of them, as JSON.
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
    remote: str
    bucket: str

    def dirty(self) -> list[Held]:
        """Files that were changed and not sent. One whose record cannot be read counts as such."""
        return [self._held(name, record) for name, record in self._records() if record.get("Dirty", True)]

    def whole(self) -> dict[str, Path]:
        """Files of which all bytes are there, by key."""
        all_held = [self._held(name, record) for name, record in self._records()]
        return {held.name: held.path for held in all_held if held.is_whole and held.path.exists()}

    def _held(self, name: str, record: dict[str, Any]) -> Held:
        path = self.folder / "vfs" / self.remote / self.bucket / name
        size = int(record.get("Size") or 0)
        with suppress(OSError):
            size = path.stat().st_size
        end = 0
        for part in sorted(record.get("Rs") or [], key=lambda part: part["Pos"]):
            if part["Pos"] > end:
                break
            end = max(end, part["Pos"] + part["Size"])
        return Held(name, size, path, is_whole=end >= size)

    def _records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        root = self.folder / "vfsMeta" / self.remote / self.bucket
        for folder, _, names in os.walk(root):
            for name in names:
                path = Path(folder, name)
                record: dict[str, Any] = {}
                try:
                    record = json.loads(path.read_bytes())
                except FileNotFoundError:
                    continue  # removed meanwhile
                except (OSError, ValueError):
                    pass
                yield str(path.relative_to(root)), record
