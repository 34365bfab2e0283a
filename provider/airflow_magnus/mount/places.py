"""Where one bucket appears as a folder, and where its engine keeps what it needs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Access(StrEnum):
    """What a program may do in the folder of a bucket."""

    READ_ONLY = "ro"
    WRITABLE = "rw"


@dataclass(frozen=True)
class Place:
    """One bucket, mounted.

    :param mountpoint: absolute, without links on its way.
    :param private: folder of the engine, for this user alone: cache, log, socket.
    :param is_shared: whether other users of the machine may look into the folder.
    :param write_back: seconds after a file's close at which it is sent; None: at the end.
    :param hides: whether files may lie in the folder, which nobody sees while it is a mount.
    """

    bucket: str
    mountpoint: Path
    private: Path
    access: Access
    is_shared: bool = False
    write_back: float | None = None
    hides: bool = False

    @property
    def is_writable(self) -> bool:
        """Whether programs may write there."""
        return self.access == Access.WRITABLE

    @property
    def source(self) -> str:
        """What the kernel's table of mounts has as the source, so that a mount is known as ours."""
        return f"magnus:{self.bucket}"

    @property
    def log(self) -> Path:
        """What the engine says."""
        return self.private / "log"

    @property
    def cache(self) -> Path:
        """What the engine keeps of the bucket's objects."""
        return self.private / "cache"

    def last_words(self, lines: int = 3) -> str:
        """The last lines of the engine's log, in one."""
        try:
            text = self.log.read_bytes()[-4096:].decode(errors="replace")
        except OSError:
            return ""
        return " | ".join(line.strip() for line in text.splitlines()[-lines:])

    def as_json(self) -> dict[str, Any]:
        """It as values of JSON."""
        return {
            name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()
        }

    @classmethod
    def of(cls, values: dict[str, Any]) -> Place:
        """It from values of JSON; others than its own are passed over."""
        return cls(
            bucket=values["bucket"],
            mountpoint=Path(values["mountpoint"]),
            private=Path(values["private"]),
            access=Access(values["access"]),
            is_shared=bool(values["is_shared"]),
            write_back=values["write_back"],
            hides=bool(values.get("hides", False)),
        )
