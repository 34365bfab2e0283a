"""Which code a step ran: git commit, container image, DAG bundle."""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from airflow_magnus.runlog.records import CodeIdentity

IMAGE_VARIABLE = "MAGNUS_IMAGE_DIGEST"
"""Set in a container image, or by who starts it, to the image's digest."""


def code_identities(folder: Path, context: Any = None) -> list[CodeIdentity]:
    """What can be said of the code in ``folder``; nothing where nothing is known."""
    found = [git_identity(folder.resolve()), _image_identity(context), _bundle_identity(context)]
    return [identity for identity in found if identity is not None]


@lru_cache(maxsize=8)
def git_identity(folder: Path) -> CodeIdentity | None:
    """The commit that ``folder`` is checked out at; None outside a repository.

    Dependable: no tracked file differs from the commit. Read once a process: it does not change during a task.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    status = _git(folder, "status", "--porcelain", "--untracked-files=no") or ""
    changed = "\n".join(line[2:].strip() for line in status.splitlines())
    remote = _git(folder, "config", "--get", "remote.origin.url")
    return CodeIdentity(
        code_identifier=commit,
        code_identifier_type="git",
        code_identifier_dependable=not changed,
        code_identifier_url=without_credentials(remote) if remote else None,
        code_identifier_message=f"changed: {', '.join(changed.splitlines())}" if changed else "",
    )


def without_credentials(url: str) -> str:
    """A remote's URL without the user and password that it may hold; ``git@host:path`` has none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.rpartition("@")[2]
    if not parts.scheme or "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rsplit("@", 1)[1]))


def _git(folder: Path, *arguments: str) -> str | None:
    # A git hook that starts this process names its own repository in the environment.
    environment = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=environment | {"GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _image_identity(context: Any) -> CodeIdentity | None:
    ran = getattr(context and context.get("task"), "image_id", None)  # of a step in a container of its own
    digest = ran or os.environ.get(IMAGE_VARIABLE)
    if not digest:
        return None
    return CodeIdentity(
        code_identifier=digest, code_identifier_type="docker", code_identifier_dependable=True
    )


def _bundle_identity(context: Any) -> CodeIdentity | None:
    bundle = getattr(getattr(context and context.get("ti"), "bundle_instance", None), "version", None)
    if not bundle:
        return None
    return CodeIdentity(
        code_identifier=str(bundle), code_identifier_type="airflow-bundle", code_identifier_dependable=True
    )
