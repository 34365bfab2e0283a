"""The engines there are, and what this machine lacks for one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.mount.engine import Engine
from airflow_magnus.mount.rclone import Rclone
from airflow_magnus.mount.s3fs import S3fs

DEFAULT = "rclone"
ENGINES: dict[str, Engine] = {engine.name: engine for engine in (Rclone(), S3fs())}
_DEVICE = Path("/dev/fuse")


def engine_named(name: str) -> Engine:
    """The engine of a name.

    :raises ConfigurationError: when there is none.
    """
    if name not in ENGINES:
        raise ConfigurationError(f"{name!r} is no engine of mounts: write {' or '.join(map(repr, ENGINES))}")
    return ENGINES[name]


def preflight(engine: str = DEFAULT) -> list[str]:
    """What is missing here for a mount, each with what to do; empty when nothing is. Takes a millisecond.

    :raises ConfigurationError: when there is no such engine.
    """
    chosen = engine_named(engine)
    found = [*_device(), *chosen.missing()]
    if not shutil.which("fusermount3"):
        found.append("the program fusermount3: on Debian, apt-get install fuse3")
    return found


def _device() -> list[str]:
    try:
        os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return [
            f"{_DEVICE}: load the kernel's module (modprobe fuse), or give it to the container"
            " (docker run --device /dev/fuse --cap-add SYS_ADMIN)"
        ]
    except PermissionError:
        return [f"the right to open {_DEVICE}: chmod 666 {_DEVICE}, or let the container have the device"]
    except OSError as error:
        return [
            f"a {_DEVICE} that can be opened ({error.strerror}): load the kernel's module (modprobe fuse)"
        ]
    return []
