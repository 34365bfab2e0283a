"""An environment with clients of S3 that this package does not need, and that need other versions than it has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CLIENTS = ("awscli", "pandas>=2", "pyarrow>=16", "s3fs>=2024")


def clients_environment(folder: Path) -> Path:
    """Make the environment; gives the folder of its programs. Needs a package index; takes half a minute."""
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    python = str(folder / "bin" / "python")
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *CLIENTS], check=True)
    return folder / "bin"
