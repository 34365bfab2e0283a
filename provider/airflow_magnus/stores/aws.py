"""AWS credentials: what a configuration says about them, the boto3 session it makes, and their way to obstore.

Source: seed 000 for the options and their defaults.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_magnus.errors import ConfigurationError

if TYPE_CHECKING:
    import boto3
    from botocore.credentials import Credentials

log = logging.getLogger(__name__)

STATIC_CREDENTIALS_TTL = timedelta(minutes=10)
"""For how long obstore keeps credentials that name no expiry before it asks again."""
ADDRESSING_STYLES = ("auto", "path", "virtual")
_SHORTEST_SESSION, _LONGEST_SESSION = 900, 43_200
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class AwsOptions:
    """How to sign in to AWS, or to any server that speaks S3.

    :param aws_profile: profile of the credentials file; "" for boto3's own choice.
    :param use_credentials: read access key, secret key and session token from the environment variables named below.
    :param aws_credentials_file: "" for boto3's default, ``~/.aws/credentials``.
    :param role_arn: role to assume with the credentials found; "" for none.
    :param session_duration_in_seconds: how long an assumed role lasts before it is renewed, 900 to 43,200.
    :param endpoint_url: of the service itself (S3, or Secrets Manager); "" for AWS or what boto3's own settings name.
    :param sts_endpoint_url: where roles are assumed; "" for AWS or what ``AWS_ENDPOINT_URL_STS`` names.
    :param addressing_style: ``path``, ``virtual`` or ``auto``: path for custom endpoints and buckets with dots.
    :param verify: False trusts every certificate, a text names a file of certificates (PEM) to trust.
    :param access_key: credentials that an Airflow connection itself holds; they win over all other sources.
    """

    aws_profile: str = ""
    use_credentials: bool = False
    region: str = "eu-west-1"
    aws_credentials_file: str = ""
    aws_access_key_name: str = "AWS_ACCESS_KEY_ID"
    aws_secret_access_key_name: str = "AWS_SECRET_ACCESS_KEY"
    aws_session_key_name: str = "AWS_SESSION_TOKEN"
    role_arn: str = ""
    session_duration_in_seconds: int = 900
    endpoint_url: str = ""
    sts_endpoint_url: str = ""
    addressing_style: str = "auto"
    verify: bool | str = True
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> AwsOptions:
        """Read the options from a service's config; keys of other things are passed over, empty values are defaults.

        :raises ConfigurationError: when a value cannot be understood.
        """
        given = {
            item.name: config[item.name] for item in fields(cls) if config.get(item.name) not in (None, "")
        }
        values: dict[str, Any] = {name: str(value).strip() for name, value in given.items()}
        if "use_credentials" in values:
            values["use_credentials"] = _as_flag("use_credentials", given["use_credentials"])
        if "session_duration_in_seconds" in values:
            values["session_duration_in_seconds"] = _as_duration(given["session_duration_in_seconds"])
        if values.get("verify", "").lower() in _WORDS:
            values["verify"] = _WORDS[values["verify"].lower()]
        style = values.get("addressing_style", "auto")
        if style not in ADDRESSING_STYLES:
            raise ConfigurationError(
                f"addressing_style is {style!r}; allowed are {', '.join(ADDRESSING_STYLES)}"
            )
        return cls(**values)


def boto3_session(options: AwsOptions, *, base: boto3.Session | None = None) -> boto3.Session:
    """Make the session that ``options`` describe; it renews the credentials of an assumed role by itself.

    No request is made: a role is assumed when credentials are first asked for.

    :param base: a session that is signed in already, for example that of an Airflow connection of type ``aws``;
        of ``options`` only ``role_arn`` and what belongs to it counts then.
    :raises ConfigurationError: when an environment variable or a profile that the options name is missing.
    """
    session = base if base is not None else _signed_in(options)
    _keep_environment(session)
    return _with_role(session, options) if options.role_arn else session


def _keep_environment(session: boto3.Session) -> None:
    """Let a container's credentials be renewed by the environment of now: that of a step's code may name another store."""
    with suppress(Exception):  # a session of another kind
        core: Any = session._session
        provider = core.get_component("credential_provider").get_provider("container-role")
        provider._environ = dict(os.environ)


def credential_provider(session: boto3.Session) -> CredentialProvider:
    """Give obstore the session's credentials with their real expiry, so that they are renewed in time.

    :raises ConfigurationError: when the session has no credentials at all.
    """
    credentials = session.get_credentials()
    if credentials is None:
        raise ConfigurationError(
            "no AWS credentials: looked at the environment (AWS_ACCESS_KEY_ID), the credentials file"
            f" (profile {session.profile_name!r}), and the machine's or container's own role."
            " Set use_credentials with the names of your environment variables, aws_profile, or aws_conn_id,"
            " or put access key and secret key into the Airflow connection"
        )
    return CredentialProvider(credentials, session.region_name)


class CredentialProvider:
    """What obstore calls for credentials. obstore calls again 5 minutes before ``expires_at``."""

    def __init__(self, credentials: Credentials, region: str | None) -> None:
        self._credentials = credentials
        self._renewing = threading.Lock()
        self.config: dict[str, str] = {"region": region} if region else {}

    def renew(self) -> None:
        """Have new keys made though the old ones seem to last; keys that never change stay."""
        refresh = getattr(self._credentials, "_protected_refresh", None)
        if refresh is not None:
            with self._renewing:
                refresh(is_mandatory=True)

    def __call__(self) -> dict[str, Any]:
        """Give the keys as they are now, after a renewal when one is due."""
        # The order matters: renewing sets the keys first and their expiry last, so an expiry read before the keys
        # is never later than theirs.
        self._credentials.get_frozen_credentials()
        expiry: datetime | None = getattr(self._credentials, "_expiry_time", None)
        keys = self._credentials.get_frozen_credentials()
        if not keys.access_key or not keys.secret_key:
            raise ConfigurationError("the AWS credentials found have no access key or no secret key")
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            # obstore takes no other zone than this very object
            "expires_at": expiry.astimezone(UTC) if expiry else datetime.now(UTC) + STATIC_CREDENTIALS_TTL,
        }


def _signed_in(options: AwsOptions) -> boto3.Session:
    import boto3

    if options.access_key or options.secret_key:
        return _session_of_keys(options, options.access_key, options.secret_key, options.session_token)
    if options.use_credentials:
        return _session_of_keys(
            options,
            _from_environment("aws_access_key_name", options.aws_access_key_name),
            _from_environment("aws_secret_access_key_name", options.aws_secret_access_key_name),
            os.environ.get(options.aws_session_key_name, ""),
        )
    core = _core_session(options)
    if options.aws_profile and options.aws_profile not in core.available_profiles:
        raise ConfigurationError(
            f"aws_profile is {options.aws_profile!r}, which {_credentials_file(core)} does not have;"
            f" it has: {', '.join(sorted(core.available_profiles)) or 'no profiles'}"
        )
    return boto3.Session(
        botocore_session=core, region_name=options.region, profile_name=options.aws_profile or None
    )


def _session_of_keys(options: AwsOptions, access_key: str, secret_key: str, token: str) -> boto3.Session:
    import boto3

    if not access_key or not secret_key:
        missing = "secret key (password)" if access_key else "access key (login)"
        raise ConfigurationError(f"the {missing} is missing: give both keys, or neither")
    return boto3.Session(
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=token or None,
        region_name=options.region,
    )


def _core_session(options: AwsOptions) -> Any:
    import botocore.session

    core = botocore.session.Session()
    if options.aws_credentials_file:
        path = Path(options.aws_credentials_file).expanduser()
        if path.is_file():
            core.set_config_variable("credentials_file", str(path))
        else:
            log.warning("aws_credentials_file %s is not there: boto3's default chain is used", path)
    return core


def _credentials_file(core: Any) -> Path:
    return Path(core.get_config_variable("credentials_file")).expanduser()


def _from_environment(option: str, variable: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        raise ConfigurationError(
            f"use_credentials is on and the environment variable {variable!r} is not set or empty."
            f" Set it where the task runs, or let {option} name the variable that holds the key"
        )
    return value


def _with_role(session: boto3.Session, options: AwsOptions) -> boto3.Session:
    import boto3
    import botocore.session
    from botocore.credentials import DeferredRefreshableCredentials

    credentials: Any = DeferredRefreshableCredentials(_role_keys(session, options), "sts-assume-role")
    # botocore's own 15 and 10 minutes would renew a session of 900 seconds at every use. Never less than the
    # 5 minutes before the end at which obstore asks.
    duration = options.session_duration_in_seconds
    credentials._advisory_refresh_timeout = min(900, duration * 2 // 3)
    credentials._mandatory_refresh_timeout = min(600, duration // 2)
    core: Any = botocore.session.Session()
    core._credentials = credentials
    return boto3.Session(botocore_session=core, region_name=session.region_name or options.region)


def _role_keys(session: boto3.Session, options: AwsOptions) -> Callable[[], dict[str, str]]:
    """Give a function that assumes the role. Cost: 1 request to STS a call."""

    made: list[Any] = []

    def assume() -> dict[str, str]:
        from botocore.exceptions import BotoCoreError, ClientError

        if not made:  # once: the environment may name another endpoint later
            made.append(
                session.client("sts", endpoint_url=options.sts_endpoint_url or None, verify=_verify(options))
            )
        sts = made[0]
        try:
            keys = sts.assume_role(
                RoleArn=options.role_arn,
                RoleSessionName="airflow-provider-magnus",
                DurationSeconds=options.session_duration_in_seconds,
            )["Credentials"]
        except (BotoCoreError, ClientError) as error:
            raise ConfigurationError(
                f"cannot assume role_arn {options.role_arn!r} for {options.session_duration_in_seconds} seconds"
                f" at {sts.meta.endpoint_url}: {error}"
            ) from error
        return {
            "access_key": keys["AccessKeyId"],
            "secret_key": keys["SecretAccessKey"],
            "token": keys["SessionToken"],
            "expiry_time": keys["Expiration"].isoformat(),
        }

    return assume


def _verify(options: AwsOptions) -> bool | str | None:
    return None if options.verify is True else options.verify


def _as_flag(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    try:
        return _WORDS[str(value).strip().lower()]
    except KeyError:
        raise ConfigurationError(f"{name} is {value!r}; allowed are true and false") from None


def _as_duration(value: Any) -> int:
    try:
        seconds = int(value)
    except (TypeError, ValueError):
        seconds = 0
    if isinstance(value, bool) or not _SHORTEST_SESSION <= seconds <= _LONGEST_SESSION:
        raise ConfigurationError(
            f"session_duration_in_seconds is {value!r};"
            f" allowed are whole numbers from {_SHORTEST_SESSION} to {_LONGEST_SESSION}"
        )
    return seconds
