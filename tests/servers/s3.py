"""What tests need to know of an S3 server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from airflow_magnus.stores.aws import AwsOptions
from airflow_magnus.stores.objects import open_object_store


@dataclass(frozen=True)
class S3Server:
    """A server that speaks S3.

    :param is_conditional: whether it honours create-only writes.
    """

    endpoint: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"
    is_conditional: bool = True

    @property
    def options(self) -> AwsOptions:
        """How the package signs in."""
        return AwsOptions(
            access_key=self.access_key,
            secret_key=self.secret_key,
            region=self.region,
            endpoint_url=self.endpoint,
        )

    def client(self) -> Any:
        """A boto3 client, beside the code under test."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )

    def make_bucket(self) -> str:
        """Make an empty bucket that no other test has; returns its name."""
        name = f"bucket-{uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def open(self, bucket: str, prefix: str = "") -> Any:
        """The obstore store of a bucket, as the package opens it."""
        return open_object_store(f"s3://{bucket}/{prefix}", self.options)
