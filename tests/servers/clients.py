"""Environments with programs that this package does not need, and that need other versions than it has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CLIENTS = ("awscli", "pandas>=2", "pyarrow>=16", "s3fs>=2024")


def clients_environment(folder: Path) -> Path:
    """Make an environment of clients of S3; gives the folder of its programs. Needs a package index; takes half a minute."""
    return environment_of(folder, *CLIENTS)


def environment_of(folder: Path, *packages: str) -> Path:
    """Make an environment of packages; gives the folder of its programs."""
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    python = str(folder / "bin" / "python")
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *packages], check=True)
    return folder / "bin"
