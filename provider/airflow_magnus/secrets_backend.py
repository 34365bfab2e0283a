"""Airflow's own connections, variables and settings from a dotenv file."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from airflow.secrets import BaseSecretsBackend

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.stores.secrets import DotenvSecrets

log = logging.getLogger(__name__)


class DotenvSecretsBackend(BaseSecretsBackend):
    """A secrets backend over a dotenv file, with the names that Airflow reads from the environment.

    ``[secrets] backend = airflow_magnus.secrets_backend.DotenvSecretsBackend``, and as ``backend_kwargs``:

    :param location: the file; a relative path is relative to Airflow's home.
    :param connections_prefix: of connections: ``AIRFLOW_CONN_`` and the id in capitals.
    :param variables_prefix: of variables: ``AIRFLOW_VAR_`` and the key in capitals.
    :param config_prefix: of settings given by ``…_SECRET`` in airflow.cfg.
    """

    def __init__(
        self,
        location: str = ".env",
        connections_prefix: str = "AIRFLOW_CONN_",
        variables_prefix: str = "AIRFLOW_VAR_",
        config_prefix: str = "AIRFLOW_CONFIG_",
    ) -> None:
        super().__init__()
        home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
        self._store = DotenvSecrets(home / Path(location).expanduser())
        self._connections_prefix = connections_prefix
        self._variables_prefix = variables_prefix
        self._config_prefix = config_prefix
        self._has_warned = False

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        """Give a connection as URI or JSON; None when the file does not have it."""
        return self._value(self._connections_prefix + conn_id.upper())

    def get_variable(self, key: str, team_name: str | None = None) -> str | None:
        """Give a variable; None when the file does not have it."""
        return self._value(self._variables_prefix + key.upper())

    def get_config(self, key: str) -> str | None:
        """Give a setting; None when the file does not have it."""
        return self._value(self._config_prefix + key.upper())

    def _value(self, name: str) -> str | None:
        try:
            return self._store.all().get(name)
        except ConfigurationError as error:
            if not self._has_warned:
                log.warning("secrets backend: %s; looking on without it", error)
                self._has_warned = True
            return None
