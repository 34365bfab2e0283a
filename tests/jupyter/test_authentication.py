"""Where credentials come from, and when they are asked for."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from airflow_magnus.jupyter import AwsCreds, JupyterS3, JupyterS3Authentication, S3ContentsManager
from airflow_magnus.jupyter.credentials import CurrentCredentials
from jupyter_stage import SEED, Stage, manager_of
from servers.memory import MemoryServer
from servers.s3 import S3Server

pytestmark = pytest.mark.anyio

FORGOTTEN = "from traitlets import Dict, Unicode\nfrom airflow_magnus.jupyter import Datetime\n"
USERS_OWN = """\
import datetime
import json

from airflow_magnus.jupyter import (
    AwsCreds,
    JupyterS3Authentication,
)
from tornado import gen
from tornado.httpclient import (
    AsyncHTTPClient,
    HTTPError as HTTPClientError,
    HTTPRequest,
)

class JupyterS3EC2RoleAuthentication(JupyterS3Authentication):

    role_name = Unicode(config=True)
    aws_access_key_id = Unicode()
    aws_secret_access_key = Unicode()
    pre_auth_headers = Dict()
    expiration = Datetime()

    @gen.coroutine
    def get_credentials(self):
        now = datetime.datetime.now()

        if now > self.expiration:
            request = HTTPRequest('http://169.254.169.254/latest/meta-data/iam/security-credentials/' + self.role_name, method='GET')
            creds = json.loads((yield AsyncHTTPClient().fetch(request)).body.decode('utf-8'))
            self.aws_access_key_id = creds['AccessKeyId']
            self.aws_secret_access_key = creds['SecretAccessKey']
            self.pre_auth_headers = {
                'x-amz-security-token': creds['Token'],
            }
            self.expiration = datetime.datetime.strptime(creds['Expiration'], '%Y-%m-%dT%H:%M:%SZ')

        return AwsCreds(
            access_key_id=self.aws_access_key_id,
            secret_access_key=self.aws_secret_access_key,
            pre_auth_headers=self.pre_auth_headers,
        )

c = get_config()
c.JupyterS3.authentication_class = JupyterS3EC2RoleAuthentication
c.JupyterS3EC2RoleAuthentication.role_name = 'my-iam-role-name'
"""


def loaded(text: str, folder: Path) -> Config:
    """What Jupyter makes of a configuration file."""
    from traitlets.config.loader import PyFileConfigLoader

    (folder / "jupyter_config.py").write_text(text)
    return PyFileConfigLoader("jupyter_config.py", path=str(folder)).load_config()


async def works(manager: S3ContentsManager) -> bool:
    """Whether a file is written and read."""
    await manager.save({"type": "file", "format": "text", "content": "x"}, "a.txt")
    return bool((await manager.get("a.txt"))["content"] == "x")


async def test_configuration_of_the_seed_works(moto: S3Server, tmp_path: Path) -> None:
    bucket = moto.make_bucket()
    text = SEED.format(bucket=bucket, host=moto.endpoint)
    config = loaded(text, tmp_path)
    manager = config.NotebookApp.contents_manager_class(config=config)
    assert isinstance(manager, JupyterS3)
    assert await works(manager)
    assert moto.client().get_object(Bucket=bucket, Key="some-prefix/a.txt")["Body"].read() == b"x"


def test_host_of_the_seed_is_asked_by_https() -> None:
    manager = JupyterS3(aws_s3_host="s3-eu-west-1.amazonaws.com", aws_s3_bucket="b", aws_region="eu-west-1")
    assert manager.store().url("k", "") == "https://b.s3-eu-west-1.amazonaws.com/k"
    assert JupyterS3(aws_s3_bucket="b.c").store().url("k", "") == "https://s3.us-east-1.amazonaws.com/b.c/k"


class Metadata:
    """A metadata service.

    :param lasts: for how long its credentials last.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.lasts = timedelta(hours=6)
        self.number = 0


