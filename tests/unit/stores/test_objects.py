from __future__ import annotations

import pytest

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.stores.aws import AwsOptions, boto3_session
from airflow_magnus.stores.objects import (
    explain,
    first_part,
    open_object_store,
    probe,
    s3_endpoint,
    split_s3_url,
)

KEYS = AwsOptions(access_key="AKIAID", secret_key="topsecret")


def test_a_relative_path_is_below_the_folder_of_the_call(tmp_path, monkeypatch) -> None:
    import obstore

    monkeypatch.chdir(tmp_path)
    store = open_object_store("one/two")
    monkeypatch.chdir("/")
    obstore.put(store, "a/b", b"x")
    assert (tmp_path / "one/two/a/b").read_bytes() == b"x"


def test_a_file_url_is_unquoted(tmp_path) -> None:
    import obstore

    obstore.put(open_object_store(f"file://{tmp_path}/with%20space"), "a", b"x")
    assert (tmp_path / "with space/a").read_bytes() == b"x"


@pytest.mark.parametrize(
    "url", ["ftp://host/x", "file://host/x", "s3://", "s3:///prefix", "s3://id:key@bucket/p"]
)
def test_a_url_that_cannot_be_opened_is_refused_without_showing_keys(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_object_store(url, KEYS)
    assert "key@" not in str(caught.value)


def test_bucket_and_prefix() -> None:
    assert split_s3_url("s3://b") == ("b", "")
    assert split_s3_url("s3://b/p/q/") == ("b", "p/q")


def test_the_store_shows_no_keys() -> None:
    store = open_object_store("s3://b/p", KEYS)
    assert "topsecret" not in f"{store!r} {store.config} {store.client_options}"


@pytest.mark.parametrize(
    ("options", "bucket", "expected"),
    [
        ({}, "b", {"virtual_hosted_style_request": "true"}),
        ({}, "b.c", {"virtual_hosted_style_request": "false"}),
        ({"addressing_style": "path"}, "b", {"virtual_hosted_style_request": "false"}),
        ({"endpoint_url": "http://h:1/"}, "b", {"endpoint": "http://h:1"}),
        ({"endpoint_url": "http://h:1", "addressing_style": "virtual"}, "b", {"endpoint": "http://b.h:1"}),
    ],
)
def test_addressing(options: dict[str, str], bucket: str, expected: dict[str, str]) -> None:
    aws = AwsOptions(access_key="a", secret_key="s", **options)  # type: ignore[arg-type]
    config = {
        key: str(value).lower() for key, value in open_object_store(f"s3://{bucket}", aws).config.items()
    }
    assert expected.items() <= config.items()


def test_endpoint_of_the_environment_is_honoured(monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://all")
    assert s3_endpoint(KEYS, boto3_session(KEYS)) == "http://all"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3/")
    assert s3_endpoint(KEYS, boto3_session(KEYS)) == "http://s3"
    given = AwsOptions(access_key="a", secret_key="s", endpoint_url="http://mine")
    assert s3_endpoint(given, boto3_session(given)) == "http://mine"
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert s3_endpoint(KEYS, boto3_session(KEYS)) == ""


def test_a_missing_file_of_certificates_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"/nowhere/ca\.pem"):
        open_object_store("s3://b", AwsOptions(access_key="a", secret_key="s", verify="/nowhere/ca.pem"))


@pytest.mark.parametrize("url", ["memory://", "{tmp}/store"])
def test_probe_leaves_nothing_and_finds_conditional_writes(url: str, tmp_path) -> None:
    import obstore

    store = open_object_store(url.format(tmp=tmp_path))
    result = probe(store, url)
    assert result.is_conditional
    assert "are honoured" in result.message
    assert [item for batch in obstore.list(store) for item in batch] == []


def test_probe_says_when_create_only_writes_are_ignored(monkeypatch, tmp_path) -> None:
    import obstore

    put = obstore.put
    monkeypatch.setattr(obstore, "put", lambda *args, mode=None, **kwargs: put(*args, **kwargs))
    result = probe(open_object_store(str(tmp_path)), "s3://b/p")
    assert not result.is_conditional
    assert "NOT honoured" in result.message


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("404 Not Found: <Code>NoSuchBucket</Code>", "bucket 'b' does not exist"),
        ("403 Forbidden: <Code>SignatureDoesNotMatch</Code>", "signature mismatch"),
        ("403 Forbidden: <Code>InvalidAccessKeyId</Code>", "does not know this access key"),
        ("403 Forbidden: <Code>AccessDenied</Code>", "access denied to s3://b/p"),
        ("400: <Code>ExpiredToken</Code>", "has expired"),
        ("Received redirect\n\nDebug source: BareRedirect", "another region"),
        ("error\n\nDebug source:\n dns error", "host of the endpoint is not known"),
        ("HTTP error: error sending request", "nothing answers there"),
        ("404 Not Found: <html>", "wrong endpoint"),
        ("something else\n\nDebug source: long", "s3://b/p: something else"),
    ],
)
def test_errors_are_explained(text: str, sentence: str) -> None:
    said = explain(OSError(text), "s3://user:key@b/p")
    assert sentence in said
    assert "Debug source" not in said
    assert "key@" not in said


def test_what_a_store_answers_is_told_without_its_markup() -> None:
    document = "<Error><Code>NoSuchBucket</Code><Message>It is not there</Message><HostId>x</HostId></Error>"
    text = f'cannot list: 404 Not Found: <?xml version="1.0"?> {document}\n\nDebug source:\nGeneric'
    assert first_part(text) == "cannot list: 404 Not Found: NoSuchBucket It is not there"
