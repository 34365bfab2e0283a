"""What a benchmark needs to know of a server."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Endpoint:
    """An S3 server that runs.

    :param delay: milliseconds that it waits before each answer.
    :param data: where it takes what it serves from; None: it keeps what was put.
    :param process: of the server, when it is one alone.
    :param config: file of its settings, of Ceph.
    """

    name: str
    url: str
    delay: int = 0
    data: Path | None = None
    process: int = 0
    key: str = "testkey"
    secret: str = field(default="testsecret", repr=False)
    config: Path | None = None

    @property
    def port(self) -> int:
        """Its port on the loopback device."""
        return int(self.url.rpartition(":")[2])

    def environment(self, home: Path) -> dict[str, str]:
        """The environment of every client: nothing of the user's own, credentials as AWS's variables."""
        kept = {
            name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR", "PYTHONPATH") if name in os.environ
        }
        remote = {
            "TYPE": "s3",
            "PROVIDER": "Other",
            "ENV_AUTH": "true",
            "REGION": "us-east-1",
            "ENDPOINT": self.url,
            "LIST_VERSION": "2",  # the null server knows no other
        }
        return {
            **kept,
            "HOME": str(home),
            "AIRFLOW_HOME": str(home),
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.url,
            "S3_ENDPOINT_URL": self.url,  # as s5cmd has it
            "AWS_EC2_METADATA_DISABLED": "true",
            "RCLONE_CONFIG": "/dev/null",
            **{f"RCLONE_CONFIG_SERVER_{name}": value for name, value in remote.items()},
        }
