"""What the three hooks have in common."""

from __future__ import annotations

import logging
from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseHook
from airflow.sdk.log import mask_secret

from airflow_magnus.errors import MagnusError
from airflow_magnus.hooks.connections import AwsAccess, aws_access
from airflow_magnus.hooks.settings import (
    AirflowConnection,
    ServiceKind,
    settings_from_connection,
    unknown_keys,
)
from airflow_magnus.pipeline.model import ServiceSettings

if TYPE_CHECKING:
    import boto3

log = logging.getLogger(__name__)


class ServiceHook(BaseHook):
    """A connection that stands for one service. Nothing is read before it is asked for."""

    kind: ClassVar[ServiceKind]

    def __init__(self, conn_id: str) -> None:
        super().__init__()
        self.conn_id = conn_id

    @cached_property
    def connection(self) -> AirflowConnection:
        """The Airflow connection; what is secret in it is masked in logs from now on."""
        conn: AirflowConnection = self.get_connection(self.conn_id)
        for value in (conn.password, conn.extra_dejson.get("session_token")):
            if value:
                mask_secret(value)
        return conn

    def get_settings(self) -> ServiceSettings:
        """Give the service's settings, with what an ``aws`` connection behind it adds.

        :raises ConfigurationError: when the connection cannot be used as it is.
        """
        settings = self._own_settings
        access = self._access
        if access is None:
            return settings
        return ServiceSettings(settings.type, {**access.extra_config, **settings.config})

    def get_session(self) -> boto3.Session | None:
        """Give the session that signs requests to AWS; None for a service that needs none."""
        return self._access.session if self._access is not None else None

    def test_connection(self) -> tuple[bool, str]:
        """Try the connection for real, as the *Test* button does; never raises."""
        try:
            message = self._try()
            unknown = unknown_keys(self.connection, self.kind)
        except MagnusError as error:
            return False, str(error)
        except Exception as error:  # the button shows whatever it was
            log.debug("connection test failed", exc_info=True)
            return False, f"{type(error).__name__}: {error}"
        if unknown:
            message += f". Ignored, as it means nothing here: {', '.join(unknown)}"
        return True, message

    @abstractmethod
    def _try(self) -> str:
        """Use the service; give a sentence that says what worked."""

    @cached_property
    def _own_settings(self) -> ServiceSettings:
        settings = settings_from_connection(self.connection, self.kind)
        if "connection_string" in settings.config:
            _mask_password_of(settings.config["connection_string"])
        return settings

    @cached_property
    def _access(self) -> AwsAccess | None:
        service = {"s3": "s3", "aws-secrets-manager": "secretsmanager"}.get(self._own_settings.type)
        return aws_access(self.connection, service) if service else None


def _mask_password_of(url: str) -> Any:
    import sqlalchemy as sa

    password = sa.make_url(url).password
    if password:
        mask_secret(password)
