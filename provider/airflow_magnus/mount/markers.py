"""Objects that stand for folders, which s3fs makes: no file can have their names, so they go when all is saved."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_magnus.gateway.process import Gateway
from airflow_magnus.gateway.views import REGION
from airflow_magnus.mount.faults import MountError

_AT_ONCE = 1000


def remove_markers(gateway: Gateway, bucket: str, keys: Sequence[str]) -> None:
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
                raise MountError(f"a folder of bucket {bucket!r} could not be removed: {answer['Errors'][0]}")
    except (BotoCoreError, ClientError) as error:
        raise MountError(f"the folders of bucket {bucket!r} could not be removed: {error}") from error
    finally:
        client.close()
