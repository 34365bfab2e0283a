"""Secrets stores: names to values, read-only. Source: spec §11, contract 22."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from airflow_magnus.errors import ConfigurationError, SecretNotFoundError, StoreError
from airflow_magnus.pipeline.model import ServiceSettings

if TYPE_CHECKING:
    import boto3

    from airflow_magnus.stores.aws import AwsOptions

ENTRY_POINTS = "airflow_magnus.secrets"
"""Group of entry points: type name → class with ``from_settings`` as below."""


class SecretsStore(Protocol):
    """Where secrets come from. Values are never in a message, a repr or a log line of a store."""

    def get(self, name: str) -> str:
        """Give one secret.

        :raises SecretNotFoundError: when there is none of this name; the message lists the names there are.
        """

    def all(self) -> dict[str, str]:
        """Give all secrets, as a new dict; {} where a store cannot or must not list them."""


class DoNothingSecrets:
    """Every name is the empty text, and there are no names."""

    @classmethod
    def from_settings(cls, config: Mapping[str, Any], **_: Any) -> DoNothingSecrets:
        return cls()

    def get(self, name: str) -> str:
        return ""

    def all(self) -> dict[str, str]:
        return {}


class DotenvSecrets:
    """A dotenv file in the usual syntax, without interpolation; read again whenever it has changed.

    :param location: the file.
    """

    def __init__(self, location: Path) -> None:
        self.location = location
        self._read: tuple[tuple[int, int, int], dict[str, str]] | None = None

    @classmethod
    def from_settings(cls, config: Mapping[str, Any], *, folder: Path, **_: Any) -> DotenvSecrets:
        return cls(folder / Path(str(config.get("location") or ".env")).expanduser())

    def get(self, name: str) -> str:
        return _chosen(self._values(), name, f"the dotenv file {self.location}")

    def all(self) -> dict[str, str]:
        return dict(self._values())

    def _values(self) -> dict[str, str]:
        from dotenv import dotenv_values

        try:
            state = self.location.stat()
            mark = (state.st_ino, state.st_mtime_ns, state.st_size)
            if self._read is None or self._read[0] != mark:
                values = dotenv_values(self.location, interpolate=False, encoding="utf-8")
                self._read = mark, {name: value for name, value in values.items() if value is not None}
        except FileNotFoundError as error:
            raise ConfigurationError(
                f"the dotenv file {self.location} is not there: make it, or let the secrets' `location` name it"
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"the dotenv file {self.location} cannot be read as UTF-8 text: {type(error).__name__}"
            ) from None
        return self._read[1]


class EnvSecrets:
    """Environment variables, one by one; all of them are never given together."""

    @classmethod
    def from_settings(cls, config: Mapping[str, Any], **_: Any) -> EnvSecrets:
        return cls()

    def get(self, name: str) -> str:
        try:
            return os.environ[name]
        except KeyError:
            raise SecretNotFoundError(
                f"no secret {name!r}: the environment variable of that name is not set where this step runs"
            ) from None

    def all(self) -> dict[str, str]:
        return {}


class AwsSecrets:
    """One secret of AWS Secrets Manager whose text is a JSON object of names and values; loaded once.

    :param secret_arn: ARN or name.
    :param version_id: "" for the current version.
    :param options: of them endpoint, trust in certificates, and the region for a session that has none.
    """

    def __init__(
        self, session: boto3.Session, secret_arn: str, version_id: str = "", options: AwsOptions | None = None
    ) -> None:
        from airflow_magnus.stores.aws import AwsOptions

        self.secret_arn = secret_arn
        self._session = session
        self._version_id = version_id
        self._options = options or AwsOptions()
        self._loaded: dict[str, str] | None = None
        self._client: Any = None

    @classmethod
    def from_settings(
        cls, config: Mapping[str, Any], *, session: boto3.Session | None = None, **_: Any
    ) -> AwsSecrets:
        from airflow_magnus.stores.aws import AwsOptions, boto3_session

        secret_arn = str(config.get("secret_arn") or "")
        if not secret_arn:
            raise ConfigurationError(
                "aws-secrets-manager needs secret_arn: the ARN or the name of the secret"
            )
        options = AwsOptions.from_config(config)
        signed_in = session if session is not None else boto3_session(options)
        return cls(signed_in, secret_arn, str(config.get("secret_version_id") or ""), options)

    def get(self, name: str) -> str:
        return _chosen(self._values(), name, f"the AWS secret {self.secret_arn}")

    def all(self) -> dict[str, str]:
        return dict(self._values())

    def prepare(self) -> None:
        """Sign in now: the environment may lead to another store later. No request is made but for credentials."""
        if self._client is None:
            self._client = self._session.client(
                "secretsmanager",
                region_name=self._session.region_name or self._options.region,
                endpoint_url=self._options.endpoint_url or None,
                verify=None if self._options.verify is True else self._options.verify,
            )

    def _values(self) -> dict[str, str]:
        if self._loaded is None:
            self._loaded = _json_object(self._text(), self.secret_arn)
        return self._loaded

    def _text(self) -> str:
        from botocore.exceptions import BotoCoreError, ClientError

        request = {"SecretId": self.secret_arn}
        if self._version_id:
            request["VersionId"] = self._version_id
        try:
            self.prepare()
            answer = self._client.get_secret_value(**request)
        except ClientError as error:
            raise ConfigurationError(f"cannot read the AWS secret {self.secret_arn}: {error}") from error
        except BotoCoreError as error:
            raise StoreError(f"cannot read the AWS secret {self.secret_arn}: {error}") from error
        return str(answer.get("SecretString") or "")


SECRETS_STORES: Mapping[str, Any] = {
    "do-nothing": DoNothingSecrets,
    "dotenv": DotenvSecrets,
    "env-secrets-manager": EnvSecrets,
    "aws-secrets-manager": AwsSecrets,
}
"""Type name → class."""


def open_secrets(
    settings: ServiceSettings, *, folder: Path, session: boto3.Session | None = None
) -> SecretsStore:
    """Open the secrets store of a configuration; nothing is read yet.

    :param folder: what a relative ``location`` is relative to.
    :param session: signs requests to AWS; by default made from the settings.
    :raises ConfigurationError: for an unknown type, or when a setting is missing.
    """
    kind = SECRETS_STORES.get(settings.type)
    if kind is None:
        found = entry_points(group=ENTRY_POINTS)
        if settings.type not in found.names:
            known = ", ".join(sorted({*SECRETS_STORES, *found.names}))
            raise ConfigurationError(f"unknown type of secrets store {settings.type!r}; known are: {known}")
        kind = found[settings.type].load()
    store: SecretsStore = kind.from_settings(settings.config, folder=folder, session=session)
    return store


def _chosen(values: Mapping[str, str], name: str, where: str) -> str:
    if name not in values:
        raise SecretNotFoundError(
            f"no secret {name!r} in {where}; it has: {', '.join(sorted(values)) or 'none'}. Add it there,"
            " or correct the name"
        )
    return values[name]


def _json_object(text: str, where: str) -> dict[str, str]:
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):  # the text itself must not be shown
        raise ConfigurationError(
            f'the AWS secret {where} must be a JSON object of names and values, such as {{"password": "…"}}'
        )
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
