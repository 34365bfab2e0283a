"""The secrets store as an Airflow connection."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from airflow.sdk.log import mask_secret

from airflow_magnus.hooks.base import ServiceHook
from airflow_magnus.hooks.settings import ServiceKind
from airflow_magnus.stores.secrets import SecretsStore, open_secrets


class SecretsHook(ServiceHook):
    """A connection of type ``magnus_secrets``: a dotenv file, the environment, or AWS Secrets Manager.

    :param folder: what a relative ``location`` is relative to; by default ``AIRFLOW_HOME/magnus``.
    """

    conn_name_attr = "secrets_conn_id"
    default_conn_name = "magnus_secrets_default"
    conn_type = "magnus_secrets"
    hook_name = "Magnus secrets"
    kind: ClassVar[ServiceKind] = "secrets"

    def __init__(self, secrets_conn_id: str = default_conn_name, *, folder: Path | None = None) -> None:
        super().__init__(secrets_conn_id)
        self._folder = folder

    def get_conn(self) -> SecretsStore:
        """Open the secrets store; each value is masked in Airflow's logs before it is handed out."""
        home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
        folder = self._folder or home / "magnus"
        return MaskedSecrets(open_secrets(self.get_settings(), folder=folder, session=self.get_session()))

    def _try(self) -> str:
        kind = self.get_settings().type
        if kind == "do-nothing":
            return "every secret is the empty text"
        if kind == "env-secrets-manager":
            return "secrets are environment variables where the task runs; there is nothing to list here"
        return f"read {len(self.get_conn().all())} secrets from {kind}"


class MaskedSecrets:
    """A secrets store whose values are registered with Airflow's masker before anybody gets them."""

    def __init__(self, store: SecretsStore) -> None:
        self._store = store

    def get(self, name: str) -> str:
        value = self._store.get(name)
        _mask(value)
        return value

    def all(self) -> dict[str, str]:
        values = self._store.all()
        for value in values.values():
            _mask(value)
        return values


def _mask(value: str) -> None:
    if value:
        mask_secret(value)
