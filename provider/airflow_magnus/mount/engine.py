"""What a program that mounts buckets has to tell: how it is started, and what it has not brought to the store yet."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from airflow_magnus.mount.places import Place


@dataclass(frozen=True)
class Endpoint:
    """The gateway, as an engine finds it.

    :param token: access key and secret key in one.
    """

    url: str
    token: str
    region: str

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r})"


@dataclass(frozen=True)
class Unsaved:
    """A file whose bytes are not all in the store.

    :param name: key in the bucket.
    :param size: bytes.
    :param tries: how often it was sent in vain or is being sent.
    :param is_open: nobody sends it before a program closes it.
    """

    name: str
    size: int
    tries: int = 0
    is_open: bool = False


@dataclass(frozen=True)
class Held:
    """A file in the cache of an engine whose bytes the store may not have.

    :param name: key in the bucket.
    :param size: bytes.
    :param path: where it is.
    :param is_whole: False: only parts of it are there, the others were in the store.
    """

    name: str
    size: int
    path: Path
    is_whole: bool = True


class Engine(Protocol):
    """One program that mounts buckets. Without a state of its own: it is asked from several processes.

    :ivar saves_by_unmount: whether only the end of the mount makes sure that all is in the store.
    """

    name: str
    saves_by_unmount: bool

    def missing(self) -> list[str]:
        """What is not installed, and what to do."""

    def command(self, place: Place, endpoint: Endpoint) -> Sequence[str]:
        """The command that mounts a bucket and stays in the foreground. Its working folder is ``place.private``."""

    def environment(self, place: Place, endpoint: Endpoint) -> dict[str, str]:
        """What the command finds in its environment beside the usual: credentials, and nothing of the user's."""

    def is_up(self, place: Place) -> bool:
        """Whether it can be asked, when its mount is there."""

    def hurry(self, place: Place) -> list[Unsaved]:
        """Have all that waits be sent now. Gives what is not in the store yet.

        :raises MountError: when it does not answer.
        """

    def held(self, place: Place) -> list[Held]:
        """The files in its cache that the store may not have; it may be dead."""

    def copies(self, place: Place) -> dict[str, Path]:
        """Whole files in its cache, by key: what the program wrote, as the store should have it."""


def program(name: str) -> str | None:
    """The path of a program: beside Python's own, as pip installs it, else on PATH."""
    beside = Path(sys.executable).parent / name
    return shutil.which(str(beside)) or shutil.which(name)
