"""The settings of the contents manager. Source: seed 002 for the names of the first five."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from traitlets import Bool, Dict, Enum, Int, TraitError, Type, Unicode, Union, validate
from traitlets.config import LoggingConfigurable

from airflow_magnus.gateway.upstream import Store
from airflow_magnus.jupyter.authentication import JupyterS3Authentication, JupyterS3DefaultAuthentication

ETAG = "etag"
_AWS = ".amazonaws.com"


class S3Settings(LoggingConfigurable):
    """Where the contents lie, and how they are kept."""

    aws_region = Unicode("us-east-1", config=True, help="Region of the bucket")
    aws_s3_bucket = Unicode("", config=True, help="Name of the bucket")
    aws_s3_host = Unicode(
        "",
        config=True,
        help="Host of the S3 API, such as s3-eu-west-1.amazonaws.com; or a URL, as http://127.0.0.1:9000. Default: AWS",
    )
    prefix = Unicode("", config=True, help="What the keys of all files begin with, such as notebooks/")
    authentication_class = Type(
        JupyterS3DefaultAuthentication,
        klass=JupyterS3Authentication,
        config=True,
        help="Where credentials come from",
    )
    addressing_style = Enum(
        ["auto", "path", "virtual"],
        "auto",
        config=True,
        help="Whether the bucket is part of the path or of the host; auto: of the host on AWS, but for buckets with dots",
    )
    verify = Union(
        [Bool(), Unicode()],
        default_value=True,
        config=True,
        help="False trusts every certificate; a text names a file of certificates to trust",
    )
    conditional_saves = Bool(
        False,
        config=True,
        help="Refuse to save over a file that has changed in the store since it was opened here (If-Match)",
    )
    hash_algorithm = Unicode(
        ETAG,
        config=True,
        help="etag: what the store says, at no cost; or an algorithm of hashlib, for which a file is read whole",
    )
    max_copy_folder_size_mb = Int(0, config=True, help="The largest folder that can be copied, MB; 0: any")
    multipart_copy_above = Int(
        5 * 1000**3,
        config=True,
        help="Objects of more bytes are copied in parts; AWS copies up to 5 GB at once",
    )
    runs_folder = Unicode("runs", config=True, help="Name of the folder that shows the runs of pipelines")
    run_log = Union(
        [Unicode(), Dict()],
        default_value="",
        config=True,
        help="The run log store whose runs are shown: s3://bucket/prefix, a folder, or type and config as in a"
        " configuration file of magnus. Default: no runs are shown",
    )
    catalog = Union(
        [Unicode(), Dict()], default_value="", config=True, help="The catalog of these runs, likewise"
    )

    @validate("prefix")
    def _prefix_is_relative(self, proposal: dict[str, str]) -> str:
        if proposal["value"].startswith("/"):
            raise TraitError(f"prefix is {proposal['value']!r}; keys of S3 begin with no slash: leave it out")
        return proposal["value"]

    @validate("aws_s3_bucket")
    def _bucket_is_a_name(self, proposal: dict[str, str]) -> str:
        name = proposal["value"]
        if "/" in name:
            raise TraitError(
                f"aws_s3_bucket is {name!r}; write the bucket's name alone, and what keys begin with as prefix"
            )
        return name

    @validate("runs_folder")
    def _runs_folder_is_a_name(self, proposal: dict[str, str]) -> str:
        name = proposal["value"]
        if not name or "/" in name or name.startswith("."):
            raise TraitError(
                f"runs_folder is {name!r}; a name without slashes, and no dot in front, is allowed"
            )
        return name

    @property
    def is_aws(self) -> bool:
        """Whether the store is AWS's own."""
        return not self.aws_s3_host or (urlsplit(self.endpoint).hostname or "").endswith(_AWS)

    @property
    def endpoint(self) -> str:
        """The URL of the S3 API."""
        host = self.aws_s3_host or f"s3.{self.aws_region}{_AWS}"
        return (host if "://" in host else f"https://{host}").rstrip("/")

    def store(self) -> Store:
        """The bucket, for requests.

        :raises TraitError: when it is not named.
        """
        if not self.aws_s3_bucket:
            raise TraitError(f"set c.{type(self).__name__}.aws_s3_bucket to the name of the bucket")
        is_virtual = self.addressing_style == "virtual" or (
            self.addressing_style == "auto" and self.is_aws and "." not in self.aws_s3_bucket
        )
        verify = self.verify if self.verify is not True else os.environ.get("AWS_CA_BUNDLE") or True
        return Store(0, self.aws_s3_bucket, self.endpoint, self.aws_region, is_virtual, verify)
