"""Objects that go when all is saved: what stands for folders, as s3fs makes it, and no file can be named as; over a catalog
also what a program has removed and rclone has not."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_magnus.gateway.process import Gateway
from airflow_magnus.gateway.views import REGION
from airflow_magnus.mount.faults import MountError

_AT_ONCE = 1000


def remove_objects(gateway: Gateway, bucket: str, keys: Sequence[str]) -> None:
    """Remove objects by key. Cost: 1 request for each 1,000.

    :raises MountError: when one stays.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client(
        "s3", endpoint_url=gateway.endpoint, region_name=REGION, aws_access_key_id=gateway.token,
        aws_secret_access_key=gateway.token, config=Config(s3={"addressing_style": "path"}, proxies={}),
    )  # fmt: skip
    try:
        for first in range(0, len(keys), _AT_ONCE):
            objects = [{"Key": key} for key in keys[first : first + _AT_ONCE]]
            answer = client.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
            if answer.get("Errors"):
                raise MountError(
                    f"an object of bucket {bucket!r} could not be removed: {answer['Errors'][0]}"
                )
    except (BotoCoreError, ClientError) as error:
        raise MountError(f"what was removed from bucket {bucket!r} is still there: {error}") from error
    finally:
        client.close()
