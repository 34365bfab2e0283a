"""What is said to people who have set something wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from tornado.web import HTTPError
from traitlets import TraitError

from airflow_magnus.jupyter import JupyterS3
from jupyter_stage import Stage
from servers.programs import free_port
from servers.s3 import S3Server

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-access")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, r"set c\.JupyterS3\.aws_s3_bucket to the name of the bucket"),
        ({"aws_s3_bucket": "s3://my-bucket"}, r"'s3://my-bucket'; write the bucket's name alone"),
    ],
)
def test_a_server_without_a_bucket_does_not_start(settings: dict[str, str], said: str) -> None:
    with pytest.raises(TraitError, match=said):
        JupyterS3(**settings)


async def test_a_store_that_does_not_answer_is_named_with_its_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("airflow_magnus.jupyter.connection._FIRST_PAUSE", 0.001)
    endpoint = f"http://127.0.0.1:{free_port()}"
    manager = JupyterS3(aws_s3_bucket="b", aws_s3_host=endpoint)
    with pytest.raises(HTTPError, match=f"no answer from {endpoint} .*aws_s3_host") as refused:
        await manager.get("")
    assert refused.value.status_code == 503


async def test_a_bucket_that_is_not_there_is_told_with_its_setting(moto: S3Server) -> None:
    manager = JupyterS3(aws_s3_bucket="not-there", aws_s3_host=moto.endpoint)
    with pytest.raises(HTTPError, match=r"NoSuchBucket .*check aws_s3_bucket"):
        await manager.get("")


async def test_a_folder_of_runs_that_is_not_there_is_told_and_not_made(
    moto: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    manager = JupyterS3(
        aws_s3_bucket=moto.make_bucket(),
        aws_s3_host=moto.endpoint,
        run_log="my-bucket/run-log",
        catalog="my-bucket/catalog",
    )
    assert [one["name"] for one in (await manager.get(""))["content"]] == ["runs"]
    with pytest.raises(HTTPError, match=r"my-bucket/run-log is no folder .*s3://bucket/prefix"):
        await manager.get("runs")
    assert list(tmp_path.iterdir()) == []


async def test_a_percent_sign_in_a_message_stays_one(quick: Stage) -> None:
    with pytest.raises(HTTPError, match=r"100%\.txt") as refused:
        await quick.manager.get("100%.txt")
    assert "%%" not in str(refused.value)
