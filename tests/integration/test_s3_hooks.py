"""The hooks against a real S3 server, with every way to sign in."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from airflow_magnus.hooks.catalog import CatalogHook
from airflow_magnus.hooks.run_log import RunLogHook
from airflow_magnus.stores import aws
from airflow_magnus.stores.aws import AwsOptions
from airflow_magnus.stores.objects import open_object_store, probe
from fixtures_s3 import s3_client

SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
ROLE = "arn:aws:iam::123456789012:role/pipelines"
Define = Callable[..., None]


@pytest.fixture
def define(monkeypatch: pytest.MonkeyPatch) -> Define:
    def define(conn_id: str, **connection: object) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))

    return define


def catalog(define: Define, url: str, endpoint: str, **extra: object) -> CatalogHook:
    define(
        "c",
        conn_type="magnus_catalog",
        login="AKIAEXAMPLE",
        password=SECRET_KEY,
        extra={"url": url, "endpoint_url": endpoint, **extra},
    )
    return CatalogHook("c")


def refusing(status: int, code: str) -> str:
    """A server that answers everything with one error; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_GET = do_DELETE = do_HEAD = do_POST = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def test_the_button_writes_below_the_prefix_and_leaves_nothing(
    define: Define, moto_server: str, make_bucket: Callable[..., str]
) -> None:
    bucket = make_bucket()
    for hook in (catalog(define, f"s3://{bucket}/some/prefix", moto_server), RunLogHook("c")):
        is_ok, message = hook.test_connection()
        assert is_ok, message
        assert f"s3://{bucket}/some/prefix" in message
        assert "conditional (create-only) writes are honoured" in message
    assert "Contents" not in s3_client(moto_server).list_objects_v2(Bucket=bucket)


def test_the_button_says_that_the_bucket_is_missing(define: Define, moto_server: str) -> None:
    is_ok, message = catalog(define, "s3://no-such-bucket/p", moto_server).test_connection()
    assert not is_ok
    assert message.startswith("bucket 'no-such-bucket' does not exist: create it")


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (403, "AccessDenied", "access denied to s3://b/p"),
        (403, "SignatureDoesNotMatch", "signature mismatch at s3://b/p"),
        (403, "InvalidAccessKeyId", "does not know this access key"),
        (400, "AuthorizationHeaderMalformed", "correct region"),
        (404, "NotFound", "wrong endpoint for s3://b/p"),
    ],
)
def test_the_button_says_what_the_server_refuses(
    define: Define, status: int, code: str, sentence: str
) -> None:
    is_ok, message = catalog(define, "s3://b/p", refusing(status, code)).test_connection()
    assert not is_ok
    assert sentence in message
    assert SECRET_KEY not in message


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://no-such-host.invalid"])
def test_the_button_soon_says_that_nothing_answers(define: Define, endpoint: str) -> None:
    begun = datetime.now(UTC)
    is_ok, message = catalog(define, "s3://b/p", endpoint).test_connection()
    assert not is_ok
    assert message.startswith("cannot connect to s3://b/p")
    assert datetime.now(UTC) - begun < timedelta(seconds=60)


