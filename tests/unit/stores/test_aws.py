from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.stores.aws import AwsOptions, boto3_session, credential_provider

SEED_DEFAULTS = {
    "aws_profile": "",
    "use_credentials": False,
    "region": "eu-west-1",
    "aws_access_key_name": "AWS_ACCESS_KEY_ID",
    "aws_secret_access_key_name": "AWS_SECRET_ACCESS_KEY",
    "aws_session_key_name": "AWS_SESSION_TOKEN",
    "role_arn": "",
    "session_duration_in_seconds": 900,
}


def test_defaults_are_those_of_the_seed() -> None:
    options = AwsOptions.from_config({})
    assert {name: getattr(options, name) for name in SEED_DEFAULTS} == SEED_DEFAULTS


def test_empty_values_and_other_keys_are_passed_over() -> None:
    config = {"region": "", "role_arn": None, "s3_bucket": "b", "compute_data_folder": "data"}
    assert AwsOptions.from_config(config) == AwsOptions()


def test_texts_of_a_connection_form_are_understood() -> None:
    options = AwsOptions.from_config(
        {"use_credentials": "True", "session_duration_in_seconds": "3600", "verify": "false"}
    )
    assert (options.use_credentials, options.session_duration_in_seconds, options.verify) == (
        True,
        3600,
        False,
    )
    assert AwsOptions.from_config({"verify": "/etc/ca.pem"}).verify == "/etc/ca.pem"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"use_credentials": "perhaps"}, "use_credentials is 'perhaps'; allowed are true and false"),
        ({"session_duration_in_seconds": 60}, "from 900 to 43200"),
        ({"session_duration_in_seconds": "long"}, "from 900 to 43200"),
        ({"session_duration_in_seconds": True}, "from 900 to 43200"),
        ({"addressing_style": "odd"}, "allowed are auto, path, virtual"),
    ],
)
def test_a_value_that_is_not_understood_is_refused(config: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        AwsOptions.from_config(config)


def test_keys_are_in_no_repr() -> None:
    options = AwsOptions(access_key="AKIASECRETID", secret_key="topsecret", session_token="tokentoken")
    session = boto3_session(options)
    shown = f"{options!r} {options} {session!r} {credential_provider(session)!r}"
    for secret in ("AKIASECRETID", "topsecret", "tokentoken"):
        assert secret not in shown


def test_keys_of_a_connection_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "from-environment")
    keys = credential_provider(boto3_session(AwsOptions(access_key="a", secret_key="s")))()
    assert (keys["access_key_id"], keys["secret_access_key"], keys["token"]) == ("a", "s", None)


@pytest.mark.parametrize(
    ("options", "missing"),
    [(AwsOptions(access_key="a"), "secret key"), (AwsOptions(secret_key="s"), "access key")],
)
def test_half_a_pair_of_keys_is_refused(options: AwsOptions, missing: str) -> None:
    with pytest.raises(ConfigurationError, match=missing):
        boto3_session(options)


def test_credentials_come_from_the_named_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_ID", "id")
    monkeypatch.setenv("MY_KEY", "key")
    monkeypatch.setenv("MY_TOKEN", "token")
    options = AwsOptions(
        use_credentials=True,
        aws_access_key_name="MY_ID",
        aws_secret_access_key_name="MY_KEY",
        aws_session_key_name="MY_TOKEN",
    )
    keys = credential_provider(boto3_session(options))()
    assert (keys["access_key_id"], keys["secret_access_key"], keys["token"]) == ("id", "key", "token")


def test_a_missing_variable_is_named_with_its_option() -> None:
    options = AwsOptions(use_credentials=True, aws_access_key_name="MY_ID")
    with pytest.raises(ConfigurationError, match=r"'MY_ID' is not set.*aws_access_key_name"):
        boto3_session(options)


def test_profile_is_read_from_the_credentials_file(tmp_path) -> None:
    file = tmp_path / "credentials"
    file.write_text(
        "[default]\naws_access_key_id=d\naws_secret_access_key=ds\n[lab]\naws_access_key_id=l\naws_secret_access_key=ls\n"
    )
    lab = boto3_session(AwsOptions(aws_profile="lab", aws_credentials_file=str(file)))
    assert lab.region_name == "eu-west-1"
    assert credential_provider(lab)()["access_key_id"] == "l"
    default = boto3_session(AwsOptions(aws_credentials_file=str(file), region="us-east-1"))
    assert default.region_name == "us-east-1"
    assert credential_provider(default)()["access_key_id"] == "d"


def test_an_unknown_profile_is_refused_with_those_there_are(tmp_path) -> None:
    file = tmp_path / "credentials"
    file.write_text("[lab]\naws_access_key_id=l\naws_secret_access_key=ls\n")
    with pytest.raises(ConfigurationError, match=r"'shop'.*it has: lab"):
        boto3_session(AwsOptions(aws_profile="shop", aws_credentials_file=str(file)))


def test_a_credentials_file_that_is_not_there_is_a_warning(tmp_path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        boto3_session(AwsOptions(aws_credentials_file=str(tmp_path / "nothing")))
    assert "is not there" in caplog.text


def test_no_credentials_at_all_says_where_was_looked() -> None:
    with pytest.raises(ConfigurationError, match=r"no AWS credentials: looked at the environment"):
        credential_provider(boto3_session(AwsOptions()))


def test_static_credentials_are_asked_for_again_soon() -> None:
    keys = credential_provider(boto3_session(AwsOptions(access_key="a", secret_key="s")))()
    assert timedelta(0) < keys["expires_at"] - datetime.now(UTC) <= timedelta(minutes=10)


def test_expiry_is_the_real_one_of_renewable_credentials() -> None:
    import boto3
    import botocore.session
    from botocore.credentials import DeferredRefreshableCredentials

    expiry = datetime.now(UTC) + timedelta(minutes=60)

    def renew() -> dict[str, str]:
        return {"access_key": "a", "secret_key": "s", "token": "t", "expiry_time": expiry.isoformat()}

    core = botocore.session.Session()
    core._credentials = DeferredRefreshableCredentials(renew, "test")  # type: ignore[attr-defined]
    keys = credential_provider(boto3.Session(botocore_session=core))()
    assert keys["expires_at"] == expiry
    assert keys["expires_at"].tzinfo is UTC  # obstore refuses all others


def test_making_a_session_with_a_role_requests_nothing() -> None:
    options = AwsOptions(
        access_key="a",
        secret_key="s",
        role_arn="arn:aws:iam::1:role/r",
        sts_endpoint_url="http://127.0.0.1:9",
    )
    session = boto3_session(options)
    credentials = session.get_credentials()
    assert credentials is not None
    assert credentials.method == "sts-assume-role"
