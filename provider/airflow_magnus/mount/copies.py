"""Buckets of a gateway as copies in folders, where nothing can be mounted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from airflow_magnus.gateway.process import Gateway
from airflow_magnus.gateway.views import REGION
from airflow_magnus.mount.faults import MountError
from airflow_magnus.mount.places import Access
from airflow_magnus.stores.names import Places
from airflow_magnus.stores.parallel import Pace, in_parallel

_AT_ONCE = 8


class Copies:
    """Folders with all objects of the buckets, for as long as the ``with`` block goes on.

    Parameters: as of :class:`airflow_magnus.mount.mount.Mount`.

    :raises MountError: on entering, when a folder is not empty or an object cannot be a file.
    """

    def __init__(self, gateway: Gateway, folder: Path, buckets: Mapping[str, Access]) -> None:
        self._gateway, self._folder, self._buckets = gateway, folder.absolute(), dict(buckets)

    def __enter__(self) -> Copies:
        for name, access in self._buckets.items():
            target = self.folder_of(name)
            target.mkdir(parents=True, exist_ok=True)
            if any(target.iterdir()):
                raise MountError(f"{target} is not empty: choose another folder, or remove what is there")
            if access == Access.READ_ONLY:
                self._fetch(name, target)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in self._buckets:
            shutil.rmtree(self.folder_of(name), ignore_errors=True)

    def folder_of(self, bucket: str) -> Path:
        """Where a bucket appears."""
        return self._folder / bucket

    def check(self) -> None:
        """Make sure that the gateway is there, which takes what is written.

        :raises GatewayError: when it is not.
        """
        self._gateway.check()

    def drain(self) -> None:
        """Store all files of the writable bucket.

        :raises MountError: naming one that cannot be stored.
        """
        for name, access in self._buckets.items():
            if access == Access.WRITABLE:
                folder, store = self.folder_of(name), self._store(name)
                in_parallel(lambda path: _put(store, folder, path), _files(folder), Pace(_AT_ONCE))  # noqa: B023

    def _fetch(self, name: str, target: Path) -> None:
        import obstore

        store = self._store(name)
        keys = [item["path"] for page in obstore.list(store) for item in page]
        places = Places(target)
        targets = {key: Path(places.of(key)) for key in keys}
        in_parallel(lambda key: _get(store, key, targets[key]), keys, Pace(_AT_ONCE))

    def _store(self, bucket: str) -> Any:
        from obstore.store import S3Store

        return S3Store(
            bucket,
            endpoint=self._gateway.endpoint,
            access_key_id=self._gateway.token,
            secret_access_key=self._gateway.token,
            region=REGION,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True, "timeout": "600s"},
        )


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _get(store: Any, key: str, target: Path) -> None:
    with target.open("xb") as file:
        for block in store.get(key).stream():
            file.write(block)
    target.chmod(0o444)


def _put(store: Any, folder: Path, path: Path) -> None:
    name = path.relative_to(folder).as_posix()
    try:
        store.put(name, path)
    except Exception as error:
        raise MountError(f"{name!r} of the bucket out cannot be stored: {error}") from error
