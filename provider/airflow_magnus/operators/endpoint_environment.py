"""The environment of code that has an S3 endpoint beside it: it leads there, and to no other store."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from airflow_magnus.gateway.process import Gateway
from airflow_magnus.operators.environment import replaced_environment

VARIABLES = (
    "S3_ENDPOINT",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ALLOW_HTTP",
    "AWS_EC2_METADATA_DISABLED",
    "NO_PROXY",
    "no_proxy",
)
"""What a container needs of the environment, beside the token."""
TOKENS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_OTHER_ACCESS = (
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_SKIP_SIGNATURE",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)
"""What would lead code to the real store, or be sent to the endpoint."""


def environment_with(gateway: Gateway, outer: Mapping[str, str]) -> dict[str, str]:
    """An environment that leads to the endpoint, made of another one."""
    kept = {name: text for name, text in outer.items() if name not in _OTHER_ACCESS}
    # One of the two names hides the other from some programs.
    given = dict.fromkeys([outer.get("no_proxy", ""), outer.get("NO_PROXY", ""), "127.0.0.1", "localhost"])
    direct = ",".join(filter(None, given))
    return {**kept, **gateway.environment(), "NO_PROXY": direct, "no_proxy": direct}


@contextmanager
def in_use(gateway: Gateway) -> Iterator[None]:
    """Let the code of this process, and its children, find the endpoint."""
    _forget_clients()
    try:
        with replaced_environment(environment_with(gateway, os.environ)):
            yield
    finally:
        _forget_clients()


def _forget_clients() -> None:
    """Have libraries make anew what they keep for the whole process: it holds the keys of the time when it was made."""
    if "boto3" in sys.modules:
        vars(sys.modules["boto3"])["DEFAULT_SESSION"] = None
    if "s3fs" in sys.modules:
        sys.modules["s3fs"].S3FileSystem.clear_instance_cache()