@pytest.fixture
def metadata() -> Iterator[tuple[Metadata, str]]:
    service = Metadata()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self._answer("token-of-imds")

        def do_GET(self) -> None:
            service.asked.append((self.path, self.headers.get("X-aws-ec2-metadata-token", "")))
            if self.path.endswith("security-credentials/"):
                self._answer("my-iam-role-name")
                return
            service.number += 1
            end = (datetime.now(UTC) + service.lasts).strftime("%Y-%m-%dT%H:%M:%SZ")
            keys = {
                "AccessKeyId": f"key-{service.number}",
                "SecretAccessKey": "s",
                "Token": f"t-{service.number}",
            }
            self._answer(json.dumps({"Code": "Success", **keys, "Expiration": end}))

        def _answer(self, text: str) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield service, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def test_class_that_a_user_wrote_works(
    memory: MemoryServer, metadata: tuple[Metadata, str], tmp_path: Path, zone: str
) -> None:
    """As the seed prints it, in zones where its naive times are wrong: in a process that is in that zone."""
    service, url = metadata
    bucket = memory.make_bucket()
    memory.set_rules(expired="key-1")
    (tmp_path / "jupyter_config.py").write_text(FORGOTTEN + USERS_OWN.replace("http://169.254.169.254", url))
    code = f"""
import asyncio
from traitlets.config.loader import PyFileConfigLoader
config = PyFileConfigLoader("jupyter_config.py", path={str(tmp_path)!r}).load_config()
from airflow_magnus.jupyter import JupyterS3
manager = JupyterS3(config=config, aws_s3_bucket={bucket!r}, aws_s3_host={memory.endpoint!r})
async def main():
    await manager.save({{"type": "file", "format": "text", "content": "x"}}, "a.txt")
    await asyncio.gather(*(manager.get("a.txt") for _ in range(50)))
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "TZ": zone}, timeout=60)
    assert {path for path, _ in service.asked} == {
        "/latest/meta-data/iam/security-credentials/my-iam-role-name"
    }
    assert service.number <= 4
    memory.set_rules()


async def test_role_of_the_machine_is_asked_for_by_version_2(
    memory: MemoryServer, metadata: tuple[Metadata, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_magnus.jupyter import JupyterS3EC2RoleAuthentication

    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    memory.set_rules()
    service, url = metadata
    config = Config()
    config.JupyterS3EC2RoleAuthentication.metadata_url = f"{url}/"
    manager = JupyterS3(
        config=config,
        aws_s3_bucket=memory.make_bucket(),
        aws_s3_host=memory.endpoint,
        authentication_class=JupyterS3EC2RoleAuthentication,
    )
    assert await works(manager)
    assert {token for _, token in service.asked} == {"token-of-imds"}


async def test_role_of_the_container_is_asked_for(
    memory: MemoryServer, metadata: tuple[Metadata, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_magnus.jupyter import JupyterS3ECSRoleAuthentication

    memory.set_rules()
    service, url = metadata
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/of-the-container")
    manager = JupyterS3(
        aws_s3_bucket=memory.make_bucket(),
        aws_s3_host=memory.endpoint,
        authentication_class=JupyterS3ECSRoleAuthentication,
    )
    assert await works(manager)
    assert [path for path, _ in service.asked] == ["/of-the-container"]


def test_airflow_connection_gives_credentials_without_a_database(quick: Stage) -> None:
    connection = {"conn_type": "aws", "login": "of-airflow", "password": "secret"}
    code = f"""
import asyncio, sys
from traitlets.config import Config
from airflow_magnus.jupyter import JupyterS3, JupyterS3AirflowAuthentication
assert "airflow" not in sys.modules
config = Config()
config.JupyterS3AirflowAuthentication.airflow_conn_id = "lab"
manager = JupyterS3(config=config, aws_s3_bucket={quick.bucket!r}, aws_s3_host={quick.server.endpoint!r},
                    authentication_class=JupyterS3AirflowAuthentication)
print(asyncio.run(manager.authentication_class(parent=manager).get_credentials()).access_key_id)
asyncio.run(manager.save({{"type": "file", "format": "text", "content": "x"}}, "of-airflow.txt"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={
            **os.environ,
            "AIRFLOW_CONN_LAB": json.dumps(connection),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://nobody@127.0.0.1:1/none",
        },
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "of-airflow"


class Counted(JupyterS3Authentication):
    """Gives credentials that end, slowly."""

    asked = 0
    lasts = timedelta(hours=1)

    async def get_credentials(self) -> AwsCreds:
        Counted.asked += 1
        number = Counted.asked
        await asyncio.sleep(0.05)
        return AwsCreds(f"key-{number}", "secret", {}, datetime.now(UTC) + self.lasts)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> type[Counted]:
    monkeypatch.setattr(Counted, "asked", 0)
    return Counted


async def test_credentials_are_asked_for_once_for_all_waiting_requests(counted: type[Counted]) -> None:
    current = CurrentCredentials(counted)
    found = await asyncio.gather(*(current.signing() for _ in range(100)))
    assert {signing.keys["access_key_id"] for signing in found} == {"key-1"}
    assert counted.asked == 1


async def test_credentials_are_renewed_before_they_end(
    counted: type[Counted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counted, "lasts", timedelta(seconds=0.6))
    current = CurrentCredentials(counted)
    await current.signing()
    await asyncio.sleep(0.4)
    found = await asyncio.gather(*(current.signing() for _ in range(100)))
    assert {signing.keys["access_key_id"] for signing in found} == {"key-2"}


async def test_credentials_that_the_store_calls_expired_are_renewed_once(
    counted: type[Counted], quick: Stage, memory: MemoryServer
) -> None:
    quick.put("a.txt")
    manager = manager_of(quick.server, quick.bucket, quick.prefix)
    manager.authentication_class = counted
    memory.set_rules(expired="key-1")
    found = await asyncio.gather(*(manager.get("a.txt") for _ in range(30)))
    assert {model["content"] for model in found} == {"x"}
    assert counted.asked == 2


async def test_missing_key_is_named(quick: Stage) -> None:
    from tornado.web import HTTPError

    from airflow_magnus.jupyter import JupyterS3SecretAccessKeyAuthentication

    manager = JupyterS3(
        aws_s3_bucket="b",
        aws_s3_host=quick.server.endpoint,
        authentication_class=JupyterS3SecretAccessKeyAuthentication,
    )
    with pytest.raises(HTTPError, match=r"c\.JupyterS3SecretAccessKeyAuthentication\.aws_access_key_id"):
        await manager.get("")


def test_keys_are_not_shown() -> None:
    from airflow_magnus.jupyter.credentials import Signing

    assert "secret" not in repr(Signing({"secret_access_key": "secret"}, {"x-amz-security-token": "secret"}))
