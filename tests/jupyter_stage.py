"""A contents manager of Jupyter on a bucket of its own."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any

from traitlets.config import Config

from airflow_magnus.jupyter import JupyterS3, JupyterS3SecretAccessKeyAuthentication
from servers.s3 import S3Server

SEED = """\
from airflow_magnus.jupyter import JupyterS3, JupyterS3SecretAccessKeyAuthentication
c = get_config()
c.NotebookApp.contents_manager_class = JupyterS3
c.JupyterS3.aws_region = 'eu-west-1'
c.JupyterS3.aws_s3_bucket = {bucket!r}
c.JupyterS3.aws_s3_host = {host!r}
c.JupyterS3.prefix = 'some-prefix/'
from airflow_magnus.jupyter import JupyterS3SecretAccessKeyAuthentication
c.JupyterS3.authentication_class = JupyterS3SecretAccessKeyAuthentication
c.JupyterS3SecretAccessKeyAuthentication.aws_access_key_id = 'test-access'
c.JupyterS3SecretAccessKeyAuthentication.aws_secret_access_key = 'test-secret'
"""
"""The configuration of seed 002, its import lines changed, with a bucket and a host."""
_numbers = count(1)


@dataclass
class Stage:
    """A contents manager, and a client of its bucket beside it.

    :param prefix: of the manager's keys, with a slash.
    """

    manager: JupyterS3
    server: S3Server
    client: Any
    bucket: str
    prefix: str

    def put(self, path: str, body: bytes = b"x") -> None:
        """Write an object beside the manager."""
        self.client.put_object(Bucket=self.bucket, Key=self.prefix + path, Body=body)

    def read(self, path: str) -> bytes:
        """The bytes of an object."""
        return bytes(self.client.get_object(Bucket=self.bucket, Key=self.prefix + path)["Body"].read())

    def all_keys(self, path: str = "") -> list[str]:
        """All keys of the bucket that begin so, behind the prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.prefix + path
        )
        return [item["Key"].removeprefix(self.prefix) for page in pages for item in page.get("Contents", ())]


def manager_of(server: S3Server, bucket: str, prefix: str = "", **settings: Any) -> JupyterS3:
    """A contents manager of a bucket."""
    config = Config()
    config.JupyterS3SecretAccessKeyAuthentication.aws_access_key_id = server.access_key
    config.JupyterS3SecretAccessKeyAuthentication.aws_secret_access_key = server.secret_key
    return JupyterS3(
        config=config,
        aws_region=server.region,
        aws_s3_bucket=bucket,
        aws_s3_host=server.endpoint,
        prefix=prefix,
        authentication_class=JupyterS3SecretAccessKeyAuthentication,
        **settings,
    )


def stage_of(server: S3Server, **settings: Any) -> Stage:
    """A contents manager of a new bucket."""
    bucket, prefix = server.make_bucket(), f"some/prefix-{next(_numbers)}/"
    return Stage(manager_of(server, bucket, prefix, **settings), server, server.client(), bucket, prefix)
