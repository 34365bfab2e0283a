"""Where credentials come from: classes that a configuration names, and the base of those that users write.

Source: seed 002 for the first three, and for the interface: ``get_credentials`` gives :class:`AwsCreds`, at once or as
a coroutine, tornado's too.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from traitlets import TraitType, Unicode
from traitlets.config import LoggingConfigurable

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.jupyter.credentials import AwsCreds


class Datetime(TraitType[datetime, datetime]):
    """A trait for a moment; its default is long past."""

    default_value = datetime(1900, 1, 1)  # noqa: DTZ001 - classes of users compare it with naive times
    info_text = "a datetime"

    def validate(self, obj: Any, value: Any) -> datetime:
        """Refuse what is no datetime."""
        if isinstance(value, datetime):
            return value
        self.error(obj, value)
        raise AssertionError


class JupyterS3Authentication(LoggingConfigurable):
    """Base of all; its own configuration stands under the name of the class."""

    async def get_credentials(self) -> AwsCreds:
        """Give the credentials as they are now."""
        raise NotImplementedError(f"{type(self).__name__} has no method get_credentials")


class JupyterS3SecretAccessKeyAuthentication(JupyterS3Authentication):
    """A key that the configuration holds."""

    aws_access_key_id = Unicode("", config=True, help="ID of the access key")
    aws_secret_access_key = Unicode("", config=True, help="The secret part of the access key")
    aws_session_token = Unicode("", config=True, help="Session token, of temporary keys only")

    async def get_credentials(self) -> AwsCreds:
        """Give the key.

        :raises ConfigurationError: when a part of it is missing.
        """
        if not self.aws_access_key_id or not self.aws_secret_access_key:
            name = type(self).__name__
            raise ConfigurationError(f"set c.{name}.aws_access_key_id and c.{name}.aws_secret_access_key")
        return _creds(self.aws_access_key_id, self.aws_secret_access_key, self.aws_session_token)


class _FoundAuthentication(JupyterS3Authentication):
    """Credentials that botocore finds, and renews when it is asked for them."""

    _found: Any = None

    async def get_credentials(self) -> AwsCreds:
        """Give what is found."""
        return await asyncio.to_thread(self._current)

    def _find(self) -> Any:
        """Credentials of botocore; None when there are none."""
        raise NotImplementedError

    def _nothing(self) -> str:
        """What to do when there are none."""
        raise NotImplementedError

    def _current(self) -> AwsCreds:
        if self._found is None:
            self._found = self._find()
        if self._found is None:
            raise ConfigurationError(self._nothing())
        # Renewing sets the keys first and their end last: an end that is read before the keys is never later than theirs.
        self._found.get_frozen_credentials()
        end = getattr(self._found, "_expiry_time", None)
        keys = self._found.get_frozen_credentials()
        return _creds(keys.access_key, keys.secret_key, keys.token or "", end)


class JupyterS3DefaultAuthentication(_FoundAuthentication):
    """What AWS's own tools use: variables, ``~/.aws``, single sign-on, web identities, the role of the container or machine."""

    profile = Unicode(
        "", config=True, help="Profile of the AWS configuration; default: what AWS_PROFILE says"
    )

    def _find(self) -> Any:
        import botocore.session

        session: Any = botocore.session.Session(profile=self.profile or None)
        return session.get_credentials()

    def _nothing(self) -> str:
        return (
            "no AWS credentials in the environment, in ~/.aws, or of this machine: set"
            " c.JupyterS3.authentication_class, for example to JupyterS3SecretAccessKeyAuthentication"
        )


class JupyterS3ECSRoleAuthentication(_FoundAuthentication):
    """The role of the container: of ECS, and of EKS with pod identities."""

    def _find(self) -> Any:
        from botocore.credentials import ContainerProvider

        return ContainerProvider().load()

    def _nothing(self) -> str:
        return (
            "this is no container of ECS with a role: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and"
            " AWS_CONTAINER_CREDENTIALS_FULL_URI are not set; give the task a role, or use another authentication_class"
        )


class JupyterS3EC2RoleAuthentication(_FoundAuthentication):
    """The role of the machine, by the metadata service of EC2, version 2."""

    metadata_url = Unicode("http://169.254.169.254/", config=True, help="Where the metadata service is")

    def _find(self) -> Any:
        from botocore.credentials import InstanceMetadataProvider
        from botocore.utils import InstanceMetadataFetcher

        fetcher: Any = InstanceMetadataFetcher(
            timeout=2,
            num_attempts=3,
            base_url=self.metadata_url,
            config={"ec2_metadata_v1_disabled": True},
        )
        return InstanceMetadataProvider(iam_role_fetcher=fetcher).load()

    def _nothing(self) -> str:
        return (
            f"the metadata service at {self.metadata_url} gives no role: this is no machine of EC2, or it has no role;"
            " give it one, or use another authentication_class"
        )


class JupyterS3AirflowAuthentication(_FoundAuthentication):
    """An Airflow connection of type *Amazon Web Services* or ``magnus_catalog``. Airflow is imported when it is first used."""

    airflow_conn_id = Unicode(
        "aws_default",
        config=True,
        help="Id of the connection: AIRFLOW_CONN_<ID>, or of a secrets backend. No metadata database is asked",
    )

    def _find(self) -> Any:
        from airflow_magnus.jupyter.airflow_connection import credentials_of

        return credentials_of(self.airflow_conn_id)

    def _nothing(self) -> str:
        return f"the Airflow connection {self.airflow_conn_id!r} has no credentials: give it a login and a password, or a role"


def _creds(key: str, secret: str, token: str, expires_at: datetime | None = None) -> AwsCreds:
    return AwsCreds(key, secret, {"x-amz-security-token": token} if token else {}, expires_at)