def test_an_assumed_role_is_renewed_while_the_store_is_in_use(
    define: Define, moto_server: str, make_bucket: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import obstore

    real, given = aws._role_keys, []

    def short_lived(session: object, options: AwsOptions) -> Callable[[], dict[str, str]]:
        def assume() -> dict[str, str]:
            expiry = datetime.now(UTC) + timedelta(seconds=2)
            keys = {**real(session, options)(), "expiry_time": expiry.isoformat()}  # type: ignore[arg-type]
            given.append(keys["access_key"])
            return keys

        return assume

    monkeypatch.setattr(aws, "_role_keys", short_lived)
    bucket = make_bucket()
    hook = catalog(define, f"s3://{bucket}/p", moto_server, role_arn=ROLE, sts_endpoint_url=moto_server)
    store = hook.get_conn()
    assert given == []
    obstore.put(store, "a", b"1")
    first = len(given)
    assert first >= 1
    import time

    time.sleep(2.2)  # the first keys have expired
    obstore.put(store, "b", b"2")
    assert len(given) > first
    assert len(set(given)) == len(given)
    assert bytes(obstore.get(store, "a").bytes()) == b"1"


def test_a_role_that_lasts_is_assumed_once(
    moto_server: str, make_bucket: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import obstore

    calls: list[int] = []
    real = aws._role_keys

    def counted(*args: object) -> Callable[[], dict[str, str]]:
        assume = real(*args)  # type: ignore[arg-type]
        return lambda: calls.append(1) or assume()  # type: ignore[func-returns-value]

    monkeypatch.setattr(aws, "_role_keys", counted)
    options = AwsOptions(
        access_key="a",
        secret_key="s",
        role_arn=ROLE,
        endpoint_url=moto_server,
        sts_endpoint_url=moto_server,
    )
    store = open_object_store(f"s3://{make_bucket()}/p", options)
    for number in range(20):
        obstore.put(store, str(number), b"x")
    assert len(calls) == 1


def test_a_role_that_cannot_be_assumed_is_named(define: Define, make_bucket: Callable[..., str]) -> None:
    hook = catalog(
        define,
        f"s3://{make_bucket()}",
        refusing(403, "AccessDenied"),
        role_arn=ROLE,
        sts_endpoint_url=refusing(403, "AccessDenied"),
    )
    is_ok, message = hook.test_connection()
    assert not is_ok
    assert "no usable credentials" in message
    assert f"cannot assume role_arn '{ROLE}'" in message


def test_credentials_by_named_variables(
    define: Define, moto_server: str, make_bucket: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_ID", "id")
    monkeypatch.setenv("LAB_KEY", "key")
    extra = {
        "s3_bucket": make_bucket(),
        "prefix": "p",
        "endpoint_url": moto_server,
        "use_credentials": True,
        "aws_access_key_name": "LAB_ID",
        "aws_secret_access_key_name": "LAB_KEY",
    }
    define("c", conn_type="magnus_catalog", extra=extra)
    is_ok, message = CatalogHook("c").test_connection()
    assert is_ok, message


def test_credentials_by_file_and_profile(
    moto_server: str, make_bucket: Callable[..., str], tmp_path: Path
) -> None:
    file = tmp_path / "credentials"
    file.write_text("[lab]\naws_access_key_id=l\naws_secret_access_key=ls\n")
    options = AwsOptions(aws_profile="lab", aws_credentials_file=str(file), endpoint_url=moto_server)
    assert probe(open_object_store(f"s3://{make_bucket()}", options)).is_conditional


@pytest.mark.parametrize("role", [None, ROLE])
def test_credentials_of_an_airflow_aws_connection(
    define: Define, moto_server: str, make_bucket: Callable[..., str], role: str | None
) -> None:
    service_config = {"s3": {"endpoint_url": moto_server}, "sts": {"endpoint_url": moto_server}}
    extra = {"region_name": "eu-west-1", "service_config": service_config, "role_arn": role}
    define("lab", conn_type="aws", login="AKIAEXAMPLE", password=SECRET_KEY, extra=extra)
    define("c", conn_type="magnus_catalog", extra={"url": f"s3://{make_bucket()}/p", "aws_conn_id": "lab"})
    hook = CatalogHook("c")
    is_ok, message = hook.test_connection()
    assert is_ok, message
    assert hook.get_settings().config["endpoint_url"] == moto_server
    session = hook.get_session()
    assert session is not None
    credentials = session.get_credentials()
    assert (credentials.method == "sts-assume-role") == bool(role)
    assert SECRET_KEY not in repr(hook.get_settings())


def test_a_secret_is_in_no_repr_and_no_log(
    define: Define, moto_server: str, make_bucket: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    hook = catalog(define, f"s3://{make_bucket()}/p", moto_server, session_token="session-token-value")
    with caplog.at_level(logging.INFO):
        assert hook.test_connection()[0]
        store = hook.get_conn()
    shown = f"{hook!r} {hook.get_settings()!r} {hook.get_session()!r} {store!r} {store.config} {caplog.text}"
    assert SECRET_KEY not in shown
    assert "session-token-value" not in shown
