"""Lets the suite ceph/s3-tests use one bucket that is there already. Loaded by ``-p``, before the suite's modules.

They take functions of their package by name, so these are replaced first. The environment names the package
(``S3TESTS_PACKAGE``), the bucket (``S3TESTS_BUCKET``) and the file for what came of each test (``S3TESTS_REPORT``).
"""

from __future__ import annotations

import json
import os
import re
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

_OTHER_MARKS = re.compile(
    "abac|appendobject|auth_aws2|bucket_|cloud_|encryption|group|iam_|lifecycle|object_lock|policy|restore|role_"
    "|s3select|s3website|session_|sns|sse_|storage_class|sts|token_|versioning|webidentity"
)
_OTHER_NAMES = re.compile(
    "(?<!with)_acl|access_bucket|account_usage|alt_|anon|append_|block_public|bucket_create_(?!special)|bucket_delete"
    "|bucket_get_location|bucket_notexist|bucket_recreate|bucketv2_notexist|buckets_(?!bad_auth|invalid_auth)|_canned_"
    "|concurrent_set|copy_not_owned|cors|create_exists|_distinct|encrypt|get_undefined|_gone|head_notexist|kms|lifecycle"
    "|list_long_name|list_multipart_upload_owner|lock|logging|notif|ownership|policy|post_object|public|restore|select"
    "|set_bucket_tagging|100_continue|sse|storage_class|tenant|_usage|version(?!Id)|website"
)
"""What is about several buckets or users, about settings of buckets, or about uploads by forms."""

_outcomes: dict[str, tuple[str, str]] = {}


def pytest_configure() -> None:
    """Replace what makes and removes buckets."""
    package: Any = import_module(os.environ["S3TESTS_PACKAGE"])
    bucket = os.environ["S3TESTS_BUCKET"]
    make_client, make_resource = package.get_client, package.get_new_bucket_resource

    def get_client(*args: Any, **options: Any) -> Any:
        return _prepared(make_client(*args, **options))

    def get_new_bucket_resource(name: str | None = None) -> Any:
        import boto3

        made = boto3.resource  # the bucket of the suite's own resource is made: its client says that it was
        boto3.resource = lambda *args, **options: _prepared_resource(made(*args, **options))
        try:
            return make_resource(name=bucket)
        finally:
            boto3.resource = made

    package.get_client = get_client
    package.get_new_bucket_resource = get_new_bucket_resource
    package.get_new_bucket = lambda client=None, name=None: bucket
    package.get_new_bucket_name = lambda: bucket
    package.nuke_prefixed_buckets = lambda prefix, client=None: None
    package.setup = package.teardown = lambda: None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what makes no sense with one bucket and one user."""
    left_out = [item for item in items if _is_other(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(autouse=True)
def _bucket_is_empty(configfile: Any) -> None:
    """Remove what the test before has left."""
    package: Any = import_module(os.environ["S3TESTS_PACKAGE"])
    client, bucket = package.get_client(), os.environ["S3TESTS_BUCKET"]
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        if page.get("Contents"):
            keys = [{"Key": item["Key"]} for item in page["Contents"]]
            client.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
    for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for upload in page.get("Uploads", []):
            client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what came of a test; a failure stays."""
    name = report.nodeid.rpartition("/")[2]
    if _outcomes.get(name, ("",))[0] == "failed" or (report.passed and report.when != "call"):
        return
    crash = getattr(report.longrepr, "reprcrash", None)
    _outcomes[name] = report.outcome, crash.message.partition("\n")[0] if crash else ""


def pytest_sessionfinish() -> None:
    """Write all of it down."""
    Path(os.environ["S3TESTS_REPORT"]).write_text(json.dumps(_outcomes))


def _is_other(item: pytest.Item) -> bool:
    marks = any(_OTHER_MARKS.match(mark.name) for mark in item.iter_markers())
    return marks or bool(_OTHER_NAMES.search(item.name))


def _prepared(client: Any) -> Any:
    client.meta.events.register("before-call.s3.CreateBucket", _is_made)
    client.meta.events.register("before-parameter-build.s3.PutObject", _without_acl)
    return client


def _prepared_resource(resource: Any) -> Any:
    _prepared(resource.meta.client)
    return resource


def _is_made(**_: Any) -> tuple[Any, dict[str, Any]]:
    """The answer to a request that is not sent."""
    return SimpleNamespace(status_code=200), {}


def _without_acl(params: dict[str, Any], **_: Any) -> None:
    """There is one user: what others may do is not tested."""
    if params.get("ACL", "").startswith("public-"):
        del params["ACL"]
